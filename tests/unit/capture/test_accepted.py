"""capture/accepted.py: what the kernel has accepted is counted, nothing refused."""

import socket
import sys
from contextlib import suppress

import pytest

from vedette.capture.accepted import Accepted


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's table is Linux'")
def test_connections_are_counted_once_they_are_there() -> None:
    """From one call to the next."""
    accepted = Accepted()
    with socket.create_server(("127.0.0.1", 0)) as server:
        for _ in range(3):
            socket.create_connection(server.getsockname()).close()
        port = server.getsockname()[1]
    with suppress(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port)).close()

    # Others on this machine may connect meanwhile.
    assert 3 <= (accepted.take() or 0) < 1000
    assert (accepted.take() or 0) < 1000
