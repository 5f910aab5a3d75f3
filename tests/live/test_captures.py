"""`vedette sniff --read` beside tshark, on captures of our own making: the counts are the same."""

import io
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.captures import make, spoken
from vedette.capture import makers, offline
from vedette.jobs import sniff
from vedette.thresholds import Thresholds

pytestmark = pytest.mark.live

# tshark's name -> ours, of those that have another there.
NAMES = {"ip": "ipv4-in-ip", "ipv6": "ipv6-in-ip"}
EXTENSIONS = {"ipv6.hopopts", "ipv6.fraghdr", "ipv6.routing", "ipv6.dstopts"}
COMPARED = frozenset({"tcp", "udp", "icmp", "icmpv6", "sctp", "gre", "arp", "ipv6-in-ip"})


def read(data: bytes) -> dict[str, Any]:
    """Return what the program tells of a capture, its settings being the defaults."""
    return offline.read(io.BytesIO(data), sniff.Options().peers, Thresholds(), makers.look_up)


def by_tshark(file: Path) -> dict[str, tuple[int, int]]:
    """Return {protocol: (packets, bytes)} by outer protocol, as tshark dissects each frame."""
    command = (
        *("tshark", "-n", "-r", str(file), "-T", "fields", "-e", "frame.protocols"),
        *("-e", "frame.len", "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE"),
    )
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout  # noqa: S603 - of our own making
    packets: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for line in out.splitlines():
        layers, length = line.split("\t")
        words = [word for word in layers.split(":") if word not in EXTENSIONS]
        # Of what is behind labels tshark 4.4 leaves the network protocol out.
        labelled = "mpls" if "mpls" in words else ""
        network = next((word for word in words if word in ("ip", "ipv6", "arp")), labelled)
        rest = words[words.index(network) + 1 :] if network in ("ip", "ipv6", "mpls") else []
        name = rest[0] if rest else network
        name = NAMES.get(name, name)
        packets[name] += 1
        size[name] += int(length)
    return {name: (packets[name], size[name]) for name in packets}


@pytest.mark.parametrize(
    "capture",
    [c for c in make.captures() if c.name != "numbers"],
    ids=lambda capture: capture.name,
)
def test_the_counts_are_those_of_tshark(capture: make.Capture, tmp_path: Path) -> None:
    """Packets and bytes of every protocol, to the last one."""
    file = tmp_path / f"{capture.name}.pcap"
    file.write_bytes(capture.data)

    ours = {n: (c["packets"], c["bytes"]) for n, c in read(capture.data)["protocols"].items()}
    theirs = by_tshark(file)

    assert {n: ours.get(n) for n in COMPARED} == {n: theirs.get(n) for n in COMPARED}
    assert sum(packets for packets, _ in theirs.values()) == sum(p for p, _ in ours.values())


def test_the_program_tells_of_a_file_and_of_standard_input_the_same(tmp_path: Path) -> None:
    """Which is what is compared above."""
    (capture,) = (c for c in make.captures() if c.name == "gzipped")
    file = tmp_path / "gzipped.pcap"
    file.write_bytes(capture.data)

    for name in (str(file), "-"):
        command = [sys.executable, "-m", "vedette", "sniff", "--read", name, "--format", "json"]
        done = subprocess.run(  # noqa: S603 - ourselves
            command, input=capture.data, capture_output=True, check=True, timeout=60
        )
        assert json.loads(done.stdout) == json.loads(json.dumps(read(capture.data)))


def test_the_flows_are_called_as_tshark_calls_them(tmp_path: Path) -> None:
    """One of each; a name of ours stands for each of its names. Unit tests hold ours to it."""
    file = tmp_path / "spoken.pcap"
    file.write_bytes(spoken.capture())
    command = ("tshark", "-n", "-r", str(file), "-T", "fields", "-e", "frame.protocols")

    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout  # noqa: S603 - of our own making

    layers = [set(line.split(":")) for line in out.splitlines()]
    assert len(layers) == len(spoken.SPOKEN)
    odd = [
        (flow.theirs, sorted(seen))
        for flow, seen in zip(spoken.SPOKEN, layers, strict=True)
        if flow.theirs and flow.theirs not in seen
    ]
    assert odd == []
