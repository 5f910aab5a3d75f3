"""ansible/make_wheelhouse.py: what a release is made of. Nothing is downloaded here."""

import hashlib
import runpy
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.unit.ansible.plugins import PROJECT


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return runpy.run_path(str(PROJECT / "ansible/make_wheelhouse.py"))


@pytest.fixture
def wheels(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "wheels"
    folder.mkdir()
    files = [
        folder / "b_c-2.0-py3-none-any.whl", folder / "a-1.0-cp311-cp311-linux.whl",
        folder / "pip-26.0-py3-none-any.whl",
    ]  # fmt: skip
    for file in files:
        file.write_bytes(file.name.encode())
    return files


def release(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name / "1.0"
    folder.mkdir(parents=True)
    return folder


def test_a_bundle_has_the_wheels_and_the_hash_of_each(
    made: dict[str, Any], wheels: list[Path], tmp_path: Path
) -> None:
    """As pip wants them with --require-hashes; first pip, which installs the others."""
    folder = release(tmp_path, "new")
    made["bundle"](wheels, folder, "cp311-x86_64")
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in wheels}

    assert (folder / "cp311-x86_64.txt").read_text() == (
        f"pip==26.0 --hash=sha256:{digests['pip-26.0-py3-none-any.whl']}\n"
        f"a==1.0 --hash=sha256:{digests['a-1.0-cp311-cp311-linux.whl']}\n"
        f"b_c==2.0 --hash=sha256:{digests['b_c-2.0-py3-none-any.whl']}\n"
    )
    with tarfile.open(folder / "cp311-x86_64.tar") as tar:
        assert sorted(tar.getnames()) == sorted(digests)


def test_the_same_wheels_make_the_same_bytes(
    made: dict[str, Any], wheels: list[Path], tmp_path: Path
) -> None:
    """Whoever builds a release again can compare."""
    first, second = release(tmp_path, "first"), release(tmp_path, "second")
    made["bundle"](wheels, first, "cp311-x86_64")
    for wheel in wheels:
        wheel.chmod(0o600)
        wheel.touch()
    made["bundle"](reversed(wheels), second, "cp311-x86_64")

    for name in ("cp311-x86_64.tar", "cp311-x86_64.txt"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_a_release_never_changes(made: dict[str, Any], wheels: list[Path], tmp_path: Path) -> None:
    """More Pythons may come to it; other bytes may not."""
    target = tmp_path / "wheelhouse" / "1.0"
    target.parent.mkdir()
    first = release(tmp_path, "first")
    made["bundle"](wheels, first, "cp311-x86_64")
    made["publish"](first, target)
    more = release(tmp_path, "more")
    made["bundle"](wheels, more, "cp313-x86_64")
    made["publish"](more, target)
    other = release(tmp_path, "other")
    made["bundle"](wheels[:1], other, "cp311-x86_64")

    with pytest.raises(SystemExit, match="raise the version"):
        made["publish"](other, target)
    assert len(list(target.iterdir())) == 4
    assert (target.parent / "latest").read_text() == "1.0\n"


def test_what_was_kept_is_compared_with_the_pins(made: dict[str, Any], wheels: list[Path]) -> None:
    """A wheel that was downloaded last month and changed since goes nowhere."""
    digest = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
    made["check"](wheels[0], f"b-c==2.0 --hash=sha256:{digest}")

    with pytest.raises(SystemExit, match="none of the hashes"):
        made["check"](wheels[1], f"b-c==2.0 --hash=sha256:{digest}")


@pytest.mark.parametrize(
    ("number", "machine", "expected"),
    [
        ("3.11", "x86_64", {"numpy": "2.4.6", "winloop": None}),
        ("3.13", "aarch64", {"numpy": "2.5.5", "winloop": None}),
        ("3.13", "win_amd64", {"numpy": "2.5.5", "winloop": "1.0"}),
    ],
)
def test_markers_are_judged_for_the_target(
    made: dict[str, Any], number: str, machine: str, expected: dict[str, str | None]
) -> None:
    """Not for the Python of the controller, as pip would."""
    text = (
        "# made by uv\n"
        "numpy==2.4.6 ; python_full_version < '3.12' \\\n    --hash=sha256:aa\n    # via x\n"
        "numpy==2.5.5 ; python_full_version >= '3.12' \\\n    --hash=sha256:bb\n"
        "winloop==1.0 ; sys_platform == 'win32' and platform_machine == 'AMD64' \\\n"
        "    --hash=sha256:cc\n"
        "rich==15.0.0 \\\n    --hash=sha256:dd\n"
    )
    pins = [pin for pin in made["blocks"](text) if made["is_for"](pin, number, machine)]
    asked = "".join(made["without_marker"](pin) for pin in pins)
    found = dict(line.split()[0].split("==") for line in asked.splitlines() if "==" in line)

    assert found.pop("rich") == "15.0.0"
    assert found == {name: version for name, version in expected.items() if version}
    assert ";" not in asked
    assert asked.count("--hash=") == len(found) + 1


def test_of_the_build_requirements_hosts_get_pip_alone(made: dict[str, Any]) -> None:
    """With its hashes: what installs all others is pinned as they are."""
    pins = made["blocks"]((PROJECT / "requirements-build.txt").read_text())
    (pip,) = [pin for pin in pins if made["is_pip"](pin)]

    assert pip.startswith("pip==")
    assert "--hash=sha256:" in pip
