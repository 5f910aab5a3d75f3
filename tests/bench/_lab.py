"""A small world to measure in: a network, process and mount namespace with real services.

The kernel removes all of it with the benchmark's last process, however that ends: nothing is left
to clean up after Ctrl-C, and nothing that runs on this machine is seen or touched.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

ADDRESS = "10.98.0.1"
ADDRESS6 = "fd98::1"
DIRECTORY = Path("/run/vedette-bench")  # in a file system that only this benchmark sees
_INSIDE = "BENCH_INSIDE"  # not VEDETTE_…: the agent refuses what it does not know
_START_SECONDS = 20.0

# {TCP port: (its service, a word of the product that names it)}: what a good scan finds out.
EXPECTED = {
    21: ("ftp", "vsftpd"),
    22: ("ssh", "OpenSSH"),
    80: ("http", "nginx"),
    443: ("https", "nginx"),
    6379: ("redis", "Redis"),
    11211: ("memcached", "Memcached"),
}
SILENT_PORT = 7777

_NGINX = """
daemon off; worker_processes 1; pid {0}/nginx.pid; error_log {0}/nginx.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f;
    uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;
    server {{ listen [::]:80 ipv6only=off; return 200 "bench"; }}
    server {{
        listen [::]:443 ssl ipv6only=off;
        ssl_certificate {0}/tls.pem; ssl_certificate_key {0}/tls.key;
        return 200 "bench";
    }}
}}
"""
_SSHD = "HostKey {0}/ssh_key\nPidFile none\nUsePAM no\nMaxStartups 100\n"
_VSFTPD = """
background=NO
listen=YES
anonymous_enable=YES
local_enable=NO
secure_chroot_dir={0}/empty
"""


def enter(module: str) -> None:
    """Go on in namespaces of our own: returns there, and does not return outside of them."""
    if os.environ.get(_INSIDE):
        _arrange()
        return
    if os.geteuid() != 0:
        sys.exit("this benchmark makes a network namespace: it needs root")
    unshare = shutil.which("unshare")
    if unshare is None:
        sys.exit("unshare is not installed (Debian: apt-get install util-linux)")
    # --kill-child: whoever ends unshare ends process 1 in there, and with it all others.
    command = [unshare, "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command += [sys.executable, "-m", module, *sys.argv[1:]]
    try:
        sys.exit(subprocess.call(command, env={**os.environ, _INSIDE: "yes"}))  # noqa: S603 - ourselves
    except KeyboardInterrupt:
        sys.exit(130)


def _arrange() -> None:
    for command in (
        "mount -t tmpfs tmpfs /run",
        "mount -t sysfs sysfs /sys",  # the new namespace's /sys/class/net
        "ip link set lo up",
        # Two ends of one cable. The agent leaves out what is called veth…, but not eth0.
        "ip link add eth0 type veth peer name veth-far",
        f"ip address add {ADDRESS}/24 dev eth0",
        "ip link set eth0 up",
        "ip link set veth-far up",
    ):
        run(command.split())
    DIRECTORY.mkdir(parents=True)


def add_ipv6() -> None:
    """Give the host an IPv6 address as well."""
    run(["ip", "address", "add", f"{ADDRESS6}/64", "dev", "eth0", "nodad"])


def run(command: Sequence[str]) -> None:
    """Run a short command; what it says is shown only if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")


def start_services() -> None:
    """Start the servers of EXPECTED on all addresses, and wait until they answer."""
    where = DIRECTORY
    (where / "empty").mkdir()
    Path("/run/sshd").mkdir()
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{where}/ssh_key"])
    subject = "/CN=bench.example"
    key = ["-newkey", "rsa:2048", "-nodes", "-keyout", f"{where}/tls.key"]
    run(["openssl", "req", "-x509", *key, "-out", f"{where}/tls.pem", "-subj", subject])
    for name, text in (("nginx", _NGINX), ("sshd", _SSHD), ("vsftpd", _VSFTPD)):
        (where / f"{name}.conf").write_text(text.format(where), encoding="utf-8")
    sshd = shutil.which("sshd") or "/usr/sbin/sshd"  # it insists on an absolute path
    for command in (
        [sshd, "-D", "-e", "-f", f"{where}/sshd.conf"],
        ["nginx", "-c", f"{where}/nginx.conf"],
        ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""],  # noqa: S104 - in here there is no other host
        ["memcached", "-u", "nobody", "-l", "0.0.0.0", "-U", "0"],  # noqa: S104 - as above
        ["vsftpd", f"{where}/vsftpd.conf"],
    ):
        with (where / f"{Path(command[0]).name}.log").open("wb") as log:
            subprocess.Popen(  # noqa: S603 - fixed
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=where
            )
    for port in EXPECTED:
        wait_for(lambda port=port: connects(port), f"port {port} does not answer")  # type: ignore[misc]  # mypy cannot type a default here


def start_silent() -> None:
    """Open a port that takes connections and never says a word."""
    _serve(SILENT_PORT, b"")


def start_banners(ports: Collection[int]) -> None:
    """Open more ports, each of which greets like an SSH server."""
    for port in ports:
        _serve(port, b"SSH-2.0-OpenSSH_9.2p1\r\n")


def _serve(port: int, greeting: bytes) -> None:
    listening = socket.create_server(("", port), backlog=64)
    kept: list[socket.socket] = []

    def accept() -> None:
        while True:
            peer, _ = listening.accept()
            if greeting:
                with peer:
                    peer.sendall(greeting)
            else:
                kept.append(peer)

    Thread(target=accept, daemon=True).start()


def connects(port: int, address: str = ADDRESS) -> bool:
    """Whether something listens there."""
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_for(
    ready: Callable[[], bool],
    otherwise: str,
    seconds: float = _START_SECONDS,
    poll_seconds: float = 0.01,
) -> None:
    """Wait until `ready`; end the benchmark with the reason if it does not come to that."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            sys.exit(otherwise)
        time.sleep(poll_seconds)


def fetch(port: int, path: str = "/metrics", *, compressed: bool = False) -> tuple[bytes, float]:
    """Return the body of a page of 127.0.0.1, and the seconds from connect() to its last byte.

    As a scraper without keep-alive does it. Raises OSError.
    """
    accept = "Accept-Encoding: gzip\r\n" if compressed else ""
    request = f"GET {path} HTTP/1.1\r\nHost: bench\r\n{accept}Connection: close\r\n\r\n"
    start = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as peer:
        peer.sendall(request.encode())
        pieces = []
        while piece := peer.recv(1 << 16):
            pieces.append(piece)
    seconds = time.perf_counter() - start
    head, _, body = b"".join(pieces).partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise ConnectionError(head.split(b"\r\n")[0].decode(errors="replace"))
    return body, seconds


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor time of one process in seconds: its own, and of the children it has waited for."""

    own: float
    children: float

    @classmethod
    def of(cls, pid: int) -> "Usage":
        """Read it from /proc/PID/stat (proc(5))."""
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        # The fields after the name, which may contain anything: utime is the twelfth of them.
        user, system, child_user, child_system = map(int, text.rpartition(")")[2].split()[11:15])
        tick = os.sysconf("SC_CLK_TCK")
        return cls((user + system) / tick, (child_user + child_system) / tick)


def cpu_seconds(pid: int) -> float:
    """Return the processor time of the threads that a process has now, to the microsecond."""
    # The first number of schedstat is nanoseconds (proc-schedstat in the kernel's documentation);
    # the ticks of /proc/PID/stat are too coarse for a process that sleeps.
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text(encoding="ascii").split()[0]) for file in threads) / 1e9


def memory_mib(pid: int, field: str = "VmRSS") -> float:
    """Return a size of /proc/PID/status in MiB: VmRSS, or VmHWM for the highest ever."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def children(pid: int) -> dict[int, str]:
    """Return {PID: command line} of the children of a process."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text(encoding="ascii").split():
            line = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ")
            found[int(child)] = line.decode(errors="replace")
    return found


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: with rich on a terminal, else plain."""
    if sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415 - not needed in a pipe
        from rich.table import Table  # noqa: PLC0415

        table = Table(title=title, title_justify="left")
        for number, text in enumerate(head):
            table.add_column(text, justify="right" if number else "left")
        for row in rows:
            table.add_row(*row)
        Console().print(table)
        return
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    print(f"\n{title}")
    for row in (head, *rows):
        first, *others = (
            text.rjust(width) if number else text.ljust(width)
            for number, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join((first, *others)).rstrip())


def load() -> str:
    """Return the machine's load average as a short text."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
