"""A Prometheus alert as Grafana provisions it.

The format: https://grafana.com/docs/grafana/latest/alerting/set-up/provision-alerting-resources/file-provisioning/
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

PROMETHEUS_UID = "vedette-prometheus"
EXPRESSION_UID = "__expr__"  # Grafana's own, of expressions over other queries
FOLDER = "Vedette"
DEFAULT_INTERVAL = "1m"

_LONGEST_UID = 40
_VALUE = re.compile(r"\$value\b(?!s)")
# Known to Prometheus alone: Grafana would refuse the template at each evaluation.
_FOREIGN = re.compile(
    r"\$external(Labels|URL)|(?<![.$\w])(query|first|value|label|strvalue|sortByLabel)\b"
)
_ACTION = re.compile(r"\{\{.*?\}\}", re.DOTALL)

# {alert's name: (uid of a board, id of its panel)}
Panels = Mapping[str, tuple[str, int]]
Rule = Mapping[str, Any]


def alerts(files: Iterable[Mapping[str, Any]]) -> list[Rule]:
    """Return the alerts of parsed rule files, in their order."""
    return [
        rule for file in files for group in file["groups"] for rule in group["rules"]
        if "alert" in rule
    ]  # fmt: skip


def uid(title: str) -> str:
    """Return the uid of a rule, for ever: VedetteHostDown -> vedette-host-down, 40 characters."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "-", title).strip("-").lower()
    if not words.startswith("vedette-"):
        words = f"vedette-{words}"  # it shall not meet somebody else's
    if len(words) <= _LONGEST_UID:
        return words
    digest = hashlib.sha256(words.encode()).hexdigest()[:8]
    return f"{words[: _LONGEST_UID - 9]}-{digest}"


def uids(files: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the uid of every alert of these rule files."""
    found = alerts(files)
    title = _titles(found)
    return [uid(title(rule)) for rule in found]


def grafana_file(
    files: Iterable[Mapping[str, Any]], panels: Panels, shipped: Iterable[str]
) -> dict[str, Any]:
    """Return the provisioning file that has every alert of these rule files.

    shipped: every uid that ever was in such a file: Grafana keeps a rule until it is told to
    delete it.
    """
    parsed = list(files)
    title = _titles(alerts(parsed))
    groups = [
        {
            "orgId": 1,
            "name": group["name"],
            "folder": FOLDER,
            "interval": group.get("interval", DEFAULT_INTERVAL),
            "rules": [_rule(rule, title(rule), panels) for rule in found],
        }
        for file in parsed
        for group in file["groups"]
        if (found := [rule for rule in group["rules"] if "alert" in rule])
    ]
    gone = set(shipped) - set(uids(parsed))
    return {"apiVersion": 1, "groups": groups, "deleteRules": _deletions(gone)}


def alertmanager_file(shipped: Iterable[str]) -> dict[str, Any]:
    """Return the provisioning file that leaves Grafana without a rule of ours."""
    return {"apiVersion": 1, "deleteRules": _deletions(shipped)}


def _deletions(uids: Iterable[str]) -> list[dict[str, Any]]:
    return [{"orgId": 1, "uid": one} for one in sorted(uids)]


def _titles(found: Iterable[Rule]) -> Callable[[Rule], str]:
    """Return what names a rule: its alert's name, with the severity where several share that."""
    times = Counter(rule["alert"] for rule in found)
    return lambda rule: (
        rule["alert"]
        if times[rule["alert"]] == 1
        else f"{rule['alert']} ({rule['labels']['severity']})"
    )


def _rule(rule: Rule, title: str, panels: Panels) -> dict[str, Any]:
    made: dict[str, Any] = {
        "uid": uid(title),
        "title": title,
        "condition": "C",
        "data": [_query(rule["expr"]), _returned("A")],
        "noDataState": "OK",  # to Prometheus, too, an empty result means that all is well
        "execErrState": "Error",  # shown as DatasourceError, not as this alert
        "for": rule.get("for", "0s"),
        "keepFiringFor": rule.get("keep_firing_for", "0s"),
        # A series that has gone has ended well, at once, as in Prometheus.
        "missing_series_evals_to_resolve": 1,
        "annotations": {name: _text(text) for name, text in rule.get("annotations", {}).items()},
        # Grafana looks for variables of its environment in here, but not in annotations.
        "labels": {
            name: _text(text).replace("$", "$$") for name, text in rule.get("labels", {}).items()
        },
        "isPaused": False,
    }
    if rule["alert"] in panels:
        made["dashboardUid"], made["panelId"] = panels[rule["alert"]]
    return made


def _query(expression: str) -> dict[str, Any]:
    model = {
        "refId": "A",
        "datasource": {"type": "prometheus", "uid": PROMETHEUS_UID},
        "editorMode": "code",
        "expr": expression.strip(),
        "instant": True,
        "range": False,
        "intervalMs": 1000,
        "maxDataPoints": 43200,
    }
    return {
        "refId": "A",
        "relativeTimeRange": {"from": 600, "to": 0},
        "datasourceUid": PROMETHEUS_UID,
        "model": model,
    }


def _returned(query: str) -> dict[str, Any]:
    """Return the condition that a query has returned a sample: what makes a Prometheus alert fire.

    Whatever its value: `up == 0` returns 0. So $values.A.Value stays what the expression says.
    """
    model = {
        "refId": "C",
        "datasource": {"type": EXPRESSION_UID, "uid": EXPRESSION_UID},
        "type": "math",
        "expression": f"is_null(${query}) == 0",
    }
    return {
        "refId": "C",
        "relativeTimeRange": {"from": 0, "to": 0},
        "datasourceUid": EXPRESSION_UID,
        "model": model,
    }


def _text(text: str) -> str:
    """Return a template of Prometheus as one of Grafana. Raises ValueError if there is none."""
    for action in _ACTION.findall(text):
        if strange := _FOREIGN.search(_VALUE.sub("", action)):
            raise ValueError(f"Grafana has no {strange[0]!r} for its annotations: {text!r}")
    return _VALUE.sub("$values.A.Value", text)
