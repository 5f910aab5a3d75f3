"""judging.py: what is installed on this host is heard where no list of listeners tells."""

import gzip
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.bases import base
from vedette.edges import package_files, packages
from vedette.errors import NotReady
from vedette.judging import Judge, fixed
from vedette.scanned import Service

HERE = ip_address("192.0.2.10")
BOOKWORM = "debian:bookworm"
FLAW = {
    "cve": "CVE-2023-44487",
    "affected": [{"p": "nginx", "vsi": "1.9.5", "vee": "1.25.3", "src": "nvd"}],
}
LATER = {
    "cve": "CVE-2024-7347",
    "affected": [{"p": "nginx", "vsi": "1.5.13", "vee": "1.27.1", "src": "nvd"}],
}
FIXES = {
    "distro": "debian", "release": "bookworm", "package": "nginx", "product": "nginx",
    "fixed": {"CVE-2024-7347": "1.22.1-9+deb12u2"},
}  # fmt: skip
CHANGELOG = """\
nginx (1.22.1-9+deb12u3) bookworm-security; urgency=medium

  * d/p/CVE-2025-23419.patch add (Closes: #1095403)

 -- Somebody <somebody@example.org>  Fri, 07 Feb 2025 14:08:16 +0100

nginx (1.22.1-9+deb12u1) bookworm; urgency=medium

  * Add mitigation for CVE-2023-44487.

 -- Somebody <somebody@example.org>  Mon, 16 Oct 2023 14:08:16 +0100
"""


def debian(root: Path, version: str, *more: str) -> Path:
    """Return a Debian root with nginx in this version, and more such sources."""
    status = [
        f"Package: {name}-common\nStatus: install ok installed\nSource: {name}\nVersion: {found}\n"
        for name, _, found in (line.partition(" ") for line in (f"nginx {version}", *more))
    ]
    (root / "var/lib/dpkg").mkdir(parents=True)
    (root / "var/lib/dpkg/status").write_text("\n".join(status))
    docs = root / "usr/share/doc/nginx-common"
    docs.mkdir(parents=True)
    (docs / "changelog.Debian.gz").write_bytes(gzip.compress(CHANGELOG.encode()))
    return root


def judged(tmp_path: Path, root: Path, banner: str) -> dict[str, int | str]:
    """{CVE: confidence, or why it is left out} of an nginx on this host."""
    knowledge = base(tmp_path / "base.sqlite", [FLAW, LATER], [FIXES])
    judge = Judge(knowledge, None, [HERE], BOOKWORM, 1_790_000_000.0, root)
    key = (HERE, "tcp", 80)
    risk = judge.risks({key: Service("http", "nginx", banner, probed=True)})[key]
    return {
        **{one["finding"]: one["confidence"] for one in [*risk["findings"], *risk["possible"]]
           if one["finding"].startswith("CVE")},
        **{one["finding"]: one["reason"] for one in risk["suppressed"]},
    }  # fmt: skip


def test_the_one_package_of_the_banners_version_is_taken_for_what_listens(tmp_path: Path) -> None:
    """Its changelog and the fixes of its release decide then; the banner names no distribution."""
    root = debian(tmp_path / "root", "1.22.1-9+deb12u1", "redis 5:7.0.15-1~deb12u5")

    assert judged(tmp_path, root, "1.22.1") == {
        "CVE-2023-44487": "fixed_by_distribution",
        "CVE-2024-7347": 85,
    }


@pytest.mark.parametrize(
    ("banner", "more", "confidence"),
    [("1.22.0", (), 80), ("1.22.1", ("nginx2 1.22.1-1",), 30)],  # 30: the release has 1.22.1, too
)
def test_another_version_or_two_packages_prove_nothing(
    tmp_path: Path, banner: str, more: tuple[str, ...], confidence: int
) -> None:
    """Somebody may have built another nginx beside the distribution's."""
    root = debian(tmp_path / "root", "1.22.1-9+deb12u1", *more)

    assert judged(tmp_path, root, banner) == {
        "CVE-2023-44487": confidence,
        "CVE-2024-7347": confidence,
    }


def test_what_a_later_version_fixed_the_installed_one_has_not(tmp_path: Path) -> None:
    """The changelog on disk may be of a newer package than the one asked about."""
    root = debian(tmp_path, "1.22.1-9+deb12u3")

    assert fixed(root, BOOKWORM, "nginx", "1.22.1-9+deb12u1") == {"CVE-2023-44487"}
    assert fixed(root, BOOKWORM, "nginx", "1.22.1-9+deb12u3") == {
        "CVE-2023-44487", "CVE-2025-23419",
    }  # fmt: skip
    assert fixed(root, "alpine:3.20", "nginx", "1.22.1-r9") == frozenset()


def test_a_damaged_changelog_proves_nothing(tmp_path: Path) -> None:
    """A disk may be full while a package is unpacked."""
    root = debian(tmp_path, "1.22.1-9+deb12u3")
    file = root / "usr/share/doc/nginx-common/changelog.Debian.gz"
    file.write_bytes(file.read_bytes()[:-20])

    assert package_files.changelog(root, "nginx") == []


@given(st.text(alphabet="nginx (1.2-3);CVE-20241234\n *"))
def test_any_changelog_is_versions_and_cves(text: str) -> None:
    """Packages of strangers have changelogs, too."""
    for version, cves in package_files.parse_changelog(text):
        assert version
        assert all(cve.startswith("CVE-") for cve in cves)


@pytest.mark.parametrize(
    ("generated", "booted", "why"),
    [(1000, 0, ""), (400, 0, ""), (399, 0, "10 minutes old"), (1000, 1002, "before this host")],
)
def test_a_list_that_nobody_renews_is_not_used(
    tmp_path: Path, generated: int, booted: int, why: str
) -> None:
    """Two periods of the timer; and never what listened before the host was started again."""
    file = tmp_path / "listeners.json"
    file.write_text(f'{{"generated": {generated}, "listeners": []}}')

    assert why in packages.why_not(file, 1000, booted)
    assert bool(packages.why_not(file, 1000, booted)) == bool(why)


def test_two_periods_of_the_timer_are_two_of_its_periods() -> None:
    """The unit and the program say the same."""
    timer = Path(__file__).parents[2] / "systemd/vedette-inventory.timer"
    assert "OnUnitActiveSec=5min\n" in timer.read_text()
    assert packages.MAX_AGE_SECONDS == 2 * 5 * 60


def test_no_list_is_said(tmp_path: Path) -> None:
    """By selfcheck and by the log."""
    with pytest.raises(NotReady, match="No such file"):
        packages.read_fresh(tmp_path / "none", 1000, 0)


def test_a_port_is_judged_once_in_a_run(tmp_path: Path) -> None:
    """A scan asks after each of its chunks; only what has another answer by then costs anything."""
    judge = Judge(base(tmp_path / "base.sqlite", [FLAW], []), None, [HERE], "", 1_790_000_000.0)
    here, other = (HERE, "tcp", 80), (HERE, "tcp", 81)
    old, new = (Service("http", "nginx", version, probed=True) for version in ("1.22.0", "1.22.1"))
    first = judge.risks({here: old, other: old})
    second = judge.risks({here: old, other: new})

    assert second[here] is first[here]
    assert second[other] is not first[other]
