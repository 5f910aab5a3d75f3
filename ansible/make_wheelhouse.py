"""Make a release that hosts without internet can install: `./dev wheelhouse [PYTHON[-MACHINE]...]`.

Into ansible/wheelhouse/<version>/ go, for each Python, a tar of wheels (`cp311-x86_64.tar`) and the
requirements that pip holds them against, with the SHA-256 of each (`cp311-x86_64.txt`). What
is downloaded must have a hash of requirements.txt; python-nmap, which comes as source only, and
vedette itself are built here, with the setuptools of requirements-build.txt. The same source
gives the same bytes.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

PROJECT = Path(__file__).parents[1]
# Debian 12, Ubuntu 24.04 and RHEL 10, Debian 13.
PYTHONS = ("3.11", "3.12", "3.13")
SOURCE_ONLY = ("python-nmap",)
# pip takes these by name, and does not know which of them contain which.
_GLIBC = ("_2_28", "_2_17", "2014", "_2_12", "2010", "_2_5", "1")
_SECONDS = 600


def main() -> None:
    """Build what is asked for."""
    parser = argparse.ArgumentParser(prog="./dev wheelhouse", description=__doc__)
    parser.add_argument(
        "python", nargs="*", metavar="PYTHON[-MACHINE]", help="3.13, 3.13-aarch64, 3.13-win_amd64"
    )
    parser.add_argument("--source", type=Path, default=PROJECT, help="another source tree")
    parser.add_argument("--output", type=Path, default=PROJECT / "ansible/wheelhouse")
    given = parser.parse_args()
    wanted = given.python or PYTHONS
    for python in wanted:
        if not re.fullmatch(r"3\.\d+(-\w+)?", python):
            parser.error(f"{python} is no Python like 3.13 or 3.13-aarch64")
    print(make(given.source, given.output, wanted))


def make(source: Path, output: Path, pythons: Iterable[str]) -> Path:
    """Make the release of this source tree; return its folder."""
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output, prefix=".unfinished-") as name:
        work = Path(name)
        built, downloaded = _requirements(source / "requirements.txt", work)
        _build(source, built, work / "own")
        (own,) = (work / "own").glob("vedette-*.whl")
        version = own.name.split("-")[1]
        release = work / version
        release.mkdir(mode=0o755)
        for python in pythons:
            number, _, machine = python.partition("-")
            machine = machine or os.uname().machine
            tag = f"cp{number.replace('.', '')}"
            wheels = work / f"{tag}-{machine}"
            _download(downloaded, wheels, number, tag, machine)
            for wheel in (work / "own").iterdir():
                shutil.copy(wheel, wheels)
            bundle(wheels, release)
        return _publish(release, output / version)


def bundle(wheels: Path, release: Path) -> None:
    """Write the tar of a folder of wheels, and its requirements with hashes."""
    names = sorted(path.name for path in wheels.iterdir())
    with tarfile.open(release / f"{wheels.name}.tar", "w") as tar:
        for name in names:
            tar.add(wheels / name, name, filter=_nobody)
    lines = []
    for name in names:
        project, version = name.split("-")[:2]
        digest = hashlib.sha256((wheels / name).read_bytes()).hexdigest()
        lines.append(f"{project}=={version} --hash=sha256:{digest}\n")
    (release / f"{wheels.name}.txt").write_text("".join(lines))


def _nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    member.mode = 0o644
    return member


def _requirements(file: Path, work: Path) -> tuple[Path, Path]:
    """Split the pinned requirements: those that are built here, and those that are downloaded."""
    blocks = re.split(r"(?m)^(?=[A-Za-z])", file.read_text())[1:]
    built, downloaded = work / "built.txt", work / "downloaded.txt"
    built.write_text("".join(b for b in blocks if b.startswith(SOURCE_ONLY)))
    downloaded.write_text("".join(b for b in blocks if not b.startswith(SOURCE_ONLY)))
    return built, downloaded


def _build(source: Path, requirements: Path, folder: Path) -> None:
    _pip(
        *("wheel", "--require-hashes", "--no-binary", ":all:", "-r", str(requirements)),
        *("--no-deps", "--use-pep517", "--no-build-isolation", "--wheel-dir", str(folder)),
    )
    with tempfile.TemporaryDirectory() as copy:  # a build writes into its source
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(source / name, copy)
        unwanted = shutil.ignore_patterns("*.egg-info", "__pycache__")
        shutil.copytree(source / "agent", Path(copy, "agent"), ignore=unwanted)
        _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), copy)


def _download(requirements: Path, folder: Path, number: str, tag: str, machine: str) -> None:
    target = ["--python-version", number, "--implementation", "cp"]
    for abi in (tag, "abi3", "none"):
        target += ["--abi", abi]
    linux = [f"manylinux{glibc}_{machine}" for glibc in _GLIBC]
    for platform in [machine] if machine.startswith("win") else linux:
        target += ["--platform", platform]
    _pip(
        *("download", "--require-hashes", "--only-binary", ":all:", "--no-deps"),
        *(*target, "--dest", str(folder), "-r", str(requirements)),
    )


def _pip(*words: str) -> None:
    done = subprocess.run(  # noqa: S603 - pip, of this very Python
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        timeout=_SECONDS, env={**os.environ, "SOURCE_DATE_EPOCH": "315532800"},  # zip's first day
    )  # fmt: skip
    if done.returncode != 0:
        sys.exit(f"pip {' '.join(words)} failed:\n{done.stdout[-2000:]}")


def _publish(release: Path, target: Path) -> Path:
    """Move what is new to its place. A release never changes: hosts may run it."""
    target.mkdir(mode=0o755, exist_ok=True)
    for file in sorted(release.iterdir()):
        there = target / file.name
        if there.exists() and there.read_bytes() != file.read_bytes():
            sys.exit(
                f"{there} exists and was made from another source: raise the version in"
                f" pyproject.toml and agent/vedette/__init__.py, or remove {target}"
            )
    for file in release.iterdir():
        file.replace(target / file.name)
    (target.parent / "latest").write_text(f"{target.name}\n")
    return target


if __name__ == "__main__":
    main()
