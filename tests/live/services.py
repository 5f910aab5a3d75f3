"""Real servers from Debian's packages, each on a small configuration of its own."""

import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.live.netns import V4, Namespace, output, wait_for

BIG = 1_000_000  # bytes at http://HOST/big
EXPORTER, ODD = 9105, 8081
# For the budget of memory: more ports of the sort that hosts have.
EXTRA = (3000, 5000, 5601, 8008, 8086, 8123, 8500, 8880, 8888, 9000, 9090, 9093, 9200)


def with_own_run(argv: Iterable[str]) -> list[str]:
    """Return a command that has a /run of its own, with what sshd wants there."""
    line = "mount -t tmpfs -o mode=755 tmpfs /run && mkdir /run/sshd && exec " + shlex.join(argv)
    return ["sh", "-c", line]


def listen(host: Namespace, ports: Iterable[Mapping[str, Any]]) -> subprocess.Popen[bytes]:
    """Start listener.py on these ports, and wait until it listens."""
    wanted = list(ports)
    program = Path(__file__).with_name("listener.py")
    with tempfile.TemporaryFile() as order:
        order.write(json.dumps(wanted).encode())
        order.seek(0)
        child = host.start([sys.executable, "-I", str(program)], stdin=order)
    wait_until_open(host, {port["port"] for port in wanted})
    return child


def wait_until_open(host: Namespace, numbers: set[int]) -> None:
    """Wait until somebody listens on all of these TCP ports."""

    def all_open() -> bool:
        return numbers <= {port for transport, _, port in host.listening() if transport == "tcp"}

    wait_for(f"listening on {sorted(numbers)}", all_open, 10)


def start_sshd(host: Namespace, where: Path, port: int = 22) -> subprocess.Popen[bytes]:
    """Run sshd on this port of every address."""
    key, config = where / f"host_key_{port}", where / f"sshd_config_{port}"
    if not key.exists():
        output(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)])
    config.write_text(f"HostKey {key}\nPort {port}\nUsePAM no\nPidFile none\nPrintMotd no\n")
    sshd = output(["which", "sshd"]).strip()
    with (where / f"sshd_{port}.log").open("wb") as log:
        return host.start(with_own_run([sshd, "-D", "-e", "-f", str(config)]), log=log)


def start_nginx(host: Namespace, where: Path) -> None:
    """Run nginx on 80 and 443 of every address, and on many more of IPv4."""
    output([
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        "-subj", "/CN=vedette.example", "-keyout", str(where / "key.pem"),
        "-out", str(where / "cert.pem"),
    ])  # fmt: skip
    more = "".join(f"    listen {port};\n" for port in (ODD, EXPORTER, *EXTRA))
    (where / "www").mkdir()
    (where / "www/big").write_bytes(bytes(BIG))
    config = where / "nginx.conf"
    config.write_text(
        "daemon off; worker_processes 1; error_log stderr;\n"
        f"pid {where}/nginx.pid;\n"
        "events {}\n"
        "http {\n  access_log off;\n"
        + "".join(
            f"  {kind}_temp_path {where}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        + f"  ssl_certificate {where}/cert.pem; ssl_certificate_key {where}/key.pem;\n"
        "  server {\n    listen 80; listen [::]:80 ipv6only=on;\n"
        "    listen 443 ssl; listen [::]:443 ssl ipv6only=on;\n"
        f"{more}    root {where}/www;\n"
        '    location = / { return 200 "hello\\n"; }\n  }\n}\n'
    )
    with (where / "nginx.log").open("wb") as log:
        host.start(["nginx", "-e", "stderr", "-p", str(where), "-c", str(config)], log=log)


def start_redis(host: Namespace, where: Path) -> None:
    """Run redis-server on 6379 of the network's IPv4 address and of loopback."""
    (where / "redis").mkdir()
    with (where / "redis.log").open("wb") as log:
        host.start([
            "redis-server", "--bind", V4, "127.0.0.1", "--port", "6379", "--protected-mode", "no",
            "--save", "", "--dir", str(where / "redis"),
        ], log=log)  # fmt: skip


def start_memcached(host: Namespace, where: Path) -> None:
    """Run memcached on 11211 of loopback alone."""
    with (where / "memcached.log").open("wb") as log:
        host.start(
            ["memcached", "-l", "127.0.0.1", "-p", "11211", "-U", "0", "-u", "nobody"], log=log
        )


def start_vsftpd(
    host: Namespace, where: Path, port: int = 21, *, anonymous: Path | None = None
) -> subprocess.Popen[bytes]:
    """Run vsftpd on this port of every IPv4 address. anonymous: what it shows to anybody."""
    (where / "empty").mkdir(exist_ok=True)
    config = where / f"vsftpd_{port}.conf"
    config.write_text(
        f"listen=YES\nlisten_ipv6=NO\nlisten_port={port}\nbackground=NO\nanonymous_enable=YES\n"
        # Its package makes the user ftp; the home of nobody, where a session begins, is missing.
        f"local_enable=NO\nftp_username={'ftp' if anonymous else 'nobody'}\n"
        f"secure_chroot_dir={where}/empty\n"
        "seccomp_sandbox=NO\n" + (f"anon_root={anonymous}\n" if anonymous else "")
    )
    with (where / f"vsftpd_{port}.log").open("wb") as log:
        return host.start(["vsftpd", str(config)], log=log)


def start_all(host: Namespace, where: Path) -> None:
    """Start all of them; wait until they listen."""
    start_sshd(host, where)
    start_nginx(host, where)
    start_redis(host, where)
    start_memcached(host, where)
    start_vsftpd(host, where)
    wait_until_open(host, {21, 22, 80, 443, 6379, 11211, ODD, EXPORTER, *EXTRA})
