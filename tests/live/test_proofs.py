"""What nmap's safe scripts and our own questions find out, of real servers where they are at hand.

MongoDB, etcd, Elasticsearch, ZooKeeper, Docker, a kubelet, VNC and X11 are played by listener.py,
in their own protocols: none of them is cheap to install.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.live.certificates import Authority, Pair
from tests.live.netns import V4, Namespace, directory, output, two_hosts, wait_for
from tests.live.running import FIGURES, VEDETTE, Agent
from tests.live.services import listen, start_vsftpd, wait_until_open
from tests.live.stories import beside
from tests.unit.risk.test_questions import JSON, OK, ONE, mongodb, session
from vedette import scripts

pytestmark = pytest.mark.live

REDIS, REDIS_ASKS, MEMCACHED, FTP, OLD_TLS, EXPIRED = 17001, 17002, 17003, 17005, 17443, 18443
SMB, OLD_SMB = 17445, 18445
DOCKER_ASKS = 2376
PLAYED = {
    27017: ("", mongodb(b"\x04databases\0\x05\0\0\0\0", ONE), "RULE-MONGODB-NOAUTH"),
    2379: ("", OK + JSON + b'{"header":{"cluster_id":"1"}}', "RULE-ETCD-NOAUTH"),
    9200: ("", OK + JSON + b'{"name":"a","cluster_name":"b"}', "RULE-ELASTIC-NOAUTH"),
    2375: ("", OK + JSON + b'{"Version":"20.10.5","ApiVersion":"1.41"}', "RULE-DOCKER-API-NOAUTH"),
    10255: ("", OK + JSON + b'{"kind":"PodList","items":[]}', "RULE-KUBELET-ANONYMOUS"),
    2181: ("", session(0), "RULE-ZOOKEEPER-NOAUTH"),
    5900: (b"RFB 003.008\n".hex(), b"\x01\x01", "RULE-VNC-NOAUTH"),
    6000: ("", b"\x01\0\x0b\0\0\0" + bytes(34), "RULE-X11-OPEN"),
}


def start_nginx(host: Namespace, where: Path, port: int, pair: Pair, more: str) -> None:
    """Run nginx with TLS on this port."""
    config = where / f"nginx_{port}.conf"
    temporary = "".join(
        f"{kind}_temp_path {where}/{kind}_{port}; "
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config.write_text(
        f"daemon off; worker_processes 1; error_log stderr; pid {where}/nginx_{port}.pid;\n"
        f"events {{}}\nhttp {{ access_log off; {temporary}\n server {{ listen {port} ssl;\n"
        f"  ssl_certificate {pair.certificate}; ssl_certificate_key {pair.key}; {more}\n"
        "  location / { return 200 'hello'; } } }\n"
    )
    with (where / f"nginx_{port}.log").open("wb") as log:
        host.start(["nginx", "-e", "stderr", "-p", str(where), "-c", str(config)], log=log)


def start_smbd(host: Namespace, where: Path, port: int, *settings: str) -> None:
    """Run Samba's smbd on this port, with all its files in a directory of its own."""
    own = where / f"smbd_{port}"
    own.mkdir()
    kinds = ("private dir", "lock directory", "state directory", "cache directory",
             "pid directory", "ncalrpc dir")  # fmt: skip
    lines = [*(f"{kind} = {own}" for kind in kinds), f"log file = {own}/log", "load printers = no",
             "server role = standalone server", "disable netbios = yes", f"smb ports = {port}",
             "bind interfaces only = yes", f"interfaces = {V4}", *settings]  # fmt: skip
    config = own / "smb.conf"
    config.write_text("[global]\n" + "".join(f"{line}\n" for line in lines))
    with (own / "output").open("wb") as log:
        # In a process group of its own: at its end it terminates all of the group.
        host.start(["smbd", "--foreground", "-s", str(config)], log=log)


def start_servers(host: Namespace, where: Path) -> None:
    """Start all of them; wait until they listen."""
    weak = Pair(where / "weak.crt", where / "weak.key")
    output(
        ["openssl", "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-sha1", "-days", "2",
         "-subj", "/CN=weak.example", "-keyout", str(weak.key), "-out", str(weak.certificate)]
    )  # fmt: skip
    old = "ssl_protocols TLSv1 TLSv1.1 TLSv1.2; ssl_ciphers 'ALL:@SECLEVEL=0';"
    start_nginx(host, where, OLD_TLS, weak, old)
    start_nginx(host, where, EXPIRED, Authority(where, "authority").sign("old", days=-1), "")
    for port, more in ((REDIS, ()), (REDIS_ASKS, ("--requirepass", "not the default"))):
        host.start(
            ["redis-server", "--bind", V4, "--port", str(port), "--protected-mode", "no",
             "--save", "", "--dir", str(where), *more]
        )  # fmt: skip
    host.start(["memcached", "-l", V4, "-p", str(MEMCACHED), "-U", "0", "-u", "nobody"])
    where.chmod(0o755)
    (where / "ftp").mkdir(mode=0o755)
    start_vsftpd(host, where, FTP, anonymous=where / "ftp")
    start_smbd(host, where, SMB, "server signing = mandatory")
    start_smbd(host, where, OLD_SMB, "server min protocol = NT1", "server signing = disabled")
    listen(
        host,
        [
            {"port": port, "say": say, "answer": told.hex()}
            for port, (say, told, _) in PLAYED.items()
        ],
    )
    # As Docker is meant to be open: to those who have a certificate.
    host.start(
        ["openssl", "s_server", "-accept", str(DOCKER_ASKS), "-www", "-Verify", "1",
         "-verify_return_error", "-cert", str(weak.certificate), "-key", str(weak.key),
         "-cipher", "DEFAULT:@SECLEVEL=0"]
    )  # fmt: skip
    wait_until_open(
        host,
        {DOCKER_ASKS, REDIS, REDIS_ASKS, MEMCACHED, FTP, OLD_TLS, EXPIRED, SMB, OLD_SMB, *PLAYED},
    )


def found(inventory: dict[str, Any], number: int) -> dict[str, int]:
    """Return {confirmed or possible rule: confidence} of a port of the network's address."""
    (port,) = (p for p in inventory["ports"] if (p["address"], p["port"]) == (V4, number))
    return {
        finding["finding"]: finding["confidence"]
        for finding in port["risk"]["findings"] + port["risk"]["possible"]
        if finding["finding"].startswith("RULE-")
    }


@beside
def test_what_services_give_without_a_password_is_proved() -> None:
    """And that one of them asks for a password ends the guess. A second scan asks nobody again.

    Samba's signing and oldest protocol are asked for on ports of their own, one after the other.
    """
    with two_hosts("proofs") as (host, _), directory("proofs") as where:
        start_servers(host, where)
        asked_for = (DOCKER_ASKS, REDIS, REDIS_ASKS, MEMCACHED, FTP, OLD_TLS, EXPIRED, SMB, OLD_SMB)
        ports = ",".join(map(str, (*asked_for, *PLAYED)))
        listeners = where / "listeners.json"
        output(host.command([VEDETTE, "inventory", "--output", str(listeners)]))
        agent = Agent(
            host, where / "state", "--scan.interval-seconds", "10", "--scan.tcp-ports", ports,
            "--scan.listeners-file", str(listeners),
            "--scan.deep-probe-seconds", "0", "--scan.splay-seconds", "0",
            "--fingerprint.active", "no", "--sniff.enabled", "no",
        )  # fmt: skip
        metrics = agent.wait_for_success("scan", 100)
        seen = agent.inventory()

        assert found(seen, REDIS) == {"RULE-REDIS-NOAUTH": 95}
        assert found(seen, REDIS_ASKS) == {}
        assert found(seen, MEMCACHED) == {"RULE-MEMCACHED-NOAUTH": 95}
        assert found(seen, FTP) == {"RULE-FTP-ANONYMOUS": 95, "RULE-CLEARTEXT-FTP": 80}
        assert found(seen, OLD_TLS) == dict.fromkeys(
            ("RULE-TLS-OLD-PROTOCOL", "RULE-TLS-WEAK-CIPHER", "RULE-TLS-SELF-SIGNED",
             "RULE-TLS-WEAK-KEY"), 95,
        )  # fmt: skip
        assert found(seen, EXPIRED) == {"RULE-TLS-CERT-EXPIRED": 95}
        assert found(seen, SMB) == {}
        assert found(seen, OLD_SMB) == {"RULE-SMBV1": 95, "RULE-SMB-SIGNING-OFF": 95}
        # nmap calls every Samba 4.6.2; what listens is judged by its package.
        (smb,) = (p["risk"] for p in seen["ports"] if (p["address"], p["port"]) == (V4, SMB))
        version = output(["dpkg-query", "-W", "-f=${source:Version}", "samba"])
        flaws = [f for f in smb["findings"] + smb["possible"] if f["finding"].startswith("CVE")]
        assert flaws
        assert all(f"samba {version} of debian:" in flaw["reasons"][0] for flaw in flaws)
        control = {"RULE-DOCKER-API-NOAUTH", "RULE-EXPOSED-CONTROL-API"}
        assert not control & set(found(seen, DOCKER_ASKS))
        for number, (_, _, rule) in PLAYED.items():
            assert found(seen, number).get(rule) == 95, f"{number}: {found(seen, number)}"

        shown = output(["openssl", "x509", "-noout", "-enddate", "-in", str(where / "weak.crt")])
        end = output(["date", "-u", "-d", shown.partition("=")[2].strip(), "+%s"])
        expiry = "vedette_certificate_expiry_timestamp_seconds"
        assert metrics.value(expiry, address=V4, port=str(OLD_TLS)) == int(end)
        assert metrics.value(expiry, address=V4, port=str(EXPIRED)) < int(end)
        (old,) = (p for p in seen["ports"] if p["port"] == OLD_TLS)
        assert old["certificate"]["subject"] == "weak.example"
        assert "certificate until" in agent.get("/").text

        asked = [e["argv"] for e in agent.events("nmap") if "--script" in e["argv"]]
        assert all(re.search(r"--script \+[\w-]+ and safe", argv) for argv in asked)
        first = metrics.value("vedette_job_last_duration_seconds", job_name="scan")
        FIGURES["first scan of 16 services, scripts included"] = f"{first:.1f} s"
        agent.wait_for_success("scan", 60, after=agent.successes("scan"))
        again = [e["argv"] for e in agent.events("nmap") if "--script" in e["argv"]]
        assert again == asked
        agent.stop()


def test_nmap_calls_each_of_our_scripts_safe_and_none_intrusive() -> None:
    """Its own list is the judge; it is a file of the package."""
    program = shutil.which("nmap")
    assert program is not None
    database = Path(program).resolve().parents[1] / "share/nmap/scripts/script.db"
    categories = {
        name: set(re.findall(r'"([a-z]+)"', listed))
        for name, listed in re.findall(
            r'filename = "([\w.-]+)\.nse", categories = \{(.*?)\}', database.read_text()
        )
    }

    wait_for("the list", lambda: len(categories) > 100, 1)
    for name in sorted(scripts.ALL):
        assert "safe" in categories[name], name
        assert not categories[name] & {"brute", "dos", "exploit", "intrusive", "vuln"}, name


def test_a_report_with_scripts_is_judged_as_well(tmp_path: Path) -> None:
    """`vedette assess --nmap-xml` on what `nmap --script` has written."""
    sample = Path(__file__).parents[1] / "samples/nmap_scripts.xml"
    with two_hosts("assess") as (host, _):
        words = ["assess", "--nmap-xml", str(sample), "--format", "json"]
        told = json.loads(host.run([str(_vedette()), *words]).stdout)
    rules = {
        (row["port"], row["finding"], row["confidence"])
        for row in told["findings"]
        if row["finding"].startswith("RULE-") and row["status"] == "confirmed"
    }

    assert tmp_path
    assert rules >= {
        (17001, "RULE-REDIS-NOAUTH", 95),
        (17003, "RULE-MEMCACHED-NOAUTH", 95),
        (17004, "RULE-TLS-WEAK-KEY", 95),
        (17005, "RULE-FTP-ANONYMOUS", 95),
    }
    assert not [rule for rule in rules if rule[0] == 17002 and "NOAUTH" in rule[1]]


def _vedette() -> Path:
    return Path(__file__).parents[2] / ".venv/bin/vedette"
