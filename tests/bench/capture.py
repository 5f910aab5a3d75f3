"""What capturing costs, side by side with tcpdump and scapy: loss, processor time, memory.

`./dev bench capture`, as root: a veth pair in a namespace of its own, fed by tcpreplay (Debian's
package) at top speed with generated traffic. Processor time is the whole machine's, the kernel's
share included, less what sending alone takes; so nothing else should be running.
"""

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

from tests.bench import _agent, _lab

_SENDS, _HEARS = "bench0", "bench1"
_OWN = bytes([10, 77, 0, 2])
_PACKETS = 100_000  # of mixed traffic
_FORGED = 1_000_000  # SYNs, each of a source of its own
_FLOOD_SECONDS = 60.0
_sender = 0  # a process in the sender's namespace
_SNIFF = """
import sys, time
from scapy.config import conf
conf.sniff_promisc = False
conf.bufsize = 8 << 20
from scapy.all import sniff
seen = [0]
def count(packet):
    seen[0] += 1
    packet.haslayer("IP")
print("ready", flush=True)
sniff(iface=sys.argv[1], prn=count, store=False, timeout=float(sys.argv[2]))
print(seen[0], flush=True)
"""

# Flows that come out are thrown away; the report of every second is the count.
_STREAM = """
import sys
from nfstream import NFStreamer
for flow in NFStreamer(source=sys.argv[1], promiscuous_mode=False, idle_timeout=1, n_meters=1,
                       performance_report=1):
    pass
"""
_STREAM_NEEDS = Path(__file__).with_name("requirements-nfstream.txt")


@dataclass(slots=True)
class Cost:
    """Of one program: packets, seconds of the machine with sending, its own of them, MiB."""

    sent: int
    accounted: int
    dropped: int | None
    seconds: float
    memory: float
    rate: float
    own: float | None = None


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="./dev bench capture", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--loops", type=int, default=10, help="of 100,000 packets (10)")
    parser.add_argument("--runs", type=int, default=12, help="of both, in turns (12)")
    parser.add_argument("--ring-bytes", type=int, default=4 << 20)
    parser.add_argument(
        "--nfstream", action="store_true",
        help="measure nfstream as well; its 200 MB are installed in build/nfstream",
    )  # fmt: skip
    given = parser.parse_args()
    nfstream = _install_nfstream() if given.nfstream else None
    if shutil.which("tcpreplay") is None:
        sys.exit("tcpreplay is not here: apt-get install tcpreplay")
    _lab.enter("tests.bench.capture")
    _lab.run(["ip", "link", "add", _SENDS, "type", "veth", "peer", "name", _HEARS])
    _lab.run(["ip", "link", "set", _HEARS, "up"])
    _move_the_sender()
    mixed, flood = (_lab.DIRECTORY / name for name in ("mixed.pcap", "flood.pcap"))
    _write(mixed, _mixed, _PACKETS)
    _write(flood, _flood, _FORGED)

    # What a run takes differs by half from one moment to the next: in turns, many times.
    ours, theirs, alones = [], [], []
    for _ in range(given.runs):
        alones.append(_replay(mixed, given.loops)[1])
        ours.append(_vedette(mixed, given.loops, given.ring_bytes))
        theirs.append(_tcpdump(mixed, given.loops))
    costs = {
        "vedette": _together(ours),
        "tcpdump": _together(theirs),
        "V3, struct": _blocks(mixed, given.loops, 2 * given.ring_bytes),
        "scapy": _scapy(mixed, given.loops),
    }
    if nfstream is not None:
        costs["nfstream"] = _nfstream(nfstream, mixed, given.loops)
    _show(costs, _quick(alones), given.loops)
    _show_bounds(flood, given.ring_bytes)
    _show_scrapes(mixed)
    _show_flooded(mixed, flood)


def _quick(seconds: Iterable[float]) -> float:
    """Return what a quarter of the runs did not need: what disturbs them can only add."""
    return statistics.quantiles(seconds, n=4, method="inclusive")[0]


def _together(costs: list[Cost]) -> Cost:
    """Return several runs as one, their seconds those of a quick one."""
    runs = len(costs)
    return Cost(
        sent=sum(one.sent for one in costs),
        accounted=sum(one.accounted for one in costs),
        dropped=sum(one.dropped or 0 for one in costs),
        seconds=runs * _quick(one.seconds for one in costs),
        memory=max(one.memory for one in costs),
        rate=statistics.median(one.rate for one in costs),
        own=runs * _quick(one.own or 0 for one in costs),
    )


def _move_the_sender() -> None:
    """Give the sending end to another host: who captures on all interfaces sees a packet once."""
    global _sender  # noqa: PLW0603 - there is one
    child = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])  # noqa: S607 - on PATH; ends with this namespace
    own = Path("/proc/self/ns/net").readlink()
    _lab.wait_for(lambda: Path(f"/proc/{child.pid}/ns/net").readlink() != own, "no namespace")
    _sender = child.pid
    _lab.run(["ip", "link", "set", _SENDS, "netns", str(_sender)])
    _lab.run(_on_the_sender("ip", "link", "set", _SENDS, "up"))


def _on_the_sender(*command: str) -> list[str]:
    return ["nsenter", "--target", str(_sender), "--net", *command]


def _vedette(file: Path, loops: int, ring_bytes: int) -> Cost:
    with _capture(ring_bytes) as (child, summaries):
        _replay(file, 1)  # looks up who made the neighbour's card, which is no part of a packet
        time.sleep(3)
        before, own = _counted(summaries), _lab.cpu_seconds(child.pid)
        sent, busy, rate = _replay(file, loops)
        time.sleep(2.5)
        after, own = _counted(summaries), _lab.cpu_seconds(child.pid) - own
        accounted, dropped = after[0] - before[0], after[1] - before[1]
        memory = _lab.memory_mib(child.pid)
    return Cost(sent, accounted, dropped, busy, memory, rate, own)


def _tcpdump(file: Path, loops: int) -> Cost:
    child = subprocess.Popen(  # noqa: S603 - fixed arguments
        ["tcpdump", "-p", "-n", "-Q", "in", "-i", _HEARS, "-w", os.devnull],  # noqa: S607 - on PATH
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(1.5)
    own = _lab.cpu_seconds(child.pid)
    sent, busy, rate = _replay(file, loops)
    time.sleep(1)
    own = _lab.cpu_seconds(child.pid) - own
    memory = _lab.memory_mib(child.pid)
    child.terminate()
    _, said = child.communicate()
    captured = int(said.split(" packets captured")[0].split()[-1])
    lost = int(said.split(" packets dropped by kernel")[0].split()[-1])
    return Cost(sent, captured, lost, busy, memory, rate, own)


def _blocks(file: Path, loops: int, ring_bytes: int) -> Cost:
    seconds = 3 * loops * _PACKETS / 250_000
    child = subprocess.Popen(  # noqa: S603 - ours
        [sys.executable, "-m", "tests.bench._tpacket3", _HEARS, str(seconds), str(ring_bytes)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    child.stdout.readline()
    start = _busy_seconds()
    sent, _, rate = _replay(file, loops)
    memory = _lab.memory_mib(child.pid)
    accounted, lost = map(int, child.stdout.readline().split())
    busy = _busy_seconds() - start
    child.wait()
    return Cost(sent, accounted, lost, busy, memory, rate)


def _scapy(file: Path, loops: int) -> Cost:
    child = subprocess.Popen(  # noqa: S603 - the text above
        [sys.executable, "-c", _SNIFF, _HEARS, "8"], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(0.5)
    start = _busy_seconds()
    sent, _, rate = _replay(file, loops)
    memory = _lab.memory_mib(child.pid)
    accounted = int(child.stdout.readline())
    busy = _busy_seconds() - start
    child.wait()
    return Cost(sent, accounted, None, busy, memory, rate)


def _install_nfstream() -> Path:
    """Return a Python that has nfstream; ends the benchmark where no wheel of it installs."""
    place = Path("build/nfstream")
    python = place.resolve() / "bin/python"
    if not python.exists() or subprocess.call([python, "-c", "import nfstream"]) != 0:  # noqa: S603 - ours
        _lab.run([sys.executable, "-m", "venv", str(place)])
        _lab.run([str(python), "-m", "pip", "install", "-q", "--only-binary", ":all:",
                  "--require-hashes", "-r", str(_STREAM_NEEDS)])  # fmt: skip
    return python


def _nfstream(python: Path, file: Path, loops: int) -> Cost:
    """Two processes: one meters, the other hands flows over."""
    child = subprocess.Popen(  # noqa: S603 - the text above
        [python, "-u", "-c", _STREAM, _HEARS], stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert child.stdout is not None
    json.loads(child.stdout.readline())
    sent, busy, rate = _replay(file, loops)
    memory = sum(map(_lab.memory_mib, [child.pid, *_lab.children(child.pid)]))
    before = _busy_seconds()
    for _ in range(10):  # reports: it may still be at work on what it has queued
        told = json.loads(child.stdout.readline())
        if told["packets_processed"] + told["packets_dropped_filtered_by_kernel"] >= sent:
            break
    busy += _busy_seconds() - before
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    lost = told["packets_dropped_filtered_by_kernel"]
    return Cost(sent, told["packets_processed"], lost, busy, memory, rate)


@contextmanager
def _capture(ring_bytes: int) -> Iterator[tuple["subprocess.Popen[str]", list[dict[str, Any]]]]:
    """The capture process as the agent starts it, and the summaries that it prints."""
    child = subprocess.Popen(  # noqa: S603 - ours
        [
            *(sys.executable, "-P", "-OO", "-m", "vedette.capture", "--window-seconds", "1"),
            *("--peers", "20", "--ring-bytes", str(ring_bytes)),
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    told = {
        "interfaces": [_HEARS], "own": ["10.77.0.2"], "macs": [],
        "ports": {"tcp": [22, 80, 443, 8080], "udp": [53]},
    }  # fmt: skip
    child.stdin.write(json.dumps(told) + "\n")
    child.stdin.flush()
    summaries: list[dict[str, Any]] = []
    lines = child.stdout

    def read() -> None:
        summaries.extend(map(json.loads, lines))

    Thread(target=read, daemon=True).start()
    _lab.wait_for(lambda: bool(summaries), "no summary of the capture process")
    try:
        yield child, summaries
    finally:
        child.stdin.close()
        child.wait()


def _counted(summaries: list[dict[str, Any]]) -> tuple[int, int]:
    """Return the packets seen and dropped so far."""
    told = list(summaries)
    seen = sum(row[2] for one in told for row in one["protocols"])
    return seen, sum(lost for one in told for lost in one["dropped"].values())


def _replay(file: Path, loops: int) -> tuple[int, float, float]:
    """Send; return the packets, the machine's busy seconds meanwhile, and packets a second."""
    start, busy = time.monotonic(), _busy_seconds()
    _lab.run(
        _on_the_sender("tcpreplay", "-q", "-K", "-t", "-i", _SENDS, "--loop", str(loops), str(file))
    )
    took = time.monotonic() - start
    time.sleep(0.2)  # what is still in the rings
    return loops * _PACKETS, _busy_seconds() - busy, loops * _PACKETS / took


def _busy_seconds() -> float:
    """Return the seconds that all processors were not idle, since boot (proc(5), /proc/stat)."""
    first = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    ticks = [int(field) for field in first]
    return (sum(ticks[:8]) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def _show(costs: dict[str, Cost], alone: float, loops: int) -> None:
    tcpdump = costs["tcpdump"]

    def per_million(seconds: float, cost: Cost) -> float:
        return seconds / max(1, cost.accounted) * 1e6

    def beyond_sending(cost: Cost) -> float:
        runs = cost.sent / (loops * _PACKETS)
        return per_million(cost.seconds - runs * alone, cost)

    def row(text: str, form: str, of: Callable[[Cost], float | None]) -> tuple[str, ...]:
        values = [of(cost) for cost in costs.values()]
        return (text, *("" if value is None else format(value, form) for value in values))

    def neither(cost: Cost) -> float | None:
        return None if cost.dropped is None else cost.sent - cost.accounted - cost.dropped

    def own(cost: Cost) -> float | None:
        return None if cost.own is None else per_million(cost.own, cost)

    rows = [
        row("packets sent", ",", lambda c: c.sent),
        row("packets a second", ",.0f", lambda c: c.rate),
        row("accounted for", ",", lambda c: c.accounted),
        row("dropped by the kernel", ",", lambda c: c.dropped),
        row("neither", ",", neither),
        row("CPU seconds per million, machine-wide", ".2f", beyond_sending),
        row("  to tcpdump's", ".2f", lambda c: beyond_sending(c) / beyond_sending(tcpdump)),
        row("  of the program itself", ".2f", own),
        row("resident memory, MiB", ".1f", lambda c: c.memory),
    ]
    _lab.print_table(
        f"{loops * _PACKETS:,} packets at top speed; sending alone takes {alone:.2f} s"
        f" ({_lab.load()})",
        ("", *costs),
        rows,
    )


def _show_bounds(flood: Path, ring_bytes: int) -> None:
    """Idle, and under a flood of forged sources."""
    with _capture(ring_bytes) as (child, summaries):
        time.sleep(1)
        start = _lab.cpu_seconds(child.pid)
        time.sleep(10)
        idle = (_lab.cpu_seconds(child.pid) - start) / 10
        before = _lab.memory_mib(child.pid)
        _replay(flood, 1)  # warm: its arrays have their size
        warm = _lab.memory_mib(child.pid)
        _replay(flood, 5)
        time.sleep(1.5)
        after = _lab.memory_mib(child.pid)
        widest = max(len(one["peers"]) for one in summaries)
    rows = [
        ("idle CPU, % of a core", f"{idle * 100:.2f}"),
        ("resident memory idle, MiB", f"{before:.1f}"),
        (f"  in a flood of {_FORGED:,} forged sources", f"{warm:.1f}"),
        ("  after 5,000,000 more packets of it", f"{after:.1f}"),
        ("peers told, at most", str(widest)),
    ]
    _lab.print_table("The capture process alone", ("", "vedette"), rows)


@contextmanager
def _watched_agent() -> Iterator[_agent.Agent]:
    """The agent, which only captures, on the same interface."""
    with _agent.Agent(
        ("--sniff.include-virtual", "true", "--scan.enabled", "false",
         "--fingerprint.enabled", "false")
    ) as agent:  # fmt: skip
        _lab.wait_for(agent.answers, "the agent does not answer")
        time.sleep(5)
        yield agent


@contextmanager
def _sending(file: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A sender at top speed, until it is no longer wanted."""
    sender = subprocess.Popen(  # noqa: S603 - fixed arguments
        _on_the_sender("tcpreplay", "-q", "-K", "-t", "-i", _SENDS, "--loop", "200", str(file)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield sender
    finally:
        sender.terminate()
        sender.wait()


def _show_scrapes(file: Path) -> None:
    """How fast the agent answers while its capture runs at full rate."""
    taken: list[float] = []
    with _watched_agent(), _sending(file) as sender:
        while sender.poll() is None and len(taken) < 400:
            taken.append(_lab.fetch(_agent.PORT, compressed=True)[1] * 1e3)
            time.sleep(0.02)
    rows = [
        ("scrapes", str(len(taken))),
        ("p50, ms", f"{statistics.median(taken):.2f}"),
        ("p99, ms", f"{_p99(taken):.2f}"),
    ]
    _lab.print_table("Scrapes while capture runs at full rate", ("", "vedette"), rows)


def _show_flooded(file: Path, flood: Path) -> None:
    """What a flood of forged sources leaves behind in the agent."""
    with _watched_agent() as agent:
        (child,) = (
            pid for pid, line in _lab.children(agent.child.pid).items() if ".capture" in line
        )

        def sizes() -> tuple[float, ...]:
            body, seconds = _lab.fetch(_agent.PORT)
            taken.append(seconds * 1e3)
            series = sum(not line.startswith(b"#") for line in body.splitlines())
            return series, len(body), *map(_lab.memory_mib, (agent.child.pid, child))

        taken: list[float] = []
        _replay(file, 2)  # what ordinary traffic has of series and memory is no part of it
        time.sleep(25)
        before, most = sizes(), sizes()
        end = time.monotonic() + _FLOOD_SECONDS
        with _sending(flood) as sender:
            while time.monotonic() < end and sender.poll() is None:
                time.sleep(0.2)
                most = tuple(map(max, most, sizes()))
        time.sleep(25)
        after = sizes()
    rows = [
        (name, *(format(one, form) for one in values))
        for name, form, *values in zip(
            ("series", "/metrics, bytes", "agent, MiB", "capture, MiB"),
            (",.0f", ",.0f", ".1f", ".1f"), before, most, after, strict=True,
        )
    ]  # fmt: skip
    _lab.print_table(
        f"{_FLOOD_SECONDS:.0f} s of {_FORGED:,} forged sources; scrapes' p99 {_p99(taken):.1f} ms",
        ("", "before", "at most", "after"),
        rows,
    )


def _p99(taken: list[float]) -> float:
    return statistics.quantiles(taken, n=100, method="inclusive")[98]


def _write(path: Path, frame_of: Any, packets: int) -> None:
    """Write a file of packets (pcap, little endian, Ethernet)."""
    chance = random.Random(7)  # noqa: S311 - the same traffic each time
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1))
        for number in range(packets):
            frame = frame_of(chance, number).ljust(60, b"\0")
            file.write(
                struct.pack("<IIII", number // 1000, number % 1000, *[len(frame)] * 2) + frame
            )


_MACS = bytes.fromhex("020000000002020000000001")


def _mixed(chance: random.Random, _: int) -> bytes:
    """TCP, UDP, ICMP, IPv6 and a little ARP; some 390 bytes on average."""
    which, body = chance.random(), bytes(chance.choice([0, 0, 64, 400, 1200]))
    near = chance.random() < 0.3
    source = bytes([10, 77, 0, 1]) if near else bytes([198, 51, *chance.randbytes(2)])
    ports = chance.randrange(1024, 65_535), chance.choice([22, 53, 80, 443, 8080])
    if which < 0.6:
        return _ipv4(6, source, struct.pack("!HHIIBBHI", *ports, 1, 1, 0x50, 0x10, 100, 0) + body)
    if which < 0.85:
        return _ipv4(17, source, struct.pack("!HHHH", *ports, 8 + len(body), 0) + body)
    if which < 0.95:
        header = struct.pack("!IHBB", 0x6000_0000, 20 + len(body), 6, 64) + bytes(31) + b"\2"
        tcp = struct.pack("!HHIIBBHI", *ports, 1, 1, 0x50, 0x10, 100, 0)
        return _MACS + b"\x86\xdd" + header + tcp + body
    if which < 0.995:
        return _ipv4(1, source, b"\x08\0" + bytes(62))
    arp = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, _MACS[6:], source, bytes(6), _OWN)
    return _MACS + b"\x08\x06" + arp


def _flood(chance: random.Random, number: int) -> bytes:
    """A SYN of a forged source, each time another one."""
    tcp = struct.pack("!HHIIBBHI", chance.randrange(1024, 65_535), 443, 1, 0, 0x50, 2, 100, 0)
    return _ipv4(6, bytes([11, *number.to_bytes(3)]), tcp)


def _ipv4(protocol: int, source: bytes, body: bytes) -> bytes:
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 1, 0, 64, protocol, 0, source, _OWN
    )
    return _MACS + b"\x08\0" + header + body


if __name__ == "__main__":
    main()
