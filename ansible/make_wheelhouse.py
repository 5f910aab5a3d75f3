"""Make a release that hosts without internet can install: `./dev wheelhouse [PYTHON[-MACHINE]...]`.

Into ansible/wheelhouse/<version>/ go, for each Python, a tar of wheels (`cp311-x86_64.tar`) and the
requirements that pip holds them against, with the SHA-256 of each (`cp311-x86_64.txt`): first pip,
which then installs the others, so that hosts need none. What is downloaded must have a hash of
requirements.txt or requirements-build.txt; python-nmap, which comes as source only, and vedette
itself are built here, with the setuptools of the latter. The same source gives the same bytes.
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

from packaging.requirements import Requirement

PROJECT = Path(__file__).parents[1]
# Debian 12, Ubuntu 24.04 and RHEL 10, Debian 13.
PYTHONS = ("3.11", "3.12", "3.13")
# In a requirement, and in the name of a wheel.
_SOURCE_ONLY, _BUILT = "python-nmap==", "python_nmap-"
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
    parser.add_argument("--downloads", type=Path, help="where they are kept (OUTPUT/.downloads)")
    given = parser.parse_args()
    for python in given.python:
        if not re.fullmatch(r"3\.\d+(-\w+)?", python):
            parser.error(f"{python} is no Python like 3.13 or 3.13-aarch64")
    downloads = given.downloads or given.output / ".downloads"
    print(make(given.source, given.output, downloads, given.python or PYTHONS))


def make(source: Path, output: Path, downloads: Path, pythons: Iterable[str]) -> Path:
    """Make the release of this source tree; return its folder."""
    pins = blocks((source / "requirements.txt").read_text())
    pins += [pin for pin in blocks((source / "requirements-build.txt").read_text()) if is_pip(pin)]
    downloads.mkdir(parents=True, exist_ok=True)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output, prefix=".unfinished-") as name:
        work = Path(name)
        own = work / "own"
        build(source, own)
        version = next(own.iterdir()).name.split("-")[1]
        release = work / version
        release.mkdir(mode=0o755)
        for python in pythons:
            number, _, machine = python.partition("-")
            tag = f"cp{number.replace('.', '')}-{machine or os.uname().machine}"
            wanted = [pin for pin in pins if is_for(pin, number, tag.partition("-")[2])]
            text = "".join(without_marker(pin) for pin in wanted)
            kept = downloads / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}-{tag}"
            if not kept.exists():
                download(text, kept, number, *tag.split("-", 1))
            for wheel in kept.iterdir():
                check(wheel, text)
            bundle([*kept.iterdir(), *own.iterdir()], release, tag)
        return publish(release, output / version)


def blocks(requirements: str) -> list[str]:
    """Return the requirements, each with its marker and its hashes."""
    return re.split(r"(?m)^(?=[A-Za-z])", requirements)[1:]


def is_pip(pin: str) -> bool:
    """Whether this is the one that installs the others."""
    return _requirement(pin).name == "pip"


def is_for(pin: str, number: str, machine: str) -> bool:
    """Whether its marker, if any, is true there. pip would judge by the Python that it runs on."""
    windows = machine.startswith("win")
    there = {
        "implementation_name": "cpython",
        "implementation_version": f"{number}.0",
        "os_name": "nt" if windows else "posix",
        "platform_machine": "AMD64" if windows else machine,
        "platform_python_implementation": "CPython",
        "platform_system": "Windows" if windows else "Linux",
        "python_full_version": f"{number}.0",
        "python_version": number,
        "sys_platform": "win32" if windows else "linux",
    }
    marker = _requirement(pin).marker
    return marker is None or marker.evaluate(there)


def without_marker(pin: str) -> str:
    """Return it as something that is wanted in any case."""
    return re.sub(r" ;[^\\]*", " ", pin, count=1)


def _requirement(pin: str) -> Requirement:
    return Requirement(pin.partition("\\")[0])


def bundle(wheels: Iterable[Path], release: Path, tag: str) -> None:
    """Write the tar of these wheels, and the requirements with their hashes."""
    lines = []
    with tarfile.open(release / f"{tag}.tar", "w") as tar:
        for wheel in sorted(wheels, key=lambda path: (not path.name.startswith("pip-"), path.name)):
            tar.add(wheel, wheel.name, filter=_nobody)
            project, version = wheel.name.split("-")[:2]
            lines.append(f"{project}=={version} --hash=sha256:{_digest(wheel)}\n")
    (release / f"{tag}.txt").write_text("".join(lines))


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def check(wheel: Path, requirements: str) -> None:
    """See that a wheel that was kept is still what is pinned, or what was built here."""
    if not wheel.name.startswith(_BUILT) and f"sha256:{_digest(wheel)}" not in requirements:
        sys.exit(f"{wheel} has none of the hashes that are pinned: remove its folder")


def _nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    member.mode = 0o644
    return member


def build(source: Path, folder: Path) -> None:
    """Make the wheel of vedette itself. From a copy: a build writes into its source."""
    with tempfile.TemporaryDirectory() as copy:
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(source / name, copy)
        unwanted = shutil.ignore_patterns("*.egg-info", "__pycache__")
        shutil.copytree(source / "agent", Path(copy, "agent"), ignore=unwanted)
        _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), copy)


def download(requirements: str, folder: Path, number: str, tag: str, machine: str) -> None:
    """Fetch the pinned wheels for this Python, and build what comes as source only."""
    target = ["--python-version", number, "--implementation", "cp"]
    for abi in (tag, "abi3", "none"):
        target += ["--abi", abi]
    linux = [f"manylinux{glibc}_{machine}" for glibc in _GLIBC]
    for platform in [machine] if machine.startswith("win") else linux:
        target += ["--platform", platform]
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unfinished-") as name:
        work = Path(name)
        built, rest = work / "built.txt", work / "rest.txt"
        pins = blocks(requirements)
        built.write_text("".join(pin for pin in pins if pin.startswith(_SOURCE_ONLY)))
        rest.write_text("".join(pin for pin in pins if not pin.startswith(_SOURCE_ONLY)))
        wheels = work / "wheels"
        _pip(
            *("wheel", "--require-hashes", "--no-binary", ":all:", "-r", str(built)),
            *("--no-deps", "--use-pep517", "--no-build-isolation", "--wheel-dir", str(wheels)),
        )
        _pip(
            *("download", "--require-hashes", "--only-binary", ":all:", "--no-deps"),
            *(*target, "--dest", str(wheels), "-r", str(rest)),
        )
        wheels.rename(folder)


def _pip(*words: str) -> None:
    done = subprocess.run(  # noqa: S603 - pip, of this very Python
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        timeout=_SECONDS, env={**os.environ, "SOURCE_DATE_EPOCH": "315532800"},  # zip's first day
    )  # fmt: skip
    if done.returncode != 0:
        sys.exit(f"pip {' '.join(words)} failed:\n{done.stdout[-2000:]}")


def publish(release: Path, target: Path) -> Path:
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
