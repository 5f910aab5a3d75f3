"""Install a release: an environment of its own, of the wheels of a tar. No network is asked.

install.py BUNDLE RELEASE < REQUIREMENTS: each wheel must have the hash that its requirement says.
pip is among them. It installs the others from where it lies, and stays no part of the release.
"""

import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
import venv
from compileall import compile_dir
from pathlib import Path

# Others' tests and tools, protocols that scapy knows by name only, colours for program texts.
IDLE = re.compile("/(tests|numpy/(distutils|f2py)|pygments/lexers|scapy/contrib)/")


def main() -> None:
    """Do it; what is not whole has no requirements.txt."""
    bundle, release = Path(sys.argv[1]), Path(sys.argv[2])
    text = sys.stdin.read()
    with tempfile.TemporaryDirectory(dir=bundle.parent) as name:
        wheels = Path(name)
        unpack(bundle, wheels)
        pip = installer(text, wheels)
        # clear: an installation that was interrupted leaves half of one.
        venv.create(release, clear=True, with_pip=False, symlinks=True)
        python = str(release / "bin/python")
        wanted = wheels / "requirements.txt"
        wanted.write_text("".join(text.splitlines(keepends=True)[1:]))
        run(
            *(python, str(pip / "pip"), "--disable-pip-version-check", "--isolated", "install"),
            *("--quiet", "--no-cache-dir", "--no-index", "--no-deps", "--no-compile"),
            *("--require-hashes", f"--find-links={wheels}", f"--requirement={wanted}"),
        )
        # Here, for the agent may not write there. Half of it all is never run: see IDLE. What else
        # does not compile never runs either, and pip would pass over it too.
        compile_dir(str(release / "lib"), quiet=2, rx=IDLE)
        # The capture runs without docstrings: it would compile these anew each time it starts.
        for package in release.glob("lib/python*/site-packages/*"):
            if package.name in {"vedette", "numpy"}:
                compile_dir(str(package), quiet=2, rx=IDLE, optimize=2)
        # Else systemd finds no programs here under SELinux: their labels follow from their path.
        if Path("/sys/fs/selinux/enforce").exists():
            run("restorecon", "-R", str(release))
    (release / "requirements.txt").write_text(text)


def unpack(bundle: Path, folder: Path) -> None:
    """Write the wheels of the tar into a folder, and nothing anywhere else."""
    with tarfile.open(bundle) as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is None or "/" in member.name:
                sys.exit(f"{bundle}: {member.name} is no wheel")
            (folder / member.name).write_bytes(content.read())


def installer(requirements: str, folder: Path) -> Path:
    """Return the wheel of pip, whose hash the first requirement says."""
    requirement, _, expected = requirements.partition("\n")[0].partition(" --hash=sha256:")
    (pip,) = folder.glob(f"{requirement.replace('==', '-')}-*.whl")
    digest = hashlib.sha256(pip.read_bytes()).hexdigest()
    if digest != expected:
        sys.exit(f"DO NOT MATCH THE HASHES: {pip.name} has {digest}, not {expected}")
    return pip


def run(*command: str) -> None:
    """Run a program; end with what it says where it fails."""
    done = subprocess.run(  # noqa: S603 - of the release
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", check=False,
    )  # fmt: skip
    if done.returncode != 0:
        sys.exit(done.stdout)


if __name__ == "__main__":
    main()
