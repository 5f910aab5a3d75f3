"""Which old protocols and weak ciphers a TLS server takes: five hellos, none of which goes on.

nmap's ssl-enum-ciphers asks for all of them, in a hundred connections, and counts as intrusive.
The formats: RFC 6101 (SSL 3.0), RFC 5246 (TLS 1.2), sections 7.4.1 and A.
"""

import os
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from vedette.edges import asking
from vedette.scanned import Address

_VERSIONS = {0x0300: "SSLv3", 0x0301: "TLSv1.0", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2"}
_OLD = (0x0300, 0x0301, 0x0302)
_TLS_1_2 = 0x0303

# Names and numbers: IANA's registry of TLS cipher suites.
_USUAL = {
    0x002F: "TLS_RSA_WITH_AES_128_CBC_SHA", 0x0035: "TLS_RSA_WITH_AES_256_CBC_SHA",
    0x0033: "TLS_DHE_RSA_WITH_AES_128_CBC_SHA", 0x0039: "TLS_DHE_RSA_WITH_AES_256_CBC_SHA",
    0xC013: "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", 0xC014: "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    0xC009: "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", 0xC00A: "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    0x0041: "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA", 0x0084: "TLS_RSA_WITH_CAMELLIA_256_CBC_SHA",
}  # fmt: skip
_WEAK = {
    0x0004: "TLS_RSA_WITH_RC4_128_MD5", 0x0005: "TLS_RSA_WITH_RC4_128_SHA",
    0xC007: "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA", 0xC011: "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    0x000A: "TLS_RSA_WITH_3DES_EDE_CBC_SHA", 0x0016: "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA",
    0xC008: "TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA", 0xC012: "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
}  # fmt: skip
_OPEN = {
    0x0001: "TLS_RSA_WITH_NULL_MD5", 0x0002: "TLS_RSA_WITH_NULL_SHA",
    0x003B: "TLS_RSA_WITH_NULL_SHA256", 0xC006: "TLS_ECDHE_ECDSA_WITH_NULL_SHA",
    0xC010: "TLS_ECDHE_RSA_WITH_NULL_SHA", 0xC015: "TLS_ECDH_anon_WITH_NULL_SHA",
    0x0003: "TLS_RSA_EXPORT_WITH_RC4_40_MD5", 0x0006: "TLS_RSA_EXPORT_WITH_RC2_CBC_40_MD5",
    0x0008: "TLS_RSA_EXPORT_WITH_DES40_CBC_SHA", 0x0014: "TLS_DHE_RSA_EXPORT_WITH_DES40_CBC_SHA",
    0x0009: "TLS_RSA_WITH_DES_CBC_SHA", 0x0015: "TLS_DHE_RSA_WITH_DES_CBC_SHA",
    0x0018: "TLS_DH_anon_WITH_RC4_128_MD5", 0x001B: "TLS_DH_anon_WITH_3DES_EDE_CBC_SHA",
    0x0034: "TLS_DH_anon_WITH_AES_128_CBC_SHA", 0x003A: "TLS_DH_anon_WITH_AES_256_CBC_SHA",
    0x006C: "TLS_DH_anon_WITH_AES_128_CBC_SHA256", 0x00A6: "TLS_DH_anon_WITH_AES_128_GCM_SHA256",
    0xC018: "TLS_ECDH_anon_WITH_AES_128_CBC_SHA", 0xC019: "TLS_ECDH_anon_WITH_AES_256_CBC_SHA",
}  # fmt: skip
_NAMES = _USUAL | _WEAK | _OPEN
_SAFE_RENEGOTIATION = 0x00FF  # RFC 5746: some servers end the conversation without it

_HANDSHAKE, _SERVER_HELLO = 22, 2
_HEADER, _BEFORE_SESSION = 9, 43  # bytes: record and message headers; and version and random
_HELLO_AND_CIPHER = 43 + 1 + 32 + 2


@dataclass(frozen=True, slots=True)
class Spoken:
    """protocols: {"TLSv1.0": names of ciphers} of what was taken. complete: each was answered."""

    protocols: dict[str, tuple[str, ...]]
    complete: bool


def client_hello(version: int, ciphers: Iterable[int], random: bytes) -> bytes:
    """Return the record with which a client begins. random: 32 bytes."""
    suites = b"".join(struct.pack(">H", cipher) for cipher in (*ciphers, _SAFE_RENEGOTIATION))
    body = struct.pack(">H", version) + random + b"\0"
    body += struct.pack(">H", len(suites)) + suites + b"\x01\0"
    if version != _OLD[0]:
        body += _extensions(version)
    message = b"\x01" + struct.pack(">I", len(body))[1:] + body
    # RFC 5246, appendix E.1: the record says the oldest version.
    return struct.pack(">BHH", _HANDSHAKE, min(version, 0x0301), len(message)) + message


def _extensions(version: int) -> bytes:
    parts = [
        (10, struct.pack(">HHHH", 6, 0x001D, 0x0017, 0x0018)),  # groups: x25519, P-256, P-384
        (11, b"\x01\0"),  # uncompressed points
    ]
    if version == _TLS_1_2:
        signatures = (0x0403, 0x0503, 0x0603, 0x0804, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201)
        packed = b"".join(struct.pack(">H", one) for one in signatures)
        parts.append((13, struct.pack(">H", len(packed)) + packed))
    joined = b"".join(struct.pack(">HH", kind, len(part)) + part for kind, part in parts)
    return struct.pack(">H", len(joined)) + joined


def server_hello(data: bytes) -> tuple[int, int] | None:
    """Return (version, cipher) that a server has chosen, None if it said anything else."""
    if len(data) <= _BEFORE_SESSION or data[0] != _HANDSHAKE or data[5] != _SERVER_HELLO:
        return None
    (version,) = struct.unpack_from(">H", data, _HEADER)
    at = _BEFORE_SESSION + 1 + data[_BEFORE_SESSION]
    if len(data) < at + 2:
        return None
    (cipher,) = struct.unpack_from(">H", data, at)
    return version, cipher


def spoken(address: Address, port: int, *, seconds: float) -> Spoken:
    """Try what is old or weak. seconds: for each of the five."""
    tries: list[tuple[int, dict[int, str]]] = [(version, _USUAL | _WEAK) for version in _OLD]
    tries += [(_TLS_1_2, _OPEN), (_TLS_1_2, _WEAK)]
    found: dict[str, tuple[str, ...]] = {}
    enough = re.compile(rb"\A\x15.{6}|\A\x16.{%d}" % (_HELLO_AND_CIPHER - 1), re.DOTALL)
    for version, ciphers in tries:
        request = client_hello(version, ciphers, os.urandom(32))
        answer = asking.ask(address, port, request, enough, tls=False, seconds=seconds)
        if not answer.answered:  # nor will it the others: nobody waits four times more
            return Spoken(found, complete=False)
        chosen = server_hello(answer.data)
        if chosen is None or chosen[0] not in _VERSIONS or chosen[1] not in ciphers:
            continue
        if version in _OLD and chosen[0] != version:
            continue
        name = _VERSIONS[chosen[0]]
        found[name] = (*found.get(name, ()), _NAMES[chosen[1]])
    return Spoken(found, complete=True)
