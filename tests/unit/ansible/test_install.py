"""roles/vedette_agent/files/install.py: a release of a tar of wheels, with the pip of .venv."""

import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.unit.ansible.plugins import ROLES

PROGRAM = ROLES / "vedette_agent/files/install.py"
NAME = "tiny-1.0-py3-none-any.whl"


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return a wheel."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def wheels() -> dict[str, bytes]:
    """pip, as it is here, and a package with a test of its own."""
    pip = distribution("pip")
    assert pip.files is not None
    found = {
        str(file): file.read_binary()
        for file in pip.files
        if not str(file).startswith("..")
        and file.suffix != ".pyc"
        and Path(str(file.locate())).is_file()
    }
    about = "tiny-1.0.dist-info"
    tiny = {
        "tiny/__init__.py": b"SAID = 'hello'\n",
        "tiny/tests/__init__.py": b"",
        "vedette/__init__.py": b"",
        f"{about}/METADATA": b"Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": b"",
    }
    return {f"pip-{pip.version}-py3-none-any.whl": zipped(found), NAME: zipped(tiny)}


def requirements(wheels: Mapping[str, bytes]) -> str:
    """Return them as make_wheelhouse.py writes them: pip first."""
    lines = []
    for name, content in wheels.items():
        project, version = name.split("-")[:2]
        digest = hashlib.sha256(content).hexdigest()
        lines.append(f"{project}=={version} --hash=sha256:{digest}\n")
    return "".join(lines)


def install(
    directory: Path, wheels: Mapping[str, bytes], wanted: str
) -> subprocess.CompletedProcess[str]:
    """Run the program as the role does."""
    bundle = directory / "wheels.tar"
    with tarfile.open(bundle, "w") as tar:
        for name, content in wheels.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return subprocess.run(  # noqa: S603 - the project's own program
        [sys.executable, "-c", PROGRAM.read_text(), str(bundle), str(directory / "release")],
        input=wanted, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_a_release_is_an_environment_that_is_whole_and_compiled(
    wheels: dict[str, bytes], tmp_path: Path
) -> None:
    """Without pip, which only installs it; what is never run is not compiled."""
    wanted = requirements(wheels)
    done = install(tmp_path, wheels, wanted)
    release = tmp_path / "release"
    (site,) = release.glob("lib/python3*/site-packages")
    said = subprocess.run(  # noqa: S603 - the release
        [release / "bin/python", "-c", "import tiny; print(tiny.SAID)"],
        capture_output=True, text=True, check=True, timeout=30,
    ).stdout  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert said == "hello\n"
    assert (release / "requirements.txt").read_text() == wanted
    assert not (site / "pip").exists()
    assert list((site / "tiny").glob("__pycache__/*.pyc"))
    assert not list((site / "tiny/tests").glob("__pycache__/*.pyc"))
    assert not list((site / "tiny").glob("__pycache__/*.opt-2.pyc"))
    assert len(list((site / "vedette").glob("__pycache__/*.pyc"))) == 2  # with and without -OO
    assert sorted(path.name for path in tmp_path.iterdir()) == ["release", "wheels.tar"]


@pytest.mark.parametrize("which", ["pip", "tiny"])
def test_a_wheel_with_another_hash_is_not_installed(
    which: str, wheels: dict[str, bytes], tmp_path: Path
) -> None:
    """Nor is a pip with another hash run."""
    wanted = requirements(wheels)
    (name,) = [name for name in wheels if name.startswith(which)]
    done = install(tmp_path, {**wheels, name: wheels[name] + b"\0"}, wanted)

    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not (tmp_path / "release/requirements.txt").exists()


@pytest.mark.parametrize("name", ["../outside.whl", "/outside.whl", "a/b.whl"])
def test_nothing_is_written_beside_the_wheels(
    name: str, wheels: dict[str, bytes], tmp_path: Path
) -> None:
    """Whatever a tar says where its files belong."""
    done = install(tmp_path, {name: b"", **wheels}, requirements(wheels))

    assert done.returncode != 0
    assert "is no wheel" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["wheels.tar"]
