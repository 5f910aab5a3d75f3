"""config.py: file, variables and flags in; Settings, or all that is wrong with them, out."""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from vedette import config
from vedette.errors import ConfigError
from vedette.jobs import found, scan, stats
from vedette.settings import Settings, all_leaves

EXAMPLE = """
state_directory: /srv/vedette
log_level: debug
scan:
  interval_seconds: 60
  networks: [192.0.2.0/24, 198.51.100.7]
  expected_ports: [22, tcp/443, 53/udp]
stats:
  enabled: false
publish:
  expose: {port: 9000}
"""


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the environment that runs the tests."""
    for name in [name for name in os.environ if name.startswith("VEDETTE_")]:
        monkeypatch.delenv(name)


def read(tmp_path: Path, text: str = "", **flags: str) -> Settings:
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return config.read(file, {name.replace("__", "."): value for name, value in flags.items()})


def refusal(tmp_path: Path, text: str = "", **flags: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, text, **flags)
    return [problem.replace(f"{tmp_path}/", "") for problem in refused.value.problems]


# ---- what is taken


def test_nothing_at_all_is_a_good_configuration(tmp_path: Path) -> None:
    """The agent works out of the box, and an empty file is as good as none."""
    settings = read(tmp_path)

    assert dict(settings.jobs) == {name: job.options() for name, job in found().items()}
    assert list(settings.enabled_jobs()) == ["fingerprint", "scan", "sniff", "stats"]
    assert (settings.log_level, settings.log_format) == ("info", "text")
    assert (settings.publish.expose.address, settings.publish.expose.port) == (
        IPv4Address("127.0.0.1"),
        8000,
    )
    assert settings == read(tmp_path, "# only a comment\n") == read(tmp_path, "scan: {}\n")


def test_a_file_sets_what_it_names_and_no_more(tmp_path: Path) -> None:
    """Networks and ports are parsed: nothing behind the configuration sees strings."""
    settings = read(tmp_path, EXAMPLE)

    assert settings.state_directory == Path("/srv/vedette")
    assert settings.log_level == "debug"
    assert settings.jobs["scan"] == scan.Options(
        interval_seconds=60,
        networks=(IPv4Network("192.0.2.0/24"), IPv4Network("198.51.100.7/32")),
        expected_ports=("tcp/22", "tcp/443", "udp/53"),
    )
    assert settings.jobs["stats"] == stats.Options(enabled=False)
    assert "stats" not in settings.enabled_jobs()
    assert settings.publish.expose.port == 9000


def test_a_flag_goes_over_a_variable_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sets its own key: the rest of a section stays what the weaker source said."""
    monkeypatch.setenv("VEDETTE_STATS__INTERVAL_SECONDS", "20")
    monkeypatch.setenv("VEDETTE_STATS__TIMEOUT_SECONDS", "21")
    monkeypatch.setenv("VEDETTE_SCAN__NETWORKS", '["192.0.2.0/24"]')
    monkeypatch.setenv("VEDETTE_LOG_LEVEL", "error")
    settings = read(
        tmp_path,
        "stats: {interval_seconds: 30, timeout_seconds: 31, splay_seconds: 32}\nlog_level: debug",
        stats__interval_seconds="10",
        log_format="json",
    )

    assert settings.jobs["stats"] == stats.Options(
        interval_seconds=10, timeout_seconds=21, splay_seconds=32
    )
    assert (settings.log_level, settings.log_format) == ("error", "json")
    assert settings.jobs["scan"] == scan.Options(networks=(IPv4Network("192.0.2.0/24"),))


def test_flags_are_yaml(tmp_path: Path) -> None:
    """Lists, switches and nothing can be said on the command line as in the file."""
    settings = read(
        tmp_path, "scan: {expected_ports: [22]}",
        scan__expected_ports="[80, 443]", stats__enabled="no", scan__networks="[192.0.2.1]",
    )  # fmt: skip

    assert settings.jobs["scan"] == scan.Options(
        expected_ports=("tcp/80", "tcp/443"), networks=(IPv4Network("192.0.2.1/32"),)
    )
    assert not settings.jobs["stats"].enabled


def test_variables_that_are_no_settings_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """VEDETTE_CONFIG names the file; others belong to other programs."""
    monkeypatch.setenv("VEDETTE_CONFIG", "/etc/x")
    monkeypatch.setenv("VEDETTEX", "1")

    assert read(tmp_path) == read(tmp_path)


# ---- what is refused


def test_all_addresses_can_be_a_flag(tmp_path: Path) -> None:
    """YAML takes :: for a mapping."""
    settings = read(tmp_path, publish__expose__address="::")

    assert str(settings.publish.expose.address) == "::"


def test_one_port_is_a_list_of_ports(tmp_path: Path) -> None:
    """YAML takes 22 for a number."""
    scan: Any = read(tmp_path, "scan: {tcp_ports: 22}", **{"scan.udp_ports": "53"}).jobs["scan"]

    assert (scan.tcp_ports, scan.udp_ports) == ("22", "53")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("scan: {intervall_seconds: 60}",
         "scan.intervall_seconds: unknown key (its value is 60); did you mean interval_seconds?"),
        ("scam: {enabled: true}",
         "scam: unknown key (its value is {'enabled': True}); did you mean scan?"),
        ("publish: {expose: {prot: 1}}",
         "publish.expose.prot: unknown key (its value is 1); did you mean port?"),
        ("publish: {expose: {zzz: 1}}",
         "publish.expose.zzz: unknown key (its value is 1); known here: enabled, address, port, "),
        ("scan: {interval_seconds: soon}",
         ("scan.interval_seconds: 'soon' is not allowed: Input should be a valid integer, unable to"
         " parse string as an integer (allowed: whole number, at least 10)")),
        ("scan: {interval_seconds: 1}",
         ("scan.interval_seconds: 1 is not allowed: Input should be greater than or equal to 10"
         " (allowed: whole number, at least 10)")),
        ("scan: {timeout_seconds: 0}",
         ("scan.timeout_seconds: 0 is not allowed: Input should be greater than 0"
         " (allowed: number, above 0)")),
        ("scan: {timeout_seconds: .inf}",
         ("scan.timeout_seconds: inf is not allowed: Input should be a finite number"
         " (allowed: number, above 0)")),
        ("scan: {enabled: maybe}",
         ("scan.enabled: 'maybe' is not allowed: Input should be a valid boolean, unable to"
         " interpret input (allowed: true or false)")),
        ("log_level: loud",
         ("log_level: 'loud' is not allowed: Input should be 'debug', 'info', 'warning' or 'error'"
         " (allowed: debug or info or warning or error)")),
        ("publish: {expose: {port: 65536}}",
         ("publish.expose.port: 65536 is not allowed: Input should be less than or equal to 65535"
         " (allowed: whole number, at least 0, at most 65535)")),
        ("scan: {networks: [router.example]}",
         ("scan.networks: 'router.example' is neither an IP address nor a network in CIDR notation"
         " (names are refused)")),
        ("scan: {networks: [-oN/etc/x]}",
         ("scan.networks: '-oN/etc/x' is neither an IP address nor a network in CIDR notation"
         " (names are refused)")),
        ("scan: {networks: [192.0.2.1/24]}",
         ("scan.networks: '192.0.2.1/24' is an address inside a network;"
          " did you mean 192.0.2.0/24?")),
        ("scan: {networks: [8.8.8.0/24]}",
         "scan: 8.8.8.0/24 is public; allow_public must be true for it"),
        ("scan: {networks: [0.0.0.0/4]}", "scan: 0.0.0.0/4 has more than 65,536 addresses"),
        ("scan: {expected_ports: [ssh]}",
         "scan.expected_ports: 'ssh' is not a port like 22, tcp/22 or udp/53"),
        ("scan: {tcp_ports: '80-22'}", "scan.tcp_ports: '80-22': the range runs backwards"),
        ("publish: {push: {instance: 7}}",
         ("publish.push.instance: 7 is not allowed: Input should be a valid string (allowed: text);"
          " write it in quotes")),
        ("- scan\n", "config.yaml: it must hold sections (state_directory, "),
        ("just words", "config.yaml: it must hold sections (state_directory, "),
        ("1: 2", "config.yaml: it must hold sections (state_directory, "),
        ("scan: [", "config.yaml: cannot be read: while parsing a flow node"),
        ("a: b: c", "config.yaml: cannot be read: mapping values are not allowed here"),
        ("scan: {x: 2026-13-45}", "config.yaml: cannot be read: month must be in 1..12"),
        ("x: !!python/object:os.system {}", "config.yaml: cannot be read: could not determine"),
        ("[" * 1500, "config.yaml: cannot be read: "),
    ],
)  # fmt: skip
def test_a_file_is_refused_in_one_sentence(tmp_path: Path, text: str, problem: str) -> None:
    """The key, the value, what is allowed, and the nearest known key: no search in a manual."""
    (told,) = refusal(tmp_path, text)

    assert told == problem if problem[-1] in ")?s" else told.startswith(problem)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    """Not one refusal for each attempt."""
    told = refusal(tmp_path, "scan: {interval_seconds: 1, udp: 7}\nstats: {nope: 1}")

    assert [problem.split(":")[0] for problem in told] == [
        "scan.interval_seconds", "scan.udp", "stats.nope",
    ]  # fmt: skip


def test_a_named_file_must_exist_and_be_readable(tmp_path: Path) -> None:
    """With the default file it is no error: most hosts have none."""
    for name, problem in (
        ("missing.yaml", "missing.yaml: there is no such file"),
        (".", ": cannot be read: [Errno 21] Is a directory"),
    ):
        with pytest.raises(ConfigError) as refused:
            config.read(tmp_path / name, {})
        assert problem in refused.value.problems[0]
    (tmp_path / "latin.yaml").write_bytes(b"log_level: \xff")
    with pytest.raises(ConfigError, match="cannot be read: 'utf-8' codec"):
        config.read(tmp_path / "latin.yaml", {})


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("VEDETTE_SCAM__ENABLED", "1",
         "VEDETTE_SCAM__ENABLED: unknown variable; did you mean VEDETTE_SCAN?"),
        ("VEDETTE_SCAN__INTERVALL_SECONDS", "60",
         "scan.intervall_seconds: unknown key (its value is '60'); did you mean interval_seconds?"),
        ("VEDETTE_SCAN__INTERVAL_SECONDS", "soon",
         ("scan.interval_seconds: 'soon' is not allowed: Input should be a valid integer, unable to"
         " parse string as an integer (allowed: whole number, at least 10)")),
        ("VEDETTE_SCAN__NETWORKS", "192.0.2.0/24",
         ("VEDETTE_SCAN__NETWORKS: '192.0.2.0/24' is not allowed: write a list of IPv4 network or"
         " IPv6 network as JSON")),
    ],
)  # fmt: skip
def test_a_variable_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, problem: str
) -> None:
    """A typing error in a unit file would otherwise go unnoticed for ever."""
    monkeypatch.setenv(variable, value)

    assert refusal(tmp_path) == [problem]


def test_a_flag_is_refused_in_one_sentence(tmp_path: Path) -> None:
    """As everywhere."""
    assert refusal(tmp_path, scan__networks="[") == ["scan.networks: '[' cannot be read as YAML"]
    assert refusal(tmp_path, stats__interval_seconds="0") == [
        (
            "stats.interval_seconds: 0 is not allowed: Input should be greater than or equal to 1"
            " (allowed: whole number, at least 1)"
        )
    ]


def test_no_refusal_is_longer_than_a_few_lines(tmp_path: Path) -> None:
    """A whole file pasted into one key is shown by its beginning."""
    (told,) = refusal(tmp_path, f"log_level: {'x' * 10_000}")

    assert len(told) < 300


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.dates()
    | st.datetimes() | st.binary(max_size=5)
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalars, inner, max_size=3),
    max_leaves=8,
)
PATHS = [path.split(".") for path, _, _ in all_leaves()]


def nested(path: list[str], value: object) -> Mapping[str, Any]:
    for name in reversed(path):
        value = {name: value}
    assert isinstance(value, dict)
    return value


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.builds(nested, st.sampled_from(PATHS) | st.lists(st.text(max_size=5), min_size=1), values)
)
@example({"scan": {1: 2}})
@example({"scan": {"networks": [[]]}})
@example({"scan": {None: None}})
def test_anything_yaml_can_say_is_settings_or_refused(
    tmp_path: Path, value: Mapping[str, Any]
) -> None:
    """The agent must say what is wrong with its file, not show where it fell over."""
    with suppress(ConfigError):
        assert isinstance(read(tmp_path, yaml.safe_dump(dict(value))), Settings)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text() | st.text(st.sampled_from("scan:{}[]!&*#-'\" \n\t1.")))
@example("&a [*a]")
@example("scan: &a {networks: *a}")
@example("2026-13-45")
@example("x: !!int y")
def test_any_text_is_settings_or_refused(tmp_path: Path, text: str) -> None:
    """An editor's swap file, half a download, a certificate."""
    (tmp_path / "config.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    with suppress(ConfigError):
        assert isinstance(config.read(tmp_path / "config.yaml", {}), Settings)


def test_every_refusal_is_one_line(tmp_path: Path) -> None:
    """They go to a terminal and to the journal."""
    for text in ("a: b: c", "scan: {interval_seconds: 'a\nb'}", 'log_level: "\\x1b[2J"'):
        assert all(re.fullmatch(r"[^\n\x1b]+", problem) for problem in refusal(tmp_path, text))
