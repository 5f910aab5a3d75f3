"""jobs/fingerprint.py: nmap's report on one host in, one of few families out. No nmap is run."""

from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import sample, series_of, text_of
from tests.unit.snapshots import FINGERPRINT, SNIFF, V4, V6
from vedette.edges.nmap import OsMatch
from vedette.errors import BadOutput
from vedette.job import Fact, Facts
from vedette.jobs import fingerprint
from vedette.jobs.fingerprint import Fingerprint, Guess

OS, OPEN_ONLY = sample("nmap_os.xml"), sample("nmap_os_open_only.xml")
UNDETERMINED = Guess(V4, "undetermined", "", "active", 0.0)


def test_the_best_match_is_the_guess() -> None:
    """Its score is nmap's, as a ratio."""
    assert fingerprint.parse(OS, V4) == Guess(V4, "Linux", "Linux 5.0 - 5.2", "active", 0.97)


@pytest.mark.parametrize(
    ("report", "asked"),
    [
        pytest.param(OPEN_ONLY, V4, id="no closed port, although nmap is 97 % sure"),
        pytest.param(OS.replace(b"osmatch", b"osguess"), V4, id="no match"),
        pytest.param(OS, IPv4Address("192.0.2.11"), id="another host"),
        pytest.param(OS.replace(b"portused", b"portuse"), V4, id="no ports used"),
        pytest.param(
            OPEN_ONLY.replace(b'state="closed" proto="udp"', b'state="closed" proto="sctp"'),
            V4,
            id="a closed port of another transport",
        ),
    ],
)
def test_without_an_open_and_a_closed_port_it_is_undetermined(
    report: bytes, asked: IPv4Address
) -> None:
    """Half a fingerprint fits many systems: it is counted, not guessed."""
    guess = fingerprint.parse(report, asked)

    assert guess == Guess(asked, "undetermined", "", "active", 0.0)


def test_a_damaged_report_is_bad_output() -> None:
    """As everywhere: the reason that the operator sees."""
    with pytest.raises(BadOutput):
        fingerprint.parse(OS[:-20], V4)


@pytest.mark.parametrize(
    ("family", "device", "expected"),
    [
        ("Linux", "general purpose", "Linux"),
        ("Windows", "general purpose", "Windows"),
        ("Mac OS X", "general purpose", "macOS"),
        ("macOS", "general purpose", "macOS"),
        ("iOS", "phone", "macOS"),
        ("FreeBSD", "general purpose", "BSD"),
        ("OpenBSD", "firewall", "network device"),
        ("Linux", "WAP", "network device"),
        ("IOS", "router", "network device"),
        ("embedded", "printer", "other"),
        ("Plan 9", "", "other"),
        ("", "", "other"),
    ],
)
def test_families_are_few(family: str, device: str, expected: str) -> None:
    """Dashboards group by them; nmap knows hundreds."""
    assert fingerprint.family_of(OsMatch("", family, device, 100)) == expected


@pytest.mark.parametrize(
    ("open_ports", "ports"),
    [
        ((), ("-F",)),
        ((22,), ("-p", "22,1,2,3")),
        ((1, 2, 4, 22, 80, 443), ("-p", "1,2,4,22,3,5,6")),
    ],
)
def test_nmap_is_asked_about_few_known_ports(
    open_ports: tuple[int, ...], ports: tuple[str, ...]
) -> None:
    """A fingerprint needs a few open ports and a closed one, not another sweep."""
    options = fingerprint.os_options(open_ports, 30)

    assert options == (
        "-n", "-Pn", "-sS", "-O", "--max-os-tries", "1", "--host-timeout", "30s", *ports
    )  # fmt: skip


def test_a_fingerprint_as_metrics() -> None:
    """The accuracy is of what nmap has determined, and of nothing else."""
    assert series_of(fingerprint.families(FINGERPRINT)) == [
        ('vedette_os_info{address="192.0.2.10",family="Linux",os_name="Linux 5.0 - 5.2",'
         'source="active"} 1.0'),
        ('vedette_os_info{address="192.0.2.10",family="Linux",'
         'os_name="Debian GNU/Linux 12 (bookworm)",source="local"} 1.0'),
        ('vedette_os_info{address="2001:db8::10",family="undetermined",os_name="",'
         'source="active"} 1.0'),
        ('vedette_os_info{address="2001:db8::10",family="Linux",'
         'os_name="Debian GNU/Linux 12 (bookworm)",source="local"} 1.0'),
        'vedette_os_accuracy_ratio{address="192.0.2.10"} 0.97',
    ]  # fmt: skip


def test_facts_are_what_is_known_and_silence_is_no_news() -> None:
    """A host that could not be determined once has not lost its operating system."""
    debian = {"family": "Linux", "os_name": "Debian GNU/Linux 12 (bookworm)"}
    (facts,) = fingerprint.facts(FINGERPRINT)

    assert facts == Facts(
        "os",
        (
            Fact(
                f"{V4} active",
                {"family": "Linux", "os_name": "Linux 5.0 - 5.2"},
                {"accuracy": 0.97},
            ),
            Fact(f"{V4} local", debian, {"accuracy": 1.0}),
            Fact(f"{V6} local", debian, {"accuracy": 1.0}),
        ),
        complete=False,
    )


@given(st.sampled_from([b'name="', b'type="', b'osfamily="', b'accuracy="', b'state="']), st.data())
def test_any_report_is_bad_output_or_can_be_printed(field: bytes, data: st.DataObject) -> None:
    """The whole way, from nmap's report to /metrics."""
    text = data.draw(st.text(st.characters(exclude_characters="&<>\"'", exclude_categories=["Cs"])))
    with suppress(BadOutput):
        guess = fingerprint.parse(OS.replace(field, field + text.encode()), V4)

        assert text_of(fingerprint.families(Fingerprint((guess,), active=True)))
        assert guess == UNDETERMINED or guess.family in (
            "Linux", "Windows", "macOS", "BSD", "network device", "other",
        )  # fmt: skip


def test_syns_of_neighbours_and_scanned_hosts_are_a_passive_opinion() -> None:
    """Not those of strangers, each of whom would be a series, nor this host's own."""
    neighbour, stranger = IPv4Address("192.0.2.1"), IPv4Address("203.0.113.9")
    heard = replace(
        SNIFF,
        systems={
            str(neighbour): ("Linux", "exact"),
            str(stranger): ("Windows", "exact"),
            str(V4): ("Linux", "generic"),
        },
    )

    assert fingerprint.passive(heard, [V4], {V4}) == [
        Guess(neighbour, "Linux", "Linux", "passive", 0.8)
    ]
    assert fingerprint.passive(None, [V4], {V4}) == []
