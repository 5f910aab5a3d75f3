"""grafana/boards: the committed JSON is what the code builds, and what Grafana's model knows."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.boards.__main__ import files
from tests.boards_may_be_empty import MAY_BE_EMPTY
from tests.unit.grafana.boards import ROOT, UIDS, Json, board, panels, targets

PANELS = {"bargauge", "stat", "table", "timeseries"}
ABOVE_THE_FOLD = 25

# What the model of Grafana 11.6 does not have, and why it stands in a board.
NOT_IN_THE_MODEL = {
    "id": "null: Grafana chooses the number; the model leaves a null out",
    "__inputs": "asked for at an import by hand",
    "__requires": "checked at an import by hand",
}

register_default_plugins()  # else the SDK hands options and queries through unread

boards = pytest.mark.parametrize("uid", UIDS)


def test_what_is_committed_is_what_the_code_builds() -> None:
    """./dev boards was run; nobody has edited the JSON; no board is left from before."""
    built = {str(path): text for path, text in files().items()}
    grafana = ROOT / "grafana"
    committed = {
        str(path.relative_to(grafana)): path.read_text(encoding="utf-8")
        for folder in ("dashboards", "import")
        for path in (grafana / folder).glob("*.json")
    }

    assert committed == built


@pytest.mark.parametrize("flavour", ["dashboards", "import"])
@boards
def test_the_model_of_grafana_knows_all_of_it(uid: str, flavour: str) -> None:
    """Read by Grafana's SDK and written again, nothing is lost: a misspelt key would be."""
    committed = board(uid, flavour)
    again = json.loads(json.dumps(Dashboard.from_json(committed), cls=JSONEncoder))

    expected = {key: value for key, value in committed.items() if key not in NOT_IN_THE_MODEL}
    assert again == expected


@boards
def test_a_misspelt_key_would_be_lost(uid: str) -> None:
    """That is what makes the test above worth anything, at each depth."""
    committed = board(uid)
    for panel in panels(committed):
        for part in (panel, panel["options"], panel["targets"][0]):
            part["mispelt"] = "x"
        panel["fieldConfig"]["defaults"]["mispelt"] = "x"

    assert "mispelt" not in json.dumps(Dashboard.from_json(committed), cls=JSONEncoder)


@boards
def test_a_board_is_found_by_its_uid_for_ever(uid: str) -> None:
    """Links, bookmarks and alerts go by it: at most 40 characters, and the file's name."""
    provisioned = board(uid)

    assert provisioned["uid"] == uid
    assert re.fullmatch(r"[a-z0-9-]{1,40}", uid)
    assert provisioned["id"] is None
    assert provisioned["editable"] is False
    assert provisioned["schemaVersion"] == 41
    assert provisioned["graphTooltip"] == 1
    assert provisioned["tags"] == ["vedette"]


def test_titles_of_boards_differ() -> None:
    """Two of a title in one folder confuse Grafana's provisioning."""
    assert len({board(uid)["title"] for uid in UIDS}) == len(UIDS)


@boards
def test_panels_have_ids_and_titles_of_their_own(uid: str) -> None:
    """Alerts and shared links point at an id; people say a title."""
    rows = [panel for panel in board(uid)["panels"] if panel["type"] == "row"]
    ids = [panel["id"] for panel in (*panels(board(uid)), *rows)]
    titles = [panel["title"] for panel in panels(board(uid))]

    assert len(set(ids)) == len(ids)
    assert len(set(titles)) == len(titles)


@boards
def test_a_board_is_not_too_much_at_once(uid: str) -> None:
    """At most 25 panels before a row is opened."""
    shown = [panel for panel in board(uid)["panels"] if panel["type"] != "row"]

    assert 0 < len(shown) <= ABOVE_THE_FOLD


@boards
def test_panels_lie_on_the_grid_side_by_side(uid: str) -> None:
    """24 columns, nothing over the edge, nothing over something else; rows across all."""
    top = board(uid)["panels"]
    _lie_side_by_side(top)
    for row in top:
        if row["type"] == "row":
            assert (row["gridPos"]["x"], row["gridPos"]["w"], row["gridPos"]["h"]) == (0, 24, 1)
            assert row["collapsed"] == bool(row["panels"])
            _lie_side_by_side(row["panels"])


def _lie_side_by_side(those: list[Json]) -> None:
    for panel in those:
        place = panel["gridPos"]
        assert place["x"] >= 0
        assert place["w"] > 0
        assert place["h"] > 0
        assert place["x"] + place["w"] <= 24, panel["title"]
    for one, other in combinations(those, 2):
        a, b = one["gridPos"], other["gridPos"]
        apart = (
            a["x"] + a["w"] <= b["x"]
            or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"]
            or b["y"] + b["h"] <= a["y"]
        )
        assert apart, (one["title"], other["title"])


@boards
def test_only_panels_that_every_grafana_has(uid: str) -> None:
    """No plugin, nothing of Angular, no panel from a library of one Grafana's database."""
    assert {panel["type"] for panel in panels(board(uid))} <= PANELS
    assert "libraryPanel" not in json.dumps(board(uid))


@boards
def test_every_panel_says_what_it_shows(uid: str) -> None:
    """A title, a description that is a sentence, a unit, colours that mean something."""
    for panel in panels(board(uid)):
        defaults = panel["fieldConfig"]["defaults"]
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert defaults["unit"]
        assert defaults["thresholds"]["steps"][0]["value"] is None


@boards
def test_queries_have_a_letter_of_their_own(uid: str) -> None:
    """And the data source that is chosen on top of the board."""
    for panel in panels(board(uid)):
        letters = [target["refId"] for target in panel["targets"]]
        assert letters == [chr(ord("A") + number) for number in range(len(letters))]
        for target in panel["targets"]:
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@boards
def test_no_host_stands_in_a_board(uid: str) -> None:
    """Whose instance is written into a query, link or variable serves one fleet only."""
    for panel, target in targets(board(uid)):
        written = re.findall(r'\b(?:instance|site|job)\s*!?=~?\s*"([^"]*)"', target["expr"])
        assert set(written) <= {"$instance", "$site", "$job"}, panel["title"]
    assert not re.search(r"\b\d{1,3}(\.\d{1,3}){3}\b|localhost", json.dumps(board(uid)))


@boards
def test_links_lead_somewhere(uid: str) -> None:
    """To a board that there is, with the variables that it has; or to the runbook."""
    for url in _urls(board(uid)):
        if url.startswith("https://"):
            assert url.startswith("https://example.org/vedette/RUNBOOK.md#")
            continue
        target, _, query = url.removeprefix("/d/").partition("?")
        assert target in UIDS
        variables = {v["name"] for v in board(target)["templating"]["list"]}
        assert set(re.findall(r"var-(\w+)=", query)) <= variables
        handed_on = set(re.findall(r"\$\{(\w+):queryparam\}", query))
        assert handed_on <= variables & {v["name"] for v in board(uid)["templating"]["list"]}
        assert "${__url_time_range}" in query


def test_hosts_are_one_click_away() -> None:
    """From each board to the host's own; from the fleet's alerts to the runbook."""
    for uid in UIDS:
        if uid != "vedette-host":
            assert any(url.startswith("/d/vedette-host?") for url in _urls(board(uid))), uid
    assert any("RUNBOOK" in url for url in _urls(board("vedette-fleet")))


def _urls(value: Any) -> Iterator[str]:
    match value:
        case dict():
            if url := value.get("url"):
                yield url
            for inner in value.values():
                yield from _urls(inner)
        case list():
            for inner in value:
                yield from _urls(inner)


@boards
def test_the_import_flavour_asks_for_its_data_source(uid: str) -> None:
    """Grafana fills `__inputs` in at an import by hand, and only there."""
    imported, provisioned = board(uid, "import"), board(uid)

    assert [asked["name"] for asked in imported["__inputs"]] == ["DS_PROMETHEUS"]
    assert "${datasource" not in json.dumps(imported)
    assert [panel["title"] for panel in panels(imported)] == [
        panel["title"] for panel in panels(provisioned)
    ]
    assert {one["id"] for one in imported["__requires"] if one["type"] == "panel"} == {
        panel["type"] for panel in panels(imported)
    }
    assert "__inputs" not in provisioned
    assert "DS_PROMETHEUS" not in json.dumps(provisioned)


def test_what_may_be_empty_is_there() -> None:
    """A panel that has gone, or has a new title, leaves the list too."""
    titles = {uid: {panel["title"] for panel in panels(board(uid))} for uid in UIDS}

    assert MAY_BE_EMPTY.keys() <= titles.keys()
    for uid, listed in MAY_BE_EMPTY.items():
        assert listed.keys() <= titles[uid]
        assert all(listed.values())
