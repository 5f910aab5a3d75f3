"""Names of IP protocol numbers (IANA, Assigned Internet Protocol Numbers), as used in labels."""

NAMES = {
    0: "hopopt", 1: "icmp", 2: "igmp", 4: "ipv4-in-ip", 6: "tcp", 8: "egp", 9: "igp", 17: "udp",
    27: "rdp", 33: "dccp", 41: "ipv6-in-ip", 46: "rsvp", 47: "gre", 50: "esp", 51: "ah",
    58: "icmpv6", 59: "ipv6-no-next-header", 88: "eigrp", 89: "ospf", 94: "ipip", 97: "etherip",
    103: "pim", 108: "ipcomp", 112: "vrrp", 113: "pgm", 115: "l2tp", 124: "isis", 132: "sctp",
    135: "mobility", 136: "udplite", 137: "mpls-in-ip", 139: "hip", 140: "shim6", 141: "wesp",
    142: "rohc", 143: "ethernet", 144: "aggfrag", 253: "experimental", 254: "experimental",
    255: "reserved",
}  # fmt: skip


def name(number: int) -> str:
    """Return a label value for a protocol number; numbers without a name here share "other"."""
    return NAMES.get(number, "other")
