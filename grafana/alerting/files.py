"""Where the rules come from, and what is made of them."""

import json
from pathlib import Path
from typing import Any

import yaml

from grafana.alerting import links, rules

_ROOT = Path(__file__).parents[2]
RULES = _ROOT / "prometheus/rules"
BOARDS = _ROOT / "grafana/dashboards"
FILES = _ROOT / "grafana/provisioning"
# Every uid that was ever shipped, a line each; a rule that goes stays in here, to be deleted.
UIDS = Path(__file__).with_name("uids.txt")

_HEAD = "# Made from prometheus/rules/ by ./dev boards: do not edit.\n"
# Of two boards that show the same: where a host is looked at, before where the fleet is.
_FIRST = "vedette-host"


def rule_files() -> list[dict[str, Any]]:
    """Return the rule files of Prometheus, parsed, by name."""
    return [yaml.safe_load(file.read_text("utf-8")) for file in sorted(RULES.glob("*.yml"))]


def boards() -> list[dict[str, Any]]:
    """Return the boards, the host's first."""
    found = [json.loads(file.read_text("utf-8")) for file in sorted(BOARDS.glob("*.json"))]
    return sorted(found, key=lambda board: board["uid"] != _FIRST)


def shipped() -> list[str]:
    """Return every uid that was ever shipped, and those that now will be, sorted."""
    before = UIDS.read_text("utf-8").split() if UIDS.exists() else []
    return sorted({*before, *rules.uids(rule_files())})


def made() -> dict[str, str]:
    """Return {file of provisioning/: its text} of both engines."""
    files = rule_files()
    panels = links.panels(rules.alerts(files), boards(), files)
    return {
        "alerting-grafana.yml": _text(rules.grafana_file(files, panels, shipped())),
        "alerting-alertmanager.yml": _text(rules.alertmanager_file(shipped())),
    }


def _text(content: dict[str, Any]) -> str:
    return _HEAD + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
