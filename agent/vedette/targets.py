"""What may be scanned: this host, and what was listed. Asked by configuration and command line."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network

from vedette.scanned import Address

Network = IPv4Network | IPv6Network

# A /16 of IPv4: beyond that it was a slip of the pen, or needs a scanner built for it.
_LARGEST = 1 << 16

_MAPPED_IPV4 = IPv6Network("::ffff:0:0/96")


def parse(text: str) -> Network:
    """Return the network or single address that a person has typed. Raises ValueError, in words.

    Names are refused: what they stand for is somebody else's to change.
    """
    try:
        return ip_network(text, strict=True)
    except ValueError as exc:
        if "host bits" in str(exc):
            raise ValueError(
                f"{text!r} is an address inside a network; did you mean"
                f" {ip_network(text, strict=False)}?"
            ) from exc
        raise ValueError(
            f"{text!r} is neither an IP address nor a network in CIDR notation (names are refused)"
        ) from exc


def check(
    networks: Iterable[Network],
    *,
    allow_public: bool,
    own: Iterable[Address] = (),
    switch: str = "allow_public must be true",
) -> None:
    """Raise ValueError with the reason if any of these may not be scanned. `own` always may.

    switch: what allows public ones, in words.
    """
    mine = set(own)
    for network in networks:
        if network.num_addresses == 1 and network.network_address in mine:
            continue
        first = network.network_address
        if network.num_addresses > _LARGEST:
            raise ValueError(f"{network} has more than {_LARGEST:,} addresses")
        # Mapped IPv4 (::ffff:8.8.8.8) is reserved or private, as the release of Python has it.
        mapped = isinstance(network, IPv6Network) and network.overlaps(_MAPPED_IPV4)
        if first.is_multicast or first.is_unspecified or network.is_reserved or mapped:
            raise ValueError(f"{network} is not a network of hosts")
        if network.is_global and not allow_public:
            raise ValueError(f"{network} is public; {switch} for it")


def parse_port(text: str) -> tuple[str, int]:
    """Return ("tcp", 22) for "22", "tcp/22" or "22/tcp". Raises ValueError, in words."""
    parts = text.lower().split("/")
    numbers = [part for part in parts if part.isascii() and part.isdigit()]
    transports = [part for part in parts if part in ("tcp", "udp")]
    if len(numbers) != 1 or len(transports) > 1 or len(numbers) + len(transports) != len(parts):
        raise ValueError(f"{text!r} is not a port like 22, tcp/22 or udp/53")
    number = int(numbers[0])
    if not 0 < number < 1 << 16:
        raise ValueError(f"{text!r}: a port is between 1 and 65535")
    return (transports or ["tcp"])[0], number


def parse_ports(text: str) -> str:
    """Return nmap's notation of "1-1024,8080". Raises ValueError, in words."""
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if "/" in part:
            raise ValueError(f"{part!r} is not a port or a range like 1-1024")
        low, high = (parse_port(end)[1] for end in (first, last if dash else first))
        if low > high:
            raise ValueError(f"{part!r}: the range runs backwards")
    return text
