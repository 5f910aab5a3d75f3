"""A small program that listens, for the ports no real server serves; standard input tells where.

[{"port": 7777, "address": "0.0.0.0", "say": "hex of what is sent at once", "answer": "hex of
what is sent after the first bytes came"}, ...]; with neither it never says a word.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def serve(port: dict[str, Any]) -> Serve:
    """Return what to do with a connection to this port."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.write(bytes.fromhex(port.get("say", "")))
            await writer.drain()
            if answer := bytes.fromhex(port.get("answer", "")):
                await reader.read(1024)
                writer.write(answer)
                await writer.drain()
            else:
                while await reader.read(1024):
                    pass
        writer.close()

    return talk


async def main() -> None:
    """Listen on all ports for ever."""
    for port in json.load(sys.stdin):
        await asyncio.start_server(serve(port), port.get("address", "0.0.0.0"), port["port"])  # noqa: S104 - in a namespace of the test's own
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
