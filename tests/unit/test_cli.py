"""cli.py: the command line in, an exit code and text out."""

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from vedette import __version__, cli
from vedette.settings import all_leaves


class Done(NamedTuple):
    code: int
    told: str
    said: str


Vedette = Callable[..., Done]


@pytest.fixture
def vedette(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Vedette]:
    """The command, in this process: starting Python anew for each word takes its time."""
    for name in [name for name in os.environ if name.startswith("VEDETTE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("VEDETTE_STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", "agent")  # for the child that reads the configuration
    monkeypatch.setenv("COLUMNS", "80")
    root = logging.getLogger("vedette")
    before = root.handlers, root.propagate, root.level

    def run(*words: str) -> Done:
        try:
            code = cli.main(words)
        except SystemExit as exc:
            code = int(exc.code or 0)
        told = capsys.readouterr()
        return Done(code, told.out, told.err)

    yield run
    root.handlers, root.propagate = before[0], before[1]
    root.setLevel(before[2])


def test_check_config_prints_what_it_comes_to(vedette: Vedette, tmp_path: Path) -> None:
    """As YAML that is a configuration again."""
    code, told, said = vedette("check-config", "--scan.interval-seconds", "600")
    file = tmp_path / "again.yaml"
    file.write_text(told)

    assert (code, said) == (0, "vedette: the configuration is valid\n")
    assert yaml.safe_load(told)["scan"]["interval_seconds"] == 600
    again = vedette("check-config", "--config", str(file), "--format", "json")
    assert json.loads(again.told) == yaml.safe_load(told)


def test_a_refused_configuration_is_78_and_one_line_for_each_problem(
    vedette: Vedette, tmp_path: Path
) -> None:
    """EX_CONFIG: systemd does not restart for ever what cannot start."""
    file = tmp_path / "config.yaml"
    file.write_text("scan: {udp: 7, nope: 1}")

    code, told, said = vedette("run", "--config", str(file))
    first, second = said.splitlines()

    assert (code, told) == (78, "")
    assert first == (
        "vedette: configuration: scan.udp: 7 is not allowed: Input should be a valid boolean,"
        " unable to interpret input (allowed: true or false)"
    )
    assert second.startswith("vedette: configuration: scan.nope: unknown key (its value is 1); ")


def test_a_report_that_cannot_be_written_is_refused_at_once(vedette: Vedette) -> None:
    """Not with a traceback, after a minute of scanning."""
    assert vedette("report", "--output", "/proc/nope/report.html") == (
        1,
        "",
        "vedette: /proc/nope/report.html: No such file or directory\n",
    )


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
def test_a_usage_error_is_64(vedette: Vedette, words: list[str], said: str) -> None:
    """EX_USAGE, with the usage."""
    code, told, complaint = vedette(*words)

    assert (code, told) == (64, "")
    assert complaint.startswith("usage: vedette")
    assert said in complaint


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["8.8.8.8"], "8.8.8.8/32 is public; --allow-public must be given for it"),
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
    vedette: Vedette, words: list[str], problem: str
) -> None:
    """Before nmap is started, with the reason; also behind the dashes that end options."""
    code, told, said = vedette("scan", *words)

    assert (code, told, said) == (64, "", f"vedette: refused: {problem}\n")


def test_an_address_in_use_is_69_and_one_line(tmp_path: Path) -> None:
    """EX_UNAVAILABLE, and what to do about it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(  # noqa: S603 - ourselves; `run` takes over a process's signals
            [sys.executable, "-m", "vedette", "run", "--publish.expose.port", str(port)],
            env={**os.environ, "PYTHONPATH": "agent", "VEDETTE_STATE_DIRECTORY": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr.splitlines()[-1] == (
        f"vedette: cannot listen on 127.0.0.1:{port}: Address already in use;"
        " choose another with --publish.expose.port"
    )


def test_help_mentions_every_setting(vedette: Vedette) -> None:
    """With what it is and what is allowed: nobody should need a browser."""
    code, told, _ = vedette("run", "--help")
    words = " ".join(told.split())

    assert code == 0
    for path, _, entry in all_leaves():
        assert f"--{path.replace('_', '-')} VALUE" in words
        assert entry.metadata["text"]


def test_the_version_is_told(vedette: Vedette) -> None:
    """The first question of every bug report."""
    assert vedette("--version") == (0, f"vedette {__version__}\n", "")


def test_once_prints_the_metrics_of_one_job(vedette: Vedette) -> None:
    """The whole agent for a moment; stats needs no privileges."""
    code, told, _ = vedette("once", "--job", "stats")

    assert code == 0
    assert 'vedette_job_runs_total{job_name="stats"} 1.0' in told
    assert "vedette_memory_size_bytes" in told


def test_an_unknown_job_is_refused_with_those_there_are(vedette: Vedette) -> None:
    """A typing error must not run everything, or nothing."""
    assert vedette("once", "--job", "sats") == (
        78,
        "",
        "vedette: configuration: --job sats: there is fingerprint, scan, sniff, stats\n",
    )
