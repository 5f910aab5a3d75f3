"""The commands beside `run`, with real nmap: what they print, and their exit codes."""

import json
import re
from pathlib import Path

import pytest

from tests.live.netns import PEER_V4, V4, V6, Namespace
from tests.live.running import Metrics, vedette

pytestmark = pytest.mark.live

Yard = tuple[Namespace, Namespace, Path]


def test_scan_prints_a_plain_table_of_this_host(yard: Yard, tmp_path: Path) -> None:
    """Tab-separated where nobody looks: for grep and cut."""
    done = vedette(yard[0], tmp_path / "state", "scan", "--scan.tcp-ports", "1-1000")

    assert done.returncode == 0, done.stderr
    head, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert head == ["RISK", "ADDRESS", "PORT", "SERVICE", "VERSION", "PROGRAM", "WHY"]
    assert {(row[1], row[2], row[3], row[5]) for row in rows} == {
        (V4, "21/tcp", "ftp", "vsftpd"),
        (V4, "22/tcp", "ssh", "sshd"),
        (V6, "22/tcp", "ssh", "sshd"),
    }
    assert "\x1b" not in done.stdout


def test_scan_of_a_listed_host_prints_json(yard: Yard, tmp_path: Path) -> None:
    """Another host, from the outside: no program is known there."""
    _, peer, _ = yard
    command = ("scan", V4, PEER_V4, "--format", "json", "--scan.tcp-ports", "20-30")
    done = vedette(peer, tmp_path / "state", *command)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [host["address"] for host in found["hosts"]] == [V4, PEER_V4]
    assert {p["port"]: (p["service_name"], p["process"]) for p in found["ports"]} == {
        21: ("ftp", ""), 22: ("ssh", ""),
    }  # fmt: skip
    assert "--max-rate 1000" in done.stderr  # one is careful with what others share
    assert "-p 20-30" in done.stderr  # not the 1,000 most common


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("10.0.0.0/4", "did you mean 0.0.0.0/4?"),
        ("10.0.0.0/8", "more than 65,536 addresses"),
        ("localhost", "names are refused"),
        ("8.8.8.8", "public"),
        ("10.0.0.1 -oN /tmp/x", "neither an IP address nor a network"),
    ],
)
def test_a_target_that_may_not_be_scanned_is_refused(
    yard: Yard, tmp_path: Path, target: str, why: str
) -> None:
    """With the reason, before nmap is even looked for."""
    done = vedette(yard[0], tmp_path / "state", "scan", target)

    assert done.returncode == 64
    assert done.stdout == ""
    assert why in done.stderr
    assert "argv=" not in done.stderr


@pytest.mark.parametrize("words", [("-oN/etc/x",), ("--", "-oN/etc/x")])
def test_an_option_of_nmap_is_no_target(yard: Yard, tmp_path: Path, words: tuple[str, ...]) -> None:
    """Nothing anybody writes reaches nmap's command line."""
    done = vedette(yard[0], tmp_path / "state", "scan", *words)

    assert done.returncode == 64
    assert "argv=" not in done.stderr
    assert not Path("/etc/x").exists()


def test_once_prints_the_metrics_of_one_job(yard: Yard, tmp_path: Path) -> None:
    """The capture for one short window, and what it builds on if there is something."""
    done = vedette(
        yard[0], tmp_path / "state", "once", "--job", "sniff", "--sniff.interval-seconds", "1"
    )
    metrics = Metrics(done.stdout)

    assert done.returncode == 0, done.stderr
    assert metrics.value("vedette_job_runs_total") == 1
    assert metrics.value("vedette_job_runs_total", job_name="sniff") == 1
    assert metrics.labels("vedette_neighbours") == [{}]


def test_once_of_an_unknown_job_names_the_known(yard: Yard, tmp_path: Path) -> None:
    """Exit code 78, as for any wrong setting."""
    done = vedette(yard[0], tmp_path / "state", "once", "--job", "scna")

    assert done.returncode == 78
    assert "fingerprint, scan, sniff, stats" in done.stderr


def test_report_writes_one_static_page(yard: Yard, tmp_path: Path) -> None:
    """Every job once; the file needs nothing beside it and does not reload."""
    file = tmp_path / "report.html"
    flags = ("--scan.tcp-ports", "1-1000", "--sniff.interval-seconds", "1")
    done = vedette(yard[0], tmp_path / "state", "report", "--output", str(file), *flags)

    assert done.returncode == 0, done.stderr
    text = file.read_text()
    assert text.startswith("<!doctype html>")
    assert "OpenSSH" in text
    assert "vsftpd" in text
    assert "Debian" in text
    assert not re.search(r"<script|http-equiv=\"refresh\"|(src|href)=\"(http|//)", text)
    assert yard[0].processes("vedette", "nmap") == {}


def test_selfcheck_is_well_on_a_whole_host(yard: Yard, tmp_path: Path) -> None:
    """Exit code 0, and a line for each thing it needs."""
    done = vedette(yard[0], tmp_path / "state", "selfcheck", "--format", "json")

    checks = {check["what"]: check["ok"] for check in json.loads(done.stdout)}
    assert done.returncode == 0
    assert checks == dict.fromkeys(
        ("nmap", "raw sockets", "packages", "state directory", "clock"), True
    )


def test_selfcheck_says_what_is_missing(yard: Yard, tmp_path: Path) -> None:
    """A file stands where the state directory should be: exit code 1."""
    (tmp_path / "file").touch()
    done = vedette(yard[0], tmp_path / "file/state", "selfcheck")

    assert done.returncode == 1
    assert [x.split("\t")[1] for x in done.stdout.splitlines() if x.startswith("MISSING")] == [
        "state directory"
    ]


def test_check_config_prints_what_it_comes_to(yard: Yard, tmp_path: Path) -> None:
    """File, variables and flags put together."""
    file = tmp_path / "config.yaml"
    file.write_text("scan: {interval_seconds: 600, networks: [192.168.7.0/24]}\n")
    env = {"VEDETTE_SCAN__INTERVAL_SECONDS": "700", "VEDETTE_STATS__INTERVAL_SECONDS": "9"}
    command = ("check-config", "--config", str(file), "--stats.interval-seconds", "8")
    done = vedette(yard[0], tmp_path / "state", *command, "--format", "json", env=env)

    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert values["scan"]["interval_seconds"] == 700
    assert values["scan"]["networks"] == ["192.168.7.0/24"]
    assert values["stats"]["interval_seconds"] == 8


def test_a_wrong_configuration_is_refused_in_words(yard: Yard, tmp_path: Path) -> None:
    """All that is wrong at once, and exit code 78: by check-config, and by what would use it."""
    file = tmp_path / "config.yaml"
    file.write_text(
        "scan: {intervall_seconds: 600, interval_seconds: 1, networks: [x]}\n"
        "stats: {interval_seconds: often}\nsnif: {}\n"
    )

    for command in ("check-config", "run"):
        done = vedette(yard[0], tmp_path / "state", command, "--config", str(file))

        assert done.returncode == 78
        assert done.stdout == ""
        assert "scan.intervall_seconds: unknown key (its value is 600)" in done.stderr
        assert "did you mean interval_seconds?" in done.stderr
        assert "scan.interval_seconds: 1 is not allowed" in done.stderr
        assert "at least 10" in done.stderr
        assert "names are refused" in done.stderr
        assert "stats.interval_seconds: 'often' is not allowed" in done.stderr
        assert "did you mean sniff?" in done.stderr
        assert all(line.startswith("vedette: ") for line in done.stderr.splitlines())
