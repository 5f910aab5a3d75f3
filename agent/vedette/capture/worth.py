"""Which frames tell something: what the kernel's filter (telling.py) looks for, and the same here.

Scapy's sockets hand over every frame; there this program picks them out itself. Each is of a kind,
and each kind has its share of what is looked into: a flood of one hides no other.
"""

from vedette.capture.decode import LOOPBACK_LINK, Packet

# What the first four bytes of a TCP payload are, if it begins a conversation.
FIRST_WORDS = (
    b"SSH-", b"GET ", b"POST", b"HEAD", b"PUT ", b"DELE", b"PATC", b"OPTI", b"CONN", b"HTTP",
    b"PRI ", b"220 ", b"220-", b"USER", b"PASS", b"EHLO", b"HELO", b"AUTH", b"+OK ", b"* OK",
    b"RFB ", b"AMQP", b"@RSY", b"\x13Bit", b"*1\r\n", b"*2\r\n", b"*3\r\n", b"\x05\0\x0b\x03",
    b"\x05\0\x0c\x03", b"<str", b"<?xm", b"Pass", b"pass", b"DESC", b"INVI", b"REGI", b"NICK",
)  # fmt: skip
SECOND_WORDS = (
    b"\xffSMB", b"\xfeSMB", b"MQTT", b"\0\3\0\0", b"\x04\xd2\x16\x2f", b"\xff\xff\xff\xff",
    b"\1\0\0\0",  # Oracle's connect
)  # fmt: skip
FOURTH_WORDS = (b"\xdd\7\0\0", b"\xd4\7\0\0")  # MongoDB's messages and queries
# TLS' handshake, RDP, telnet's options, SQL Server's first message
FIRST_HALVES = (0x1603, 0x0300, 0xFFFB, 0xFFFD, 0x1201)
BIND = 0x0160  # how the second word of LDAP's bind begins, if it is the first message
# MySQL's greeting: its length, below 256, in three bytes, the lowest first; number 0; version 10.
GREETING_VERSION = 10
# What is said there begins with nothing in particular: IMAP's commands, telnet's prompts.
TO_PORT, FROM_PORT = 143, 23
UDP_PORTS = (53, 69, 123, 137, 161, 500, 1900, 3478, 5060, 5353, 5355)
DHCP_PORTS = (67, 68, 546, 547)
QUIC = 443
LONG_HEADER = 0xC0  # of QUIC: only the first packets of a connection have it
UNREACHABLE = 3  # of ICMP
# Of ICMPv6: unreachable; routers and neighbours, asked for, advertised, and redirects.
ICMP6_TYPES = (1, 133, 134, 135, 136, 137)
SYN, PUSH, ACK = 0x02, 0x08, 0x10

# Kinds of frames: of no interest; who is on the network, and what is refused; datagrams; TCP's
# connections as they begin; what is said in them.
NOTHING, WHO, DATAGRAM, BEGINS, SAID = KINDS = range(5)

_FIRST = frozenset(FIRST_WORDS)
_SECOND = frozenset(SECOND_WORDS)
_HALVES = frozenset(half.to_bytes(2, "big") for half in FIRST_HALVES)
_PORTS, _DHCP = frozenset(UDP_PORTS), frozenset(DHCP_PORTS)
_BIND = BIND.to_bytes(2, "big")


class Budget:
    """So many frames a second. shed: how many were too many.

    Half of them is shared out to the kinds, the other half is for whatever comes first.
    """

    def __init__(self, per_second: int) -> None:
        self._share = per_second // 2 // (len(KINDS) - 1)
        self._common = per_second - self._share * (len(KINDS) - 1)
        self._end, self._left = 0.0, [0] * len(KINDS)
        self.shed = 0

    def allows(self, now: float, kind: int) -> bool:
        """Return whether one more of this kind may be looked into, at this monotonic time."""
        if now >= self._end:
            self._end, self._left = now + 1, [self._common, *[self._share] * (len(KINDS) - 1)]
        # What all share stands where the kind of no interest would.
        pot = kind if self._left[kind] else NOTHING
        if not self._left[pot]:
            self.shed += 1
            return False
        self._left[pot] -= 1
        return True


def kind(packet: Packet, frame: bytes, link_type: int) -> int:  # noqa: PLR0911 - one per protocol
    """Return which kind a frame is, whose headers are read: NOTHING if it tells nothing."""
    at = packet.at
    match packet.protocol:
        case "arp":
            return WHO
        case "tcp":
            flags = frame[at + 13] if len(frame) > at + 13 else 0
            if flags & SYN and link_type != LOOPBACK_LINK:
                return BEGINS
            asked = packet.destination_port == TO_PORT or packet.source_port == FROM_PORT
            return SAID if (flags & PUSH and asked) or _begins(frame, at) else NOTHING
        case "udp":
            ports = packet.source_port, packet.destination_port
            if not _DHCP.isdisjoint(ports):
                return WHO
            quic = QUIC in ports and frame[at + 8 : at + 9] >= bytes([LONG_HEADER])
            return DATAGRAM if quic or not _PORTS.isdisjoint(ports) else NOTHING
        case "icmp":
            return WHO if frame[at : at + 1] == bytes([UNREACHABLE]) else NOTHING
        case "icmpv6":
            return WHO if len(frame) > at and frame[at] in ICMP6_TYPES else NOTHING
    return NOTHING


def begins_connection(packet: Packet, frame: bytes) -> bool:
    """Return whether this is a SYN, and no answer to one."""
    at = packet.at + 13
    return packet.protocol == "tcp" and len(frame) > at and frame[at] & (SYN | ACK) == SYN


def _begins(frame: bytes, at: int) -> bool:
    said = at + (frame[at + 12] >> 4) * 4 if len(frame) > at + 12 else len(frame)
    first, second = frame[said : said + 4], frame[said + 4 : said + 8]
    if len(first) < 4:  # noqa: PLR2004 - bytes of a word
        return False
    if first in _FIRST or first[:2] in _HALVES:
        return True
    if len(second) < 4:  # noqa: PLR2004 - as above
        return False
    greets = first[1:] == bytes(3) and second[0] == GREETING_VERSION
    if greets or second in _SECOND or second[:2] == _BIND:
        return True
    return frame[said + 12 : said + 16] in FOURTH_WORDS
