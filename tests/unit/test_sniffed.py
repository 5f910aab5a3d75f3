"""sniffed.py: what windows and the history say together."""

from typing import Any

from tests.unit.snapshots import SNIFF
from vedette.job import Fact, Known
from vedette.jobs import sniff as job
from vedette.sniffed import NetworkEvent, happened, idle_places, learn, new_neighbours
from vedette.thresholds import EVENTS

NOW = 1_700_000_000.0
DAY = 86_400.0
EVENT = NetworkEvent("port_scan", "192.0.2.66", {"ports": 100, "shape": "vertical"}, NOW)


def known(since: float, value: dict[str, Any], **detail: Any) -> Known:
    return Known(value, detail, since, NOW, present=True)


def test_bytes_go_to_what_a_port_speaks_not_to_its_number() -> None:
    """8080 talks TLS; what is not known is unknown, and other flows are added."""
    summary = {
        "services": [["tcp", 8080, "in", 2, 120], ["tcp", 22, "out", 1, 60]],
        "spoken": [["tcp", 8080, "tls", "content", NOW]],
        "application": [["dns", 1, 2, 200]],
    }

    sniff = learn(SNIFF, summary, NOW)

    assert sniff.applications == {"ssh": 44_000, "dns": 700, "tls": 120, "unknown": 60}
    assert sniff.spoken == {("tcp", 8080): ("tls", "content")}
    assert sniff.used == {("tcp", 8080): NOW, ("tcp", 22): NOW}


def test_what_is_usual_at_a_port_is_no_news_once_it_was_heard() -> None:
    """Windows in which nobody's words were looked into say the port's."""
    services = {"services": [["tcp", 443, "in", 2, 120]]}
    heard = {**services, "spoken": [["tcp", 443, "ssh", "content", NOW]]}
    unheard = {
        **services, "spoken": [["tcp", 443, "tls", "port", NOW], ["udp", 53, "dns", "port", NOW]],
    }  # fmt: skip

    assert learn(learn(SNIFF, heard, NOW), unheard, NOW).spoken == {
        ("tcp", 443): ("ssh", "content"), ("udp", 53): ("dns", "port"),
    }  # fmt: skip
    assert learn(learn(SNIFF, unheard, NOW), heard, NOW).spoken["tcp", 443] == ("ssh", "content")


def test_what_the_agent_itself_asks_is_not_used_by_that() -> None:
    """It scans each open port several times an hour: none would ever be idle."""
    summary = {"services": [["tcp", 22, "in", 9, 900]]}

    assert learn(SNIFF, summary, NOW, asked=True).used == {}


def test_what_the_agent_itself_tries_at_a_port_does_not_change_what_is_spoken_there() -> None:
    """Its TLS handshakes at HTTP's port: that flapped from one scan to the next."""
    heard, tried = (
        {"services": [], "spoken": [["tcp", 8000, protocol, "content", NOW]]}
        for protocol in ("http", "tls")
    )

    at_first = learn(SNIFF, tried, NOW, asked=True)
    then = learn(at_first, heard, NOW)

    assert at_first.spoken["tcp", 8000] == ("tls", "content")
    assert learn(then, tried, NOW, asked=True).spoken["tcp", 8000] == ("http", "content")
    assert learn(then, tried, NOW).spoken["tcp", 8000] == ("tls", "content")


def test_events_are_counted_and_the_newest_kept() -> None:
    """All kinds have a series from the start: an increase of the first one is seen."""
    sniff = happened(SNIFF, [EVENT] * 150)

    assert sniff.event_counts == dict.fromkeys(EVENTS, 0) | {"port_scan": 150}
    assert len(sniff.events) == 100


def test_an_event_is_a_fact_with_its_evidence() -> None:
    """What was seen stays in the history."""
    kinds = {facts.kind: facts for facts in job.facts(happened(SNIFF, [EVENT]))}

    assert kinds["event"].facts == (
        Fact(
            "port_scan 192.0.2.66",
            {"at": "2023-11-14T22:13:20+00:00", "ports": 100, "shape": "vertical"},
        ),
    )


HEARD = {"192.0.2.7": ("02:00:00:00:00:07", "Acme"), "192.0.2.8": ("00:00:00:00:00:08", "")}


def test_a_card_that_was_never_heard_is_a_new_neighbour() -> None:
    """By its card, not by its address, which DHCP gives to others."""
    before = {"192.0.2.99": known(NOW - DAY, {"mac": "00:00:00:00:00:08"})}

    assert new_neighbours(HEARD, before, NOW) == [
        NetworkEvent(
            "new_neighbour",
            "02:00:00:00:00:07",
            {"address": "192.0.2.7", "vendor": "Acme", "random_mac": "true"},
            NOW,
        )
    ]


def test_the_first_hour_of_a_history_is_for_learning() -> None:
    """Else every installation begins with an alarm for each neighbour."""
    assert new_neighbours(HEARD, {}, NOW) == []
    assert new_neighbours(HEARD, {"192.0.2.1": known(NOW - 60, {"mac": "x"})}, NOW) == []


def test_an_open_port_that_nobody_uses_is_idle_after_thirty_days_of_watching() -> None:
    """Not before: nothing was seen of what was not watched."""
    places = [("tcp", 22), ("tcp", 80), ("tcp", 443), ("udp", 53)]
    ports = {
        "192.0.2.10 tcp/22": known(NOW - 90 * DAY, {}),
        "192.0.2.10 tcp/80": known(NOW - 90 * DAY, {}),
        "192.0.2.10 tcp/443": known(NOW - 5 * DAY, {}),
        "192.0.2.10 udp/53": known(NOW - 90 * DAY, {}),
    }
    services = {
        "tcp/22": known(NOW - 80 * DAY, {}, last=NOW - DAY),
        "tcp/80": known(NOW - 80 * DAY, {}, last=NOW - 40 * DAY),
    }

    assert idle_places(places, {("udp", 53): NOW}, ports, services, NOW) == {("tcp", 80)}
    assert idle_places(places, {}, ports, {"tcp/22": known(NOW - DAY, {})}, NOW) == frozenset()
    assert idle_places(places, {}, ports, {}, NOW) == frozenset()
