"""Messages that stand in TCP and in UDP alike: BER, LDAP, Kerberos, Sun RPC. Nothing raises."""

_BER_APPLICATION = frozenset(
    {0x60, 0x61, 0x63, 0x64, 0x65, 0x66, 0x68, 0x42, 0x77, 0x78, 0x4A, 0x6E}
)
_KERBEROS_TAGS = frozenset({0x6A, 0x6B, 0x6C, 0x6D, 0x6E, 0x6F, 0x74, 0x75, 0x76, 0x7E})
_RPC_NFS = 100003
# Programs that answer beside the port mapper and NFS: mount, NIS, locks, status, quotas, ACLs.
_RPC_PROGRAMS = range(100000, 100500)


def number(payload: bytes, at: int, size: int, order: str = "big") -> int:
    """Return the number that stands there; what is cut short counts as it is."""
    return int.from_bytes(payload[at : at + size], "little" if order == "little" else "big")


def ber(payload: bytes, at: int = 0) -> tuple[int, int]:
    """Return (tag, where its content begins) of the BER element there; (0, 0) if there is none."""
    if len(payload) < at + 2:
        return 0, 0
    length = payload[at + 1]
    if length < 0x80:
        return payload[at], at + 2
    octets = length & 0x7F
    if not 1 <= octets <= 4 or len(payload) < at + 2 + octets:
        return 0, 0
    return payload[at], at + 2 + octets


def is_ldap(payload: bytes) -> bool:
    """Return whether this is an LDAP message (RFC 4511): a sequence, a number, an operation."""
    tag, at = ber(payload)
    if tag != 0x30 or len(payload) < at + 4 or payload[at] != 2 or not 1 <= payload[at + 1] <= 4:
        return False
    at += 2 + payload[at + 1]
    return at < len(payload) and payload[at] in _BER_APPLICATION


def is_kerberos(payload: bytes) -> bool:
    """Return whether this is a Kerberos message (RFC 4120): application tag, sequence, pvno 5."""
    tag, at = ber(payload)
    if tag not in _KERBEROS_TAGS or not at:
        return False
    inner, content = ber(payload, at)
    return inner == 0x30 and b"\x02\x01\x05" in payload[content : content + 8]


def rpc(payload: bytes) -> str:
    """Return which of Sun's RPC programs is called (RFC 5531), "" if none is."""
    if len(payload) < 24 or number(payload, 4, 4) > 1:
        return ""
    if number(payload, 4, 4) == 1:  # a reply: accepted, with a verifier, or denied
        fits = (
            number(payload, 8, 4) <= 1
            and number(payload, 12, 4) <= 6
            and number(payload, 16, 4) <= 400
        )
        return "rpc?" if fits else ""
    if number(payload, 8, 4) != 2:
        return ""
    program, version = number(payload, 12, 4), number(payload, 16, 4)
    if program == _RPC_NFS:
        return "nfs"
    # Others' programs are any number: a version and a procedure make it one (not NTP's times).
    made = program >= 200000 and 1 <= version <= 255 and number(payload, 20, 4) <= 255
    return "rpc" if program in _RPC_PROGRAMS or made else ""
