"""`./dev fuzz [NAME] [--seconds N]`: fuzz the targets, one after the other; say what came of it.

What has led to new branches is kept in .fuzz/NAME/ for the next run, what has led to a crash beside
that. Exit code 1: a crash. 69 (EX_UNAVAILABLE): there is no atheris for this Python and machine.
"""

import argparse
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_KEPT = _ROOT / ".fuzz"
NAMES = sorted(file.stem for file in Path(__file__).with_name("targets").glob("[!_]*.py"))
_INPUT_SECONDS = 10
_MEMORY_MIB = 512
_SPARE_SECONDS = 120  # for imports, seeds, and what is kept, on a busy machine
_UNAVAILABLE = 69


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one run. crash: the input that did it; said: the end of what was printed."""

    inputs: int
    failed: bool
    crash: Path | None
    said: str


def fuzz(module: str, kept: Path, arguments: Sequence[str], seconds: float) -> Outcome:
    """Fuzz a target in a process of its own; `kept` and what crashes beside it outlive that."""
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="vedette-fuzz-") as folder:
        command = [
            *(sys.executable, "-m", "tests.fuzz.child", module, folder),
            *(f"-timeout={_INPUT_SECONDS}", f"-rss_limit_mb={_MEMORY_MIB}"),
            *(f"-artifact_prefix={kept}.", f"-dict={folder}/words", "-print_final_stats=1"),
            *(arguments or (f"-max_total_time={seconds:.0f}", str(kept), f"{folder}/seeds")),
        ]
        said = Path(folder, "said")
        with said.open("wb") as out:
            try:
                status = subprocess.run(  # noqa: S603 - ourselves
                    command, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=out,
                    stderr=subprocess.STDOUT, timeout=seconds + _SPARE_SECONDS, check=False,
                ).returncode  # fmt: skip
            except subprocess.TimeoutExpired:
                status = -1
                out.write(b"it did not end\n")
        text = said.read_text(encoding="utf-8", errors="replace")
    tried = re.findall(r"^stat::number_of_executed_units: +(\d+)", text, re.MULTILINE)
    crash = re.findall(r"Test unit written to (\S+)", text)
    return Outcome(
        inputs=int(tried[-1]) if tried else 0,
        failed=status != 0,
        crash=Path(crash[-1]) if crash else None,
        said="\n".join(text.splitlines()[-40:]),
    )


def main() -> int:
    """Fuzz what is named, or every target."""
    parser = argparse.ArgumentParser(prog="./dev fuzz", description="Fuzz the parsers.")
    parser.add_argument("name", nargs="?", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("--input", type=Path, metavar="FILE", help="try this one input, once")
    given = parser.parse_args()
    if given.seconds < 1:  # to libFuzzer, 0 is for ever
        parser.error("--seconds must be at least 1")
    if given.input is not None and given.name is None:
        parser.error("--input needs the NAME of a target")
    if find_spec("atheris") is None:
        print(
            f"vedette: nothing was fuzzed: atheris has no wheel for Python"
            f" {platform.python_version()} on {platform.system()} {platform.machine()}"
            " (there is one for Linux on x86_64, Python 3.11 to 3.13)",
            file=sys.stderr,
        )
        return _UNAVAILABLE
    alone = [] if given.input is None else [str(given.input.absolute())]
    crashes = 0
    for name in [given.name] if given.name else NAMES:
        outcome = fuzz(f"tests.fuzz.targets.{name}", _KEPT / name, alone, given.seconds)
        crashes += outcome.failed
        print(f"{name:<16} {outcome.inputs:>9,} inputs, {int(outcome.failed)} crashes", flush=True)
        if outcome.failed:
            print(outcome.said)
        if outcome.crash is not None and not alone:
            print(f"once more: ./dev fuzz {name} --input {outcome.crash}")
    return 1 if crashes else 0


if __name__ == "__main__":
    sys.exit(main())
