"""Read what scripts printed into nmap's XML report (https://nmap.org/book/nmap-dtd.html).

Most of it is in the words of strangers, so all of it is cleaned and bounded here.
"""

from collections.abc import Iterator
from xml.etree import ElementTree  # noqa: ICN001 - two letters say less than its name

from vedette.evidence import Script
from vedette.job import clean

Scripts = dict[tuple[str, int], tuple[Script, ...]]  # by transport and port; ("", 0): the host's

_SCRIPTS_KEPT = 64  # of one port
_VALUES_KEPT = 2000  # of one script: ssl-enum-ciphers prints hundreds
_LINES_KEPT = 40
_TEXT_LIMIT = 200
_DEPTH = 6


def of_host(host: ElementTree.Element) -> Scripts:
    """Return the scripts below a <host>, of its ports and of itself."""
    found: Scripts = {}
    for port in host.iterfind("ports/port"):
        if scripts := _of(port):
            found[port.get("protocol", ""), int(port.get("portid", ""))] = scripts
    for part in host.iterfind("hostscript"):
        if scripts := _of(part):
            found["", 0] = (*found.get(("", 0), ()), *scripts)[:_SCRIPTS_KEPT]
    return found


def _of(parent: ElementTree.Element) -> tuple[Script, ...]:
    return tuple(_script(one) for one in parent.findall("script")[:_SCRIPTS_KEPT])


def _script(one: ElementTree.Element) -> Script:
    values = []
    for number, value in enumerate(_values(one, "", 0)):
        if number == _VALUES_KEPT:
            break
        values.append(value)
    lines = one.get("output", "")[: _LINES_KEPT * _TEXT_LIMIT].splitlines()[:_LINES_KEPT]
    output = "\n".join(line for text in lines if (line := clean(text, _TEXT_LIMIT)))
    return Script(clean(one.get("id", "")), output, tuple(values))


def _values(part: ElementTree.Element, path: str, depth: int) -> Iterator[tuple[str, str]]:
    for child in part:
        key = clean(child.get("key", ""))
        here = f"{path}/{key}" if depth else key
        if child.tag == "elem":
            yield here, clean(child.text or "", _TEXT_LIMIT)
        elif child.tag == "table" and depth < _DEPTH:
            yield from _values(child, here, depth + 1)
