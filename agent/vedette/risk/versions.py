"""The order of versions: upstream's, dpkg's, rpm's, apk's.

Bounds in CVE records are upstream versions, bounds in a distribution's data are package versions:
the two are never compared with one another.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import zip_longest
from typing import Literal

Syntax = Literal["dpkg", "rpm", "apk"]

LONGEST = 64  # characters: what is longer is no version
_LONGEST_NUMBER = 9  # digits; dates have 8
_MOST_DIGITS = 1000  # compared, of the numbers of package versions, which dates and times may be
_USABLE = re.compile(r"\d[\w.+~-]*", re.ASCII)
_TOKEN = re.compile(r"\d+|[a-z]+")
_PORTABLE = re.compile(r"(?<=\d)p\d+$")
_FIRST = re.compile(r"\d+(?:\.\d+)*\.0|\d+")
_DAY = re.compile(r"\.v20\d{6}$")  # Jetty's 9.4.6.v20170531: there is one build of a version
_END_OF_VERSION = b"\x20"
_PREFIX = re.compile(r"^(?:release|version|v)[ ._-]?(?=\d)")  # RELEASE.2023-03-20T20-16-18Z, v1.2

# Before the release that they lead to, in this order; `m` is a milestone only before a number.
_PRE_RELEASES = (
    *(("dev",), ("snapshot",), ("alpha",), ("beta",), ("ea",)),
    *(("m", "milestone"), ("pre", "preview"), ("cr",), ("rc",)),
)
_RANK = {word: rank for rank, words in enumerate(_PRE_RELEASES) for word in words}


def usable(text: str) -> bool:
    """Whether this can be compared: hostile banners claim what they like."""
    return (
        len(text) <= LONGEST
        and _USABLE.fullmatch(text) is not None
        and any(digit in text for digit in "123456789")  # 0 is older than everything
        and all(len(number) <= _LONGEST_NUMBER for number in re.findall(r"\d+", text))
    )


def _tokens(version: str) -> list[str]:
    """Split into numbers and words, without the zeros that say nothing (1.0 is 1.0.0).

    Dropping these, instead of reading a missing part as 0, is what keeps the order transitive.
    """
    _, _, rest = version.rpartition(":") if version[:1].isdigit() else ("", "", version)
    rest = _DAY.sub("", _PREFIX.sub("", rest.lower()))
    parts = [part.lstrip("0") or "0" if part.isdigit() else part for part in _TOKEN.findall(rest)]
    kept: list[str] = []
    for part in [*parts, ""]:  # "": the end
        if not part.isdigit():
            while kept and kept[-1] == "0":
                kept.pop()
        kept.append(part)
    return kept[:-1]


def canonical(version: str) -> str:
    """Return the same text for versions that are equal: 1.0.2.m for 1.0.2m."""
    return ".".join(_tokens(version))


@lru_cache(maxsize=512)
def key(version: str) -> bytes:
    """Return bytes that sort as upstream versions do: pre-release < end < word < number.

    1.0.1f < 1.0.1g, 1.3.5rc4 < 1.3.5 < 1.3.5a, 9.3 < 9.3p1, 11.0.0-M1 < 11.0.0. Bytes, so that
    SQLite can compare as well. The order is total whatever the text.
    """
    tokens = _tokens(version)
    made = bytearray()
    for part, following in zip_longest(tokens, tokens[1:], fillvalue=""):
        if part.isdigit():
            made += b"\x40" + _number(part)
        elif part in _RANK and (part != "m" or following.isdigit()):
            made += b"\x10" + bytes([_RANK[part]])
        else:
            made += b"\x30" + part.encode() + b"\x00"
    return bytes(made + _END_OF_VERSION)


def first(version: str) -> bytes:
    """Return what sorts before all that a range from this version on has.

    One that begins with 9.0.0 has its milestones, which came before it: sources leave that out.
    What was in development before these may not have had it yet.
    """
    if not _FIRST.fullmatch(version):
        return key(version)
    return beginning(version) + b"\x10" + bytes([_RANK["alpha"]])


def beginning(version: str) -> bytes:
    """Return what the keys of all versions that begin like this one begin with."""
    return key(version)[: -len(_END_OF_VERSION)]


def without_portable(version: str) -> str:
    """Return 7.7 for OpenSSH's 7.7p1: a bound that names no portable release covers them all."""
    return _PORTABLE.sub("", version)


@lru_cache(maxsize=512)
def branch(version: str) -> tuple[str, ...]:
    """Return what a branch is named by: the first two numbers."""
    return tuple(_tokens(version)[:2])


_SYNTAX: dict[str, Syntax] = {
    **dict.fromkeys(("debian", "ubuntu"), "dpkg"),
    **dict.fromkeys(("rhel", "almalinux", "rocky", "centos", "fedora", "suse", "opensuse"), "rpm"),
    "alpine": "apk",
}


def syntax_of(release: str) -> Syntax:
    """Return the syntax of a release's package versions (debian:bookworm). Raises KeyError."""
    return _SYNTAX[release.partition(":")[0]]


@lru_cache(maxsize=512)
def package_key(version: str, syntax: Syntax) -> bytes:
    """Return bytes that sort as the package manager of this syntax orders package versions."""
    return _KEYS[syntax](version)


def _number(digits: str) -> bytes:
    significant = digits.lstrip("0")[:_MOST_DIGITS]
    return len(significant).to_bytes(2) + significant.encode()


def _split(version: str) -> tuple[str, str, str]:
    """Return (epoch, upstream version, revision) of a dpkg or rpm version."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, dash, revision = rest.rpartition("-")
    return (epoch, upstream, revision) if dash else (epoch, rest, "")


_END = b"\x02"  # after ~, before all else


def _dpkg(version: str) -> bytes:
    """deb-version(7): by turns what is no number, by weight, and what is one."""
    epoch, upstream, revision = _split(version)
    return _number(epoch) + _dpkg_part(upstream) + _dpkg_part(revision)


def _dpkg_part(text: str) -> bytes:
    made = bytearray()
    for words, digits in re.findall(r"([^0-9]*)([0-9]*)", text)[:-1] or [("", "")]:
        made += bytes(_weight(character) for character in words) + _END + _number(digits)
    return bytes(made) + _END


def _weight(character: str) -> int:
    """~ before the end, that before letters, these before all else."""
    if character == "~":
        return 1
    code = min(ord(character), 127)
    return code if character.isalpha() else code + 128


_RPM_PIECE = re.compile(r"~|\^|[0-9]+|[a-zA-Z]+")
_RPM_MARKS = {"~": b"\x01", "^": b"\x03"}


def _rpm(version: str) -> bytes:
    """rpmvercmp: ~ before the end, that before ^, that before letters, these before numbers."""
    epoch, upstream, revision = _split(version)
    return _number(epoch) + _rpm_part(upstream) + _rpm_part(revision)


def _rpm_part(text: str) -> bytes:
    made = bytearray()
    for piece in _RPM_PIECE.findall(text):
        if piece.isdigit():
            made += b"\x20" + _number(piece)
        else:
            made += _RPM_MARKS.get(piece) or b"\x10" + piece.encode() + b"\x00"
    return bytes(made) + _END


_APK = re.compile(r"(\d+(?:\.\d+)*)([a-z]?)((?:_[a-z]+\d*)*)(?:-r(\d+))?")
# The end has its place among the suffixes: those before it lead to a release, the others follow it.
_APK_SUFFIXES = ("alpha", "beta", "pre", "rc", "", "cvs", "svn", "git", "hg", "p")


def _apk(version: str) -> bytes:
    """https://wiki.alpinelinux.org/wiki/APKBUILD_Reference#pkgver: 1.2.3a_rc1-r4."""
    match = _APK.match(version)
    if match is None:
        return b""
    numbers, letter, suffixes, revision = match.groups()
    made = b"".join(b"\x20" + _number(number) for number in numbers.split("."))
    made += b"\x10" + letter.encode() + b"\x00"
    for word, digits in [*re.findall(r"_([a-z]+)(\d*)", suffixes), ("", "")]:
        rank = _APK_SUFFIXES.index(word) if word in _APK_SUFFIXES else len(_APK_SUFFIXES)
        made += bytes([rank]) + _number(digits)
    return made + _number(revision or "")


_KEYS: dict[Syntax, Callable[[str], bytes]] = {"dpkg": _dpkg, "rpm": _rpm, "apk": _apk}
