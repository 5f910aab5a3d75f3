"""A caching proxy on the bridge: the machines' only way to Debian's packages."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.fleet import root
from tests.fleet.machine import Fleet, Machine, wait_until

PORT = 3142


@contextmanager
def proxy(fleet: Fleet) -> Iterator[str]:
    """Have apt-cacher-ng there; yield its address. What it has fetched stays in the cache."""
    program = shutil.which("apt-cacher-ng")
    assert program is not None
    cache, logs = root.CACHE / "packages", fleet.directory / "apt-cacher-ng"
    cache.mkdir(exist_ok=True)
    logs.mkdir()
    settings = {
        "CacheDir": cache, "LogDir": logs, "BindAddress": f"{fleet.network}.1", "Port": PORT,
        "ForeGround": 1, "SocketPath": logs / "socket", "SupportDir": "/usr/lib/apt-cacher-ng",
    }  # fmt: skip
    own = logs / "configuration"
    own.mkdir()
    (own / "acng.conf").write_text("".join(f"{k}: {v}\n" for k, v in settings.items()))
    server = subprocess.Popen(  # noqa: S603 - our own proxy
        # A run that is killed takes it along.
        ["setpriv", "--pdeathsig", "TERM", program, "-c", str(own)],  # noqa: S607
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until("the proxy", lambda: _listens(f"{fleet.network}.1"), 10)
        yield f"http://{fleet.network}.1:{PORT}"
    finally:
        server.terminate()
        server.wait()


def use(machine: Machine, address: str) -> None:
    """Send apt of this machine there."""
    machine.write("/etc/apt/apt.conf.d/01fleet", f'Acquire::http::Proxy "{address}";\n')


def _listens(address: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, PORT)) == 0
