"""cli.py: the command line in, an exit code and text out. Started as users start it."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vedette import __version__
from vedette.settings import all_leaves


def vedette(tmp_path: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("VEDETTE_")}
    return subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-m", "vedette", *words],
        env={
            **kept,
            "PYTHONPATH": "agent",
            "VEDETTE_STATE_DIRECTORY": str(tmp_path / "state"),
            "COLUMNS": "80",
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def outcome(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    return done.returncode, done.stdout, done.stderr


def test_check_config_prints_what_it_comes_to(tmp_path: Path) -> None:
    """As YAML that is a configuration again."""
    code, told, said = outcome(vedette(tmp_path, "check-config", "--scan.interval-seconds", "600"))
    file = tmp_path / "again.yaml"
    file.write_text(told)

    assert (code, said) == (0, "vedette: the configuration is valid\n")
    assert yaml.safe_load(told)["scan"]["interval_seconds"] == 600
    again = vedette(tmp_path, "check-config", "--config", str(file), "--format", "json")
    assert json.loads(again.stdout) == yaml.safe_load(told)


def test_a_refused_configuration_is_78_and_one_line_for_each_problem(tmp_path: Path) -> None:
    """EX_CONFIG: systemd does not restart for ever what cannot start."""
    file = tmp_path / "config.yaml"
    file.write_text("scan: {udp: 7, nope: 1}")

    code, told, said = outcome(vedette(tmp_path, "run", "--config", str(file)))
    first, second = said.splitlines()

    assert (code, told) == (78, "")
    assert first == (
        "vedette: configuration: scan.udp: 7 is not allowed: Input should be a valid boolean,"
        " unable to interpret input (allowed: true or false)"
    )
    assert second.startswith("vedette: configuration: scan.nope: unknown key (its value is 1); ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["frobnicate"], "invalid choice: 'frobnicate'"),
        ([], "the following arguments are required: COMMAND"),
        (["run", "--nonsense"], "unrecognized arguments: --nonsense"),
        (["scan", "-oN/etc/x"], "unrecognized arguments: -oN/etc/x"),
        (["once", "--format", "xml"], "invalid choice: 'xml'"),
    ],
)
def test_a_usage_error_is_64(tmp_path: Path, words: list[str], said: str) -> None:
    """EX_USAGE, with the usage."""
    code, told, complaint = outcome(vedette(tmp_path, *words))

    assert (code, told) == (64, "")
    assert complaint.startswith("usage: vedette")
    assert said in complaint


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["8.8.8.8"], "8.8.8.8/32 is public; allow_public must be true for it"),
        (
            ["192.0.2.1", "--", "-oN/etc/x"],
            (
                "'-oN/etc/x' is neither an IP address nor a network in CIDR notation"
                " (names are refused)"
            ),
        ),
    ],
)
def test_a_target_that_may_not_be_scanned_is_refused(
    tmp_path: Path, words: list[str], problem: str
) -> None:
    """Before nmap is started, with the reason; also behind the dashes that end options."""
    code, told, said = outcome(vedette(tmp_path, "scan", *words))

    assert (code, told, said) == (64, "", f"vedette: refused: {problem}\n")


def test_an_address_in_use_is_69_and_one_line(tmp_path: Path) -> None:
    """EX_UNAVAILABLE, and what to do about it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, told, said = outcome(vedette(tmp_path, "run", "--publish.expose.port", str(port)))

    assert (code, told) == (69, "")
    assert said.splitlines()[-1] == (
        f"vedette: cannot listen on 127.0.0.1:{port}: Address already in use;"
        " choose another with --publish.expose.port"
    )


def test_help_mentions_every_setting(tmp_path: Path) -> None:
    """With what it is and what is allowed: nobody should need a browser."""
    code, told, _ = outcome(vedette(tmp_path, "run", "--help"))
    words = " ".join(told.split())

    assert code == 0
    for path, _, entry in all_leaves():
        assert f"--{path.replace('_', '-')} VALUE" in words
        assert entry.metadata["text"]


def test_the_version_is_told(tmp_path: Path) -> None:
    """The first question of every bug report."""
    assert outcome(vedette(tmp_path, "--version")) == (0, f"vedette {__version__}\n", "")


def test_once_prints_the_metrics_of_one_job(tmp_path: Path) -> None:
    """The whole agent for a moment; stats needs no privileges."""
    code, told, _ = outcome(vedette(tmp_path, "once", "--job", "stats"))

    assert code == 0
    assert 'vedette_job_runs_total{job_name="stats"} 1.0' in told
    assert "vedette_memory_size_bytes" in told


def test_an_unknown_job_is_refused_with_those_there_are(tmp_path: Path) -> None:
    """A typing error must not run everything, or nothing."""
    assert outcome(vedette(tmp_path, "once", "--job", "sats")) == (
        78,
        "",
        "vedette: configuration: --job sats: there is fingerprint, scan, sniff, stats\n",
    )
