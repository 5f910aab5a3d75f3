"""From when on traffic is an event. The job `sniff` declares them, the capture process obeys."""

from dataclasses import dataclass

from vedette.option import setting

# What may happen on a network: values of the label `event`.
EVENTS = (
    "new_neighbour", "address_conflict", "arp_spoofing", "gateway_changed", "rogue_dhcp",
    "rogue_router", "port_scan", "syn_flood", "cleartext_credentials", "dns_tunnelling",
    "protocol_mismatch",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Options of the events that are told from traffic."""

    cooldown_seconds: float = setting(
        3600.0, "The same event about the same host is told again only after this long.", gt=0
    )
    port_scan_ports: int = setting(
        100, "Different (destination, port) that one host tries in a minute, unanswered.", ge=5
    )
    slow_scan_ports: int = setting(
        60, "Different (destination, port) that one host tries in an hour, unanswered.", ge=5
    )
    sweep_hosts: int = setting(
        50, "Different hosts that one host tries, or asks for by ARP, in a minute.", ge=5
    )
    syn_flood_per_second: int = setting(
        200,
        "Connections begun to one port, per second of a window, that nobody goes on with.",
        ge=1,
    )
    dns_tunnel_names: int = setting(
        100, "Different long names below one domain that one host looks up in a minute.", ge=10
    )
    dns_domains: tuple[str, ...] = setting(
        (
            "spamhaus.net", "spamhaus.org", "msbl.org", "cymru.com", "sophosxl.net", "mcafee.com",
            "e5.sk", "googlesyndication.com",
        ),
        "Domains below which long names are no tunnel: those that are asked for hashes, mostly.",
    )  # fmt: skip
    dhcp_servers: tuple[str, ...] = setting(
        (),
        "Addresses of the DHCP servers, of DHCPv6 the link-local ones. None of a family: the first"
        " that answers is the right one.",
    )
    routers: tuple[str, ...] = setting(
        (),
        "Link-local addresses of the routers that may advertise themselves (IPv6). Empty: the first"
        " that does is the right one.",
    )
    proxy_arp: tuple[str, ...] = setting(
        (), "MACs of routers that answer ARP for others (proxy ARP): no spoofing."
    )
