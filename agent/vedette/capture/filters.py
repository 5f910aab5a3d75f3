"""Filters that the kernel runs on each packet (classic BPF, socket(7)), made once as bytes.

Pure: what is wanted in, a program out.
"""

import struct
from collections.abc import Iterable, Sequence

from vedette.capture.decode import LOOPBACK_LINK

# linux/filter.h, linux/bpf_common.h
_LOAD_WORD, _JUMP_EQUAL, _JUMP, _RETURN = 0x20, 0x15, 0x05, 0x06
_ANCILLARY = 0xFFFFF000  # SKF_AD_OFF, as an unsigned number
_PACKET_TYPE, _INTERFACE, _HARDWARE = 4, 8, 28
_OUTGOING = 4  # PACKET_OUTGOING
_WHOLE = 0x40000  # bytes of a packet that are kept, at most

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand


def on_interfaces(indices: Sequence[int]) -> list[Instruction]:
    """Take what comes and goes on these interfaces; on loopback only what comes.

    What leaves on loopback arrives there too: without this each packet counts twice.
    """
    chosen = [
        instruction
        for index in indices
        for instruction in ((_JUMP_EQUAL, 0, 1, index), (_JUMP, 0, 0, 0))
    ]
    refused = len(chosen) + 1  # where, counted from the first instruction
    program = [(_LOAD_WORD, 0, 0, _ANCILLARY + _INTERFACE), *chosen, (_RETURN, 0, 0, 0)]
    for at, (code, *_) in enumerate(program):
        if code == _JUMP:
            program[at] = (_JUMP, 0, 0, refused - at)
    return [
        *program,
        (_LOAD_WORD, 0, 0, _ANCILLARY + _PACKET_TYPE),
        (_JUMP_EQUAL, 0, 3, _OUTGOING),
        (_LOAD_WORD, 0, 0, _ANCILLARY + _HARDWARE),
        (_JUMP_EQUAL, 0, 1, LOOPBACK_LINK),
        (_RETURN, 0, 0, 0),
        (_RETURN, 0, 0, _WHOLE),
    ]


def packed(program: Iterable[Instruction]) -> bytes:
    """Return a program as an array of struct sock_filter."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
