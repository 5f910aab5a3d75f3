"""Everything that is known of this host, as one plain JSON value; the page is made of it."""

from collections.abc import Iterable, Mapping
from typing import Any

from vedette import __version__
from vedette.edges import host
from vedette.evidence import Certificate
from vedette.history import Change
from vedette.jobs.fingerprint import Fingerprint
from vedette.jobs.stats import Stats
from vedette.risk.score import host_score, level_of
from vedette.scanned import Port, Scan
from vedette.sniffed import Sniff
from vedette.store import Record

# What is missing, what that costs, and how to get it.
ADVICE = {
    "nmap": "nmap is not installed: no ports are scanned. Install it (Debian: apt-get install"
    " nmap).",
    "raw_sockets": "Raw sockets are not permitted: ports are scanned by connecting, other hosts'"
    " operating systems stay unknown, nothing is captured. Grant CAP_NET_RAW: run as root, or by"
    " the unit in systemd/.",
    "capture": "Traffic is not captured: the job sniff is switched off, or fails (see Jobs).",
    "history": "The history is kept in memory only, because the state directory cannot be written:"
    " what was first seen when is lost as the agent ends. vedette selfcheck says why; then restart"
    " the agent.",
    "packages": "No fresh list of the packages behind the open ports: versions are told by"
    " banners, or by what is installed. Enable vedette-inventory.timer, or run vedette inventory"
    " as root.",
}


def inventory(
    records: Mapping[str, Record],
    capabilities: Mapping[str, bool],
    changes: Iterable[Change],
    now: float,
    monotonic: float,
) -> dict[str, Any]:
    """Return the inventory. Times are Unix seconds, sizes bytes, ratios 0 to 1.

    monotonic: now, by the clock that nobody sets. What no job has seen yet is missing or empty,
    never made up.
    """
    snapshots = {type(record.snapshot): record.snapshot for record in records.values()}
    return {
        "generated": now,
        "agent": {
            "version": __version__,
            "hostname": host.hostname(),
            "capabilities": dict(sorted(capabilities.items())),
            "advice": [ADVICE[name] for name in _lacking(capabilities)],
        },
        "jobs": [_job(record, monotonic) for record in records.values()],
        **_stats(snapshots.get(Stats)),
        **scan_as_json(snapshots.get(Scan)),
        "operating_systems": _operating_systems(snapshots.get(Fingerprint)),
        "traffic": traffic(snapshots.get(Sniff)),
        "changes": [
            {
                "at": c.at, "kind": c.kind, "key": c.key, "what": c.what,
                "before": c.before, "after": c.after,
            }
            for c in changes
        ],
    }  # fmt: skip


def _lacking(capabilities: Mapping[str, bool]) -> list[str]:
    lacking = sorted(name for name, can in capabilities.items() if not can)
    if "raw_sockets" in lacking:  # of which that of the capture is a part
        return [name for name in lacking if name != "capture"]
    return lacking


def _job(record: Record, monotonic: float) -> dict[str, Any]:
    state = "ok"
    if record.failure is not None:
        state = "failing"
    elif record.running_since is not None and record.last_success is None:
        state = "first run"
    elif record.last_success is None:
        state = "waiting"
    elif record.stale(monotonic):
        state = "stale"
    return {
        "job_name": record.name,
        "state": state,
        "interval_seconds": record.interval_seconds,
        "runs": record.runs,
        "skipped": record.skipped,
        "failures": {reason: n for reason, n in record.failures.items() if n},
        "last_failure": None
        if record.failure is None
        else {
            "at": record.failure.at,
            "reason": record.failure.reason,
            "message": record.failure.message,
        },
        "last_success": record.last_success,
        "last_duration_seconds": record.last_duration,
        "running_since": record.running_since,
        "progress": {"ratio": record.progress[0], "text": record.progress[1]}
        if record.running_since is not None
        else None,
    }


def _stats(stats: Stats | None) -> dict[str, Any]:
    if stats is None:
        return {"addresses": [], "machine": None}
    now = stats.counters
    return {
        "addresses": [
            {
                "interface": a.interface,
                "address": str(a.address),
                "family": f"ipv{a.address.version}",
                "mac": a.mac,
            }
            for a in stats.addresses
        ],
        "machine": {
            "cpu_usage_ratio": stats.cpu_usage,
            "load": list(now.load),
            "memory_size": now.memory_size,
            "memory_available": now.memory_available,
            "swap_used": now.swap_used,
            "filesystems": [
                {
                    "mountpoint": f.mountpoint,
                    "device": f.device,
                    "size": f.size,
                    "available": f.available,
                }
                for f in now.filesystems
            ],
            "interfaces": [
                {
                    "interface": name,
                    "receive_bytes": counter.receive_bytes,
                    "transmit_bytes": counter.transmit_bytes,
                    "receive_bytes_per_second": stats.speeds.get(name, (None, None))[0],
                    "transmit_bytes_per_second": stats.speeds.get(name, (None, None))[1],
                    "errors": counter.receive_errors + counter.transmit_errors,
                    "dropped": counter.receive_dropped + counter.transmit_dropped,
                }
                for name, counter in now.interfaces.items()
            ],
        },
    }


def scan_as_json(scan: Scan | None) -> dict[str, Any]:
    """Return the hosts and their open ports, the riskiest first."""
    if scan is None:
        return {"hosts": [], "ports": []}
    hosts = []
    for address, here in scan.by_address().items():
        risk = host_score([port.risk["score"] for port in here])
        hosts.append(
            {
                "address": str(address),
                "open_ports": len(here),
                "risk_score": risk,
                "level": level_of(risk),
                "missing_expected_ports": list(scan.missing.get(address, ())),
            }
        )
    worst_first = sorted(scan.ports, key=lambda port: -port.risk["score"])
    return {"hosts": hosts, "ports": [_port(port) for port in worst_first]}


def _port(port: Port) -> dict[str, Any]:
    s = port.service
    return {
        "address": str(port.address),
        "transport": port.transport,
        "port": port.number,
        "service_name": s.name,
        "product": s.product,
        "version": s.version,
        "extra_info": s.extra_info,
        "tunnel": s.tunnel,
        "probed": s.probed,
        "cpes": list(s.cpes),
        "process": port.process,
        "expected": port.expected,
        "first_seen": port.first_seen,
        "certificate": _certificate(port.certificate),
        "risk": port.risk,
    }


def _certificate(shown: Certificate | None) -> dict[str, Any] | None:
    if shown is None:
        return None
    return {
        "subject": shown.subject,
        "issuer": shown.issuer,
        "not_before": shown.not_before,
        "not_after": shown.not_after,
        "key": f"{shown.key} {shown.bits}" if shown.bits else shown.key,
        "signature": shown.signature,
        "self_signed": shown.self_signed,
    }


def _operating_systems(fingerprint: Fingerprint | None) -> list[dict[str, Any]]:
    return [
        {
            "address": str(g.address),
            "family": g.family,
            "os_name": g.name,
            "source": g.source,
            "accuracy_ratio": g.accuracy,
        }
        for g in (fingerprint.guesses if fingerprint else ())
    ]


def traffic(sniff: Sniff | None) -> dict[str, Any] | None:
    """Return what the network carries, None if nothing was captured."""
    if sniff is None:
        return None
    return {
        "window_seconds": sniff.seconds,
        "protocols": [
            {"interface": interface, "protocol": protocol, "packets": packets, "bytes": size}
            for (interface, protocol), (packets, size) in sorted(
                sniff.protocols.items(), key=lambda item: (-item[1][1], item[0])
            )
        ],
        "services": [
            {
                "transport": transport,
                "port": port,
                "direction": direction,
                "app_protocol": name,
                "packets": packets,
                "bytes": size,
            }
            for (transport, port, direction, name), (packets, size) in sorted(
                sniff.services.items()
            )
        ],
        "peers": [{"peer": peer, "bytes": size} for peer, size in sniff.peers.items()],
        "neighbours": [
            {"address": address, "mac": mac, "vendor": vendor}
            for address, (mac, vendor) in sorted(sniff.neighbours.items())
        ],
        "dropped_packets": dict(sniff.dropped),
        "shed_frames": sniff.shed,
        "names_asked_for": sniff.names,
        "asked_for": [
            {"app_protocol": name, "what": what, "which": which, "times": times}
            for name, what, which, times in sniff.asked
        ],
        "applications": [
            {"app_protocol": name, "bytes": size}
            for name, size in sorted(sniff.applications.items(), key=lambda item: -item[1])
        ],
        "spoken": [
            {
                "transport": transport,
                "port": port,
                "app_protocol": sniff.spoken.get((transport, port), ("unknown", "port"))[0],
                "known_by": sniff.spoken.get((transport, port), ("unknown", "port"))[1],
                # Nothing, if only this agent has asked there.
                "last_traffic": sniff.used.get((transport, port)),
            }
            for transport, port in sorted({*sniff.spoken, *sniff.used})
        ],
        "idle_ports": [
            {"transport": transport, "port": port} for transport, port in sorted(sniff.idle)
        ],
        "events": [
            {"event": e.kind, "subject": e.subject, "evidence": dict(e.evidence), "at": e.at}
            for e in reversed(sniff.events)
        ],
    }
