"""probing.py: which open ports have to be asked what answers there, and which need not."""

import json
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import known
from tests.unit.snapshots import GUESSED_FTP, LOOPBACK, SSH, V4, V6
from vedette import probing
from vedette.edges.host import Listener
from vedette.probing import Listeners, Memory, is_program
from vedette.scanned import Service

ANY4, ANY6, LOOPBACK6 = ip_address("0.0.0.0"), ip_address("::"), ip_address("::1")  # noqa: S104
STRANGER = IPv4Address("198.51.100.7")
OWN = (V4, V6, LOOPBACK, LOOPBACK6)
PROGRAM, SOCKET = "0123456789abcdef", "socket 4711"


def listener(
    address: IPv4Address | IPv6Address, port: int = 22, identity: str = PROGRAM, **facts: Any
) -> Listener:
    values: dict[str, Any] = {"transport": "tcp", "process": "sshd", "own": False, **facts}
    return Listener(address=address, port=port, identity=identity, **values)


# ---- what is remembered


def test_a_memory_survives_history() -> None:
    """It goes through JSON; tuples must be tuples again, or no comparison holds."""
    memory = Memory(SSH, 1.5, 2.5, PROGRAM)

    assert Memory.of(known({}, json.loads(json.dumps(memory.as_detail())))) == memory


@pytest.mark.parametrize(
    "detail",
    [
        {},
        {"service": {}},
        {"service": None, "probed_at": 1, "deep_at": 1, "identity": ""},
        {"service": {"cpes": []}, "probed_at": 1.0},
        {"service": {"cpes": [], "colour": "red"}, "probed_at": 1, "deep_at": 1, "identity": ""},
        {"service": {"cpes": 5}, "probed_at": 1, "deep_at": 1, "identity": ""},
        {**Memory(SSH, 1, 1, "").as_detail(), "more": 1},
    ],
)
def test_what_another_version_wrote_is_of_no_use(detail: dict[str, Any]) -> None:
    """After an upgrade or a downgrade the port is asked again; that is all."""
    assert Memory.of(known({}, detail)) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(["service", "probed_at", "deep_at", "identity", "x"]),
        json_values | st.fixed_dictionaries({"cpes": json_values}),
    )
)
def test_any_detail_is_a_memory_or_none(detail: dict[str, Any]) -> None:
    """History is a file: somebody's disk, somebody's editor."""
    memory = Memory.of(known({}, detail))

    assert memory is None or isinstance(memory.service, Service)


@pytest.mark.parametrize(
    ("identity", "same", "present", "age", "good"),
    [
        pytest.param(PROGRAM, True, True, 10**9, True, id="the same program: for ever"),
        pytest.param(PROGRAM, True, False, 10**9, True, id="the same program, stopped meanwhile"),
        pytest.param(PROGRAM, False, True, 1, False, id="another program, or an upgrade"),
        pytest.param(SOCKET, True, True, 99, True, id="the same socket, not yet old"),
        pytest.param(SOCKET, True, True, 100, False, id="the same socket, old"),
        pytest.param(SOCKET, True, False, 99, False, id="a socket's number came back"),
        pytest.param(SOCKET, False, True, 1, False, id="another socket: restarted"),
        pytest.param("", True, True, 99, True, id="another host, not yet old"),
        pytest.param("", True, True, 100, False, id="another host, old"),
        pytest.param("", True, False, 1, False, id="another host's port came back"),
    ],
)
def test_what_still_holds(
    identity: str, *, same: bool, present: bool, age: float, good: bool
) -> None:
    """Each wrong True hides an upgrade, each wrong False costs half a minute of a scan."""
    memory = Memory(SSH, 0, 0, identity)
    now = identity if same else "ffff"

    assert probing.still_good(memory, present=present, identity=now, age=age, refresh=100) is good


@pytest.mark.parametrize(
    ("service", "deep_at", "identity", "age", "due"),
    [
        pytest.param(SSH, 0, PROGRAM, 10**9, False, id="known already"),
        pytest.param(GUESSED_FTP, 0, PROGRAM, 10**9, True, id="never had one"),
        pytest.param(GUESSED_FTP, 5, PROGRAM, 10**9, False, id="the same program stays silent"),
        pytest.param(GUESSED_FTP, 5, SOCKET, 100, True, id="a day later"),
        pytest.param(GUESSED_FTP, 5, SOCKET, 99, False, id="once a day"),
        pytest.param(GUESSED_FTP, 5, "", 100, True, id="another host, a day later"),
    ],
)
def test_the_deep_pass_is_rare(
    service: Service, deep_at: float, identity: str, age: float, *, due: bool
) -> None:
    """One silent port costs it 157 s."""
    memory = Memory(service, 0, deep_at, identity)

    assert probing.wants_deep_pass(memory, age=age, refresh=100) is due


def test_programs_are_told_from_sockets() -> None:
    """A socket's inode says that something was restarted, not what it is."""
    assert is_program(PROGRAM)
    assert is_program(f"{PROGRAM} {PROGRAM}")
    assert not any(map(is_program, (SOCKET, "", f"{PROGRAM} {SOCKET}")))


# ---- who listens


@pytest.mark.parametrize(
    ("listens", "asked", "serves"),
    [
        (V4, V4, True),
        (V4, LOOPBACK, False),
        (ANY4, V4, True),
        (ANY4, LOOPBACK, True),
        (ANY4, V6, False),
        (ANY6, V6, True),
        (ANY6, V4, True),  # dual-stack, as most daemons do
        (ANY4, STRANGER, False),
        (ANY6, STRANGER, False),
    ],
)
def test_a_wildcard_serves_the_addresses_of_this_host(
    listens: IPv4Address, asked: IPv4Address, *, serves: bool
) -> None:
    """And no other host's, whatever number it has open."""
    socket = listener(listens)

    assert Listeners([socket], OWN).serving((asked, "tcp", 22)) == ([socket] if serves else [])


def test_transport_and_number_count() -> None:
    """The socket of udp/53 says nothing about tcp/53."""
    listeners = Listeners([listener(ANY4, 53, transport="udp")], OWN)

    assert [listeners.serving((V4, t, n)) for t, n in (("tcp", 53), ("udp", 54))] == [[], []]


def test_what_is_known_of_the_listener() -> None:
    """Process, identity, whether it is the agent itself, whether it listens everywhere."""
    listeners = Listeners(
        [
            listener(ANY4, 22),
            listener(V4, 22, "aaaa", process=""),
            listener(V4, 8000, own=True, process="vedette"),
        ],
        OWN,
    )
    ssh, own, nothing = (V4, "tcp", 22), (V4, "tcp", 8000), (V4, "tcp", 9)

    assert [listeners.process(k) for k in (ssh, own, nothing)] == ["sshd", "vedette", ""]
    assert [listeners.identity(k) for k in (ssh, own, nothing)] == [f"{PROGRAM} aaaa", PROGRAM, ""]
    assert [listeners.is_own(k) for k in (ssh, own, nothing)] == [False, True, False]
    assert [listeners.behind_wildcard(k) for k in (ssh, own, nothing)] == [True, False, False]


@pytest.mark.parametrize(
    ("within", "numbers"),
    [
        ("1-65535", [22, 80, 8080]),
        ("22", [22]),
        ("1-80,8080", [22, 80, 8080]),
        ("23-79", []),
        ("", []),
    ],
)
def test_ports_within_ranges(within: str, numbers: list[int]) -> None:
    """The setting `tcp_ports` holds for loopback as well, where only sockets are asked."""
    sockets = [listener(ANY4, 22), listener(LOOPBACK, 80), listener(ANY6, 8080)]
    others = [listener(V4, 81), listener(LOOPBACK, 82, transport="udp")]

    assert Listeners([*sockets, *others], OWN).numbers("tcp", [LOOPBACK], within) == numbers


def test_one_address_is_asked_for_all_that_one_program_serves() -> None:
    """The same sshd on five addresses is one question; loopback is asked last."""
    listeners = Listeners([listener(ANY6, 22), listener(ANY4, 25, SOCKET)], OWN)
    asked = [(a, "tcp", n) for a in (LOOPBACK, V6, V4) for n in (22, 25)] + [(STRANGER, "tcp", 22)]

    assert probing.representatives(asked, listeners) == {
        (V4, "tcp", 22): [(V4, "tcp", 22), (V6, "tcp", 22), (LOOPBACK, "tcp", 22)],
        (V4, "tcp", 25): [(V4, "tcp", 25)],  # only its socket is known: it may be another program
        (STRANGER, "tcp", 22): [(STRANGER, "tcp", 22)],
        (V6, "tcp", 25): [(V6, "tcp", 25)],
        (LOOPBACK, "tcp", 25): [(LOOPBACK, "tcp", 25)],
    }


# ---- asking


@pytest.mark.parametrize(
    ("transport", "deep", "raw", "intensity", "kind"),
    [
        ("tcp", False, True, "--version-light", "-sS"),
        ("tcp", True, True, "--version-intensity=7", "-sS"),
        ("tcp", False, False, "--version-light", "-sT"),
        ("udp", False, True, "--version-light", "-sU"),
    ],
)
def test_nmaps_options(transport: str, *, deep: bool, raw: bool, intensity: str, kind: str) -> None:
    """Ports 9100-9107 are exporters, not printers: --allports. And never a script."""
    options = probing.version_options(transport, {443, 22}, deep=deep, raw=raw)

    assert options == (
        "-n", "-Pn", "-T4", "-sV", "--allports", intensity, kind, "-p", "22,443",
    )  # fmt: skip


def remember(found: dict[probing.Key, Service], *, deep: bool, old: Memory | None) -> Memory:
    key = (V4, "tcp", 22)
    before: dict[probing.Key, Memory] = {key: old} if old else {}
    listeners = Listeners([listener(V4)], OWN)
    memories = dict(
        probing.remembered(
            {key: [key]}, found, {key: GUESSED_FTP}, before, listeners, deep=deep, now=50.0
        )
    )
    return memories[key]


def test_what_is_remembered_of_an_answer_and_of_silence() -> None:
    """Silence is remembered as well, or the same port would be asked at each scan."""
    key, light = (V4, "tcp", 22), Memory(GUESSED_FTP, 10.0, 0.0, PROGRAM)

    assert remember({key: SSH}, deep=False, old=None) == Memory(SSH, 50.0, 0.0, PROGRAM)
    assert remember({}, deep=False, old=None) == Memory(GUESSED_FTP, 50.0, 0.0, PROGRAM)
    assert remember({key: SSH}, deep=True, old=light) == Memory(SSH, 10.0, 50.0, PROGRAM)
    assert remember({}, deep=True, old=light) == Memory(GUESSED_FTP, 10.0, 50.0, PROGRAM)
