"""Which package a file belongs to, and of which source: the databases of dpkg, apk and rpm.

They are read as files, below any root: a container's needs none of its programs run. Only rpm's is
no file that could be read, and its own program is asked. Nothing but the standard library.
"""

import gzip
import io
import re
import subprocess
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vedette.edges.listening import read_within, within

_STATUS, _INFO = "/var/lib/dpkg/status", "/var/lib/dpkg/info"
_DIVERSIONS = "/var/lib/dpkg/diversions"
_APK = "/lib/apk/db/installed"
_RPM = ("/usr/lib/sysimage/rpm", "/var/lib/rpm")
_MOST = 64 << 20  # bytes
_CHANGELOG = 16 << 20  # bytes, unpacked; Debian cuts them at some years
_ENTRY = re.compile(r"^\S+ \(([^()\s]+)\) .*;")
_CVE = re.compile(r"CVE-\d{4}-\d{4,7}")
_LINE = 4096  # characters; a longer one comes in pieces
_PARAGRAPH = re.compile(r"(?:.+\n?)+")
_FIELD = re.compile(r"^(Package|Version|Status|Source|Architecture): (.*)$", re.MULTILINE)
_PARTS = {"alpine": 2, **dict.fromkeys(("rhel", "rocky", "almalinux", "centos", "ol"), 1)}
_RPM_SECONDS = 20
_RPM_FORMAT = r"%{NAME}\t%{SOURCERPM}\t%{EPOCH}\t%{VERSION}-%{RELEASE}\n"
_MERGED = re.compile(r"^/usr(?=/(?:bin|sbin|lib\w*)/)")
_SPLIT = re.compile(r"^(?=/(?:bin|sbin|lib\w*)/)")


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package. version: of its source, which is what fixes are known for."""

    name: str
    source: str
    version: str


def release(root: Path) -> tuple[str, str]:
    """Return a root's distribution and release ("debian", "bookworm"), "" for what is unknown."""
    for file in ("/etc/os-release", "/usr/lib/os-release"):
        with suppress(OSError):
            values = parse_os_release(read_within(root, file, 64 << 10).decode(errors="replace"))
            if name := values.get("ID"):
                version = values.get("VERSION_CODENAME") or values.get("VERSION_ID", "")
                # 3.20.3 is of 3.20, 9.4 of 9: packages are the branch's.
                return name, ".".join(version.split(".")[: _PARTS.get(name, 9)])
    return "", ""


def parse_os_release(text: str) -> dict[str, str]:
    """Return the variables of an os-release file: shell-like assignments, quotes removed."""
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {key: value.strip("\"'") for key, value in pairs}


def owners(root: Path, paths: Collection[str]) -> dict[str, Package]:
    """Return {path: its package}, for those that have one."""
    if not paths:
        return {}
    if (root / _INFO[1:]).is_dir():
        return _dpkg_owners(root, paths)
    with suppress(OSError):
        return _apk_owners(read_within(root, _APK, _MOST).decode(errors="replace"), paths)
    return _rpm_owners(root, paths)


def installed(root: Path) -> list[Package]:
    """Return all packages of a root."""
    with suppress(OSError):
        return list(parse_dpkg(read_within(root, _STATUS, _MOST).decode(errors="replace")).values())
    with suppress(OSError):
        return [
            one for one, _ in parse_apk(read_within(root, _APK, _MOST).decode(errors="replace"))
        ]
    return [one for one in map(parse_rpm, _rpm(root, "-a")) if one]


def changed(root: Path) -> tuple[int, ...]:
    """Return what changes whenever a package of a root is installed or removed."""
    found = []
    for database in (_STATUS, _APK, *_RPM):
        with suppress(OSError):
            found.append(within(root, database).stat().st_mtime_ns)
    return tuple(found)


def changelog(root: Path, source: str) -> list[tuple[str, frozenset[str]]]:
    """Return [(version, CVEs that its entry names)] of a source package, newest first.

    Empty where no changelog is installed (minimal images leave them out), or it is damaged.
    """
    binaries = [one.name for one in installed(root) if one.source == source]
    for name in dict.fromkeys(binaries):
        for file in ("changelog.Debian.gz", "changelog.gz"):
            try:
                packed = read_within(root, f"/usr/share/doc/{name}/{file}", _CHANGELOG)
                with gzip.open(io.BytesIO(packed), "rt", errors="replace") as text:
                    lines = iter(partial(text.readline, _LINE), "")
                    found = list(parse_changelog(_first(lines, _CHANGELOG)))
            except (OSError, EOFError, zlib.error):
                continue
            if found:
                return found
    return []


def _first(lines: Iterable[str], characters: int) -> Iterator[str]:
    """Yield lines until there were so many characters: what is packed may unfold without end."""
    for line in lines:
        characters -= len(line)
        if characters < 0:
            return
        yield line


def parse_changelog(lines: Iterable[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield (version, CVEs named) of each entry (deb-changelog(5))."""
    version, named = "", set[str]()
    for line in lines:
        if entry := _ENTRY.match(line):
            if version:
                yield version, frozenset(named)
            version, named = entry[1], set()
        else:
            named.update(_CVE.findall(line))
    if version:
        yield version, frozenset(named)


def spellings(path: str) -> list[str]:
    """Return a path as it may stand in a database: /usr/bin and /bin have become one."""
    if _MERGED.match(path):
        return [path, _MERGED.sub("", path)]
    return [path, _SPLIT.sub("/usr", path)] if _SPLIT.match(path) else [path]


# ---- dpkg ----


def parse_dpkg(text: str) -> dict[str, Package]:
    """Return {name and name:architecture: package} of what is installed (deb-control(5))."""
    found = {}
    for paragraph in _PARAGRAPH.finditer(text):  # not all at once: the agent's memory is counted
        fields = dict(_FIELD.findall(paragraph[0]))
        name, version = fields.get("Package"), fields.get("Version")
        if not name or not version or not fields.get("Status", "").endswith(" installed"):
            continue
        # Source: glibc, or with a version where it differs: bash (5.2.15-2)
        source, _, of_source = str(fields.get("Source", name)).partition(" ")
        package = Package(name, source, of_source.strip("() ") or version)
        found[name] = found[f"{name}:{fields.get('Architecture', '')}"] = package
    return found


def _dpkg_owners(root: Path, paths: Collection[str]) -> dict[str, Package]:
    diverted = _diversions(root)
    # A file that was moved away stands in its package's list under its old name.
    asked = {path: [diverted.get(one, (one, "")) for one in spellings(path)] for path in paths}
    wanted = {one.encode() for names in asked.values() for one, _ in names}
    listed: dict[str, list[str]] = {}
    for file in sorted(within(root, _INFO).iterdir()):
        if file.name.endswith(".list"):
            with suppress(OSError):  # removed meanwhile
                lines = read_within(root, f"{_INFO}/{file.name}", _MOST).split(b"\n")
                for line in wanted.intersection(lines):
                    listed.setdefault(line.decode(), []).append(file.name[:-5])
    packages = parse_dpkg(read_within(root, _STATUS, _MOST).decode(errors="replace"))
    movers = dict(diverted.values())
    found: dict[str, Package] = {}
    for path, names in asked.items():
        for one, mover in names:
            who = [name for name in listed.get(one, ()) if name.partition(":")[0] != mover]
            if not mover and one in movers:  # what is there now is the mover's
                who = [name for name in who if name.partition(":")[0] == movers[one]] or who
            if known := [packages[name] for name in who if name in packages]:
                found.setdefault(path, known[0])
    return found


def _diversions(root: Path) -> Mapping[str, tuple[str, str]]:
    """Return {where a file was moved to: (where from, for which package)} (dpkg-divert(1))."""
    try:
        text = read_within(root, _DIVERSIONS, _MOST).decode(errors="replace")
    except OSError:
        return {}
    lines = text.splitlines()
    moved = zip(lines[::3], lines[1::3], lines[2::3], strict=False)
    return {to: (original, mover) for original, to, mover in moved}


# ---- apk ----


def parse_apk(text: str) -> Iterator[tuple[Package, list[str]]]:
    """Yield each package and its files (P name, V version, o origin, F and R its files)."""
    for paragraph in text.split("\n\n"):
        fields: dict[str, str] = {}
        files, directory = [], ""
        for line in paragraph.splitlines():
            key, _, value = line.partition(":")
            if key == "F":
                directory = value
            elif key == "R":
                files.append(f"/{directory}/{value}" if directory else f"/{value}")
            else:
                fields.setdefault(key, value)
        if fields.get("P") and fields.get("V"):
            yield Package(fields["P"], fields.get("o") or fields["P"], fields["V"]), files


def _apk_owners(text: str, paths: Collection[str]) -> dict[str, Package]:
    wanted = {one: path for path in paths for one in spellings(path)}
    return {
        wanted[file]: package
        for package, files in parse_apk(text)
        for file in files
        if file in wanted
    }


# ---- rpm ----


def parse_rpm(line: str) -> Package | None:
    """Return the package in a line of _RPM_FORMAT, None if it is none."""
    fields = line.split("\t")
    if len(fields) != 4:  # noqa: PLR2004 - those of the format
        return None
    name, source, epoch, version = fields
    # nginx-1.20.1-14.el9.src.rpm
    stem = source.removesuffix(".rpm").rpartition(".")[0].rsplit("-", 2)[0]
    return Package(name, stem or name, version if epoch == "(none)" else f"{epoch}:{version}")


def _rpm_owners(root: Path, paths: Collection[str]) -> dict[str, Package]:
    found: dict[str, Package] = {}
    for path in paths:
        for line in _rpm(root, "-f", path):
            if package := parse_rpm(line):
                found.setdefault(path, package)
    return found


def _rpm(root: Path, *question: str) -> list[str]:
    """Ask rpm's database below a root; nothing where there is none, or no rpm to ask."""
    where = next((d for d in _RPM if within(root, d).is_dir()), None)
    if where is None:
        return []
    command = ["rpm", "--dbpath", str(within(root, where)), "-q", f"--qf={_RPM_FORMAT}", *question]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program, no shell
            command, capture_output=True, text=True, check=False, timeout=_RPM_SECONDS,
            errors="replace", env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        )  # fmt: skip
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines()
