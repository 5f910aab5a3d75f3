"""risk/match.py: the distribution's word first, upstream's ranges second, and never too sure."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.bases import APACHE, ON_WINDOWS, base
from vedette.risk import match
from vedette.risk.knowledge import Knowledge
from vedette.scanned import Installed, Service

SSH_FLAW = {
    "cve": "CVE-2024-6387",
    "affected": [{"p": "openssh", "vsi": "8.5p1", "vee": "9.8", "src": "nvd"}],
}


def record(cve: str, product: str, **bounds: Any) -> dict[str, Any]:
    return {"cve": cve, "affected": [{"p": product, "src": "nvd", **bounds}]}


def service(product: str, version: str, extra: str = "") -> Service:
    return Service("x", product, version, extra, probed=True)


def package(version: str, name: str = "openssh", release: str = "debian:bookworm") -> Installed:
    return Installed(release, name, version)


def verdict(
    knowledge: Knowledge, banner: Service, installed: Installed | None = None, **kind: Any
) -> dict[str, int | str]:
    """{CVE: confidence, or why it is left out}."""
    found = match.assess(knowledge, banner, installed, **kind)
    return {
        **{one.cve.name: one.confidence for one in found.affected},
        **{one.cve.name: one.reason for one in found.suppressed},
    }


def fixes(**said: Any) -> dict[str, Any]:
    return {"distro": "debian", "release": "bookworm", "package": "openssh", "product": "openssh",
            **said}  # fmt: skip


@pytest.mark.parametrize(
    ("said", "complete", "version", "expected"),
    [
        (fixes(fixed={"CVE-2024-6387": "1:9.2p1-2+deb12u3"}), False, "1:9.2p1-2+deb12u3",
         "fixed_by_distribution"),
        (fixes(fixed={"CVE-2024-6387": "1:9.2p1-2+deb12u3"}), False, "1:9.2p1-2+deb12u2", 97),
        (fixes(fixed={"CVE-2024-6387": "1:9.2p1-2+deb12u3"}, src="changelog"), False,
         "1:9.2p1-2+deb12u2", 95),
        (fixes(not_affected=["CVE-2024-6387"]), False, "1:9.2p1-2", "not_affected"),
        (fixes(open={"CVE-2024-6387": "postponed"}), False, "1:9.2p1-2", 97),
        (fixes(open={"CVE-2024-6387": "unimportant"}), False, "1:9.2p1-2", 30),
        (fixes(open={"CVE-2024-6387": "needs-triage"}), False, "1:9.2p1-2", 30),
        (fixes(), False, "1:9.2p1-2", 30),  # a partial table: silence means nothing
        (fixes(), True, "1:9.2p1-2", "not_affected"),  # a complete one: it means that it is fine
    ],
)  # fmt: skip
def test_the_distribution_decides(
    tmp_path: Path, said: Mapping[str, Any], *, complete: bool, version: str, expected: int | str
) -> None:
    """Four fifths of what version ranges say of a Debian host is fixed there already."""
    knowledge = base(tmp_path / "base", [SSH_FLAW], [said], complete=complete)

    assert verdict(knowledge, Service(), package(version)) == {"CVE-2024-6387": expected}


def test_the_distribution_decides_also_against_upstream(tmp_path: Path) -> None:
    """A flaw of the packaging itself (CVE-2016-1247 in Debian's nginx) is in no upstream range."""
    flaw = {"cve": "CVE-2016-1247", "affected": []}
    said = fixes(package="nginx", product="nginx", fixed={"CVE-2016-1247": "1.6.2-5+deb8u3"})
    knowledge = base(tmp_path / "base", [flaw], [said])

    found = verdict(knowledge, Service(), package("1.6.2-5+deb8u2", "nginx"))

    assert found == {"CVE-2016-1247": 97}


def test_the_packages_own_changelog_is_heard(tmp_path: Path) -> None:
    """It lies on the host, and is as new as the package."""
    knowledge = base(tmp_path / "base", [SSH_FLAW])
    installed = Installed(
        "debian:bookworm", "openssh", "1:9.2p1-2", fixed=frozenset({"CVE-2024-6387"})
    )
    known = base(tmp_path / "known", [SSH_FLAW], [fixes()])

    assert verdict(known, Service(), installed) == {"CVE-2024-6387": "fixed_by_distribution"}
    assert verdict(knowledge, Service(), package("1:9.2p1-2")) == {"CVE-2024-6387": 30}


def test_a_banner_that_names_the_revision_is_as_good_as_a_package(tmp_path: Path) -> None:
    """OpenSSH of Debian says it; the epoch, which it leaves out, is that of the release's."""
    said = fixes(fixed={"CVE-2024-6387": "1:9.2p1-2+deb12u3"})
    knowledge = base(tmp_path / "base", [SSH_FLAW], [said])

    old, new = (service("OpenSSH", f"9.2p1 Debian 2+deb12u{n}") for n in (2, 3))

    assert verdict(knowledge, old) == {"CVE-2024-6387": 95}
    assert verdict(knowledge, new) == {"CVE-2024-6387": "fixed_by_distribution"}


@pytest.mark.parametrize(
    ("banner", "kind", "confidence"),
    [
        (service("Apache httpd", "2.4.49"), {}, 80),
        (service("Apache httpd", "2.4.49", "(Unix)"), {}, 80),
        (service("Apache httpd", "2.4.49", "(Debian)"), {}, 30),
        (service("Apache httpd", "2.4.49", "(Rocky Linux)"), {}, 30),
        (service("Apache httpd", "2.4.49"), {"host_release": "debian:bookworm"}, 30),
        (service("Apache httpd", "2.4.49"), {"host_release": "debian:trixie"}, 80),
        (service("Apache httpd", "2.4.49"),
         {"host_release": "debian:bookworm", "own_build": True}, 80),
    ],
)  # fmt: skip
def test_upstream_ranges_are_sure_only_of_what_no_distribution_built(
    tmp_path: Path, banner: Service, kind: Mapping[str, Any], confidence: int
) -> None:
    """A build whose revision nobody knows may have been mended under the same version."""
    knowledge = base(
        tmp_path / "base", [APACHE],
        [fixes(package="apache2", product="apache")],
        shipped={("debian:bookworm", "apache2"): "2.4.49-1~deb12u1"},
    )  # fmt: skip

    assert verdict(knowledge, banner, **kind) == {"CVE-2021-41773": confidence}


def test_a_guess_from_the_port_number_matches_nothing(tmp_path: Path) -> None:
    """Nmap's table says http for port 80; that is no version."""
    guessed = Service("http", "Apache httpd", "2.4.49", probed=False)

    assert verdict(base(tmp_path / "base", [APACHE]), guessed) == {}


@pytest.mark.parametrize(
    ("bounds", "version", "confidence"),
    [
        ({"vsi": "9.0", "vee": "9.8"}, "9.8p1", None),
        ({"vsi": "9.0", "vei": "9.7"}, "9.7p1", 80),  # a bound without p covers all of them
        ({"vsi": "9.0", "vei": "9.7p1"}, "9.7p2", None),
        ({"vse": "9.2p1", "vee": "9.8"}, "9.2p1", None),
        ({"v": "9.2"}, "9.2p1", 80),
        ({"v": "9.2", "upd": "-"}, "9.2p1", None),
        ({"v": "9.2", "upd": "p1"}, "9.2p1", 80),
        ({"v": "-"}, "9.2p1", None),
        ({"vs": ["9.1p1", "9.2p1"]}, "9.2p1", 80),
        ({"vs": ["9.1p1", "9.2"]}, "9.2p1", None),
        ({"vs": ["9.1", "9.2"]}, "9.2p1", 80),  # as one bound without p
        ({"vs": ["9.1", "9.2"]}, "9.3p1", None),
        ({"vsi": "9.0"}, "9.2p1", 30),
        ({}, "9.2p1", 30),
        ({"vee": "9.8", "fallback": True}, "9.2p1", 30),
        ({"vee": "9.8", "tsw": "go"}, "9.2p1", 80),
    ],
)
def test_ranges_mean_what_nvd_means_by_them(
    tmp_path: Path, bounds: Mapping[str, Any], version: str, confidence: int | None
) -> None:
    """Open ends and missing bounds are only possible; "-" is no version."""
    knowledge = base(tmp_path / "base", [record("CVE-2099-10001", "openssh", **bounds)])

    found = verdict(knowledge, service("OpenSSH", version))

    assert found == ({} if confidence is None else {"CVE-2099-10001": confidence})


def test_a_platform_binds_the_ranges_of_others_too(tmp_path: Path) -> None:
    """Httpd's own list forgets that CVE-2024-38472 needs Windows; NVD's does not."""
    knowledge = base(tmp_path / "base", [ON_WINDOWS])

    assert verdict(knowledge, service("Apache httpd", "2.4.49")) == {"CVE-2024-38472": "platform"}


def test_a_mended_branch_beats_the_range(tmp_path: Path) -> None:
    """Nginx 1.26.2 lies in 1.5.13 to 1.27.0, and has the fix all the same."""
    flaw = {
        **record("CVE-2024-7347", "nginx", vsi="1.5.13", vei="1.27.0"),
        "fixed_in": {"nginx": ["1.26.2", "1.27.1"]},
    }
    knowledge = base(tmp_path / "base", [flaw])

    assert verdict(knowledge, service("nginx", "1.26.2")) == {"CVE-2024-7347": "fixed_upstream"}
    assert verdict(knowledge, service("nginx", "1.26.1")) == {"CVE-2024-7347": 80}
    assert verdict(knowledge, service("nginx", "1.25.4")) == {"CVE-2024-7347": 80}


def test_jenkins_counts_two_kinds_of_releases(tmp_path: Path) -> None:
    """2.426.3 is long-term, and older by its number than the weekly 2.442 that has the flaw."""
    flaw = {
        "cve": "CVE-2024-23897",
        "affected": [
            {"p": "jenkins", "vee": "2.442", "src": "nvd"},
            {"p": "jenkins", "vee": "2.426.3", "src": "nvd"},
        ],
    }
    knowledge = base(tmp_path / "base", [flaw])

    assert verdict(knowledge, service("Jenkins", "2.426.3")) == {}
    assert verdict(knowledge, service("Jenkins", "2.426.2")) == {"CVE-2024-23897": 80}
    assert verdict(knowledge, service("Jenkins", "2.441")) == {"CVE-2024-23897": 80}


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.275", 80), ("2.276", None), ("2.263.2", 30),  # 2.276.0 is a weekly release
        ("2.300", 80), ("2.303.2", 80), ("2.303.3", None), ("2.310", 80), ("2.318", None),
    ],
)  # fmt: skip
def test_the_bound_of_one_kind_of_jenkins_is_not_sure_of_the_other(
    tmp_path: Path, version: str, expected: int | None
) -> None:
    """Unless the other has a bound of its own, which is higher."""
    weekly = record("CVE-2021-21615", "jenkins", vee="2.276.0")
    both = {
        "cve": "CVE-2021-21685",
        "affected": [
            {"p": "jenkins", "vee": "2.303.3", "src": "nvd"},
            {"p": "jenkins", "vsi": "2.304", "vee": "2.318", "src": "nvd"},
        ],
    }
    knowledge = base(tmp_path / "base", [weekly if version < "2.3" else both])

    assert list(verdict(knowledge, service("Jenkins", version)).values()) == [
        confidence for confidence in (expected,) if confidence
    ]


def test_where_a_source_is_known_to_be_wrong_the_projects_word_holds(tmp_path: Path) -> None:
    """Bitnami gives one bound, 2.452.1, for what Jenkins mended in 2.426.3 and in 2.442."""
    flaw = {
        "cve": "CVE-2024-23897",
        "affected": [{"p": "jenkins", "vee": "2.452.1", "src": "bitnami"}],
    }
    knowledge = base(tmp_path / "base", [flaw])
    found = {
        version: verdict(knowledge, service("Jenkins", version))
        for version in ("2.426.2", "2.426.3", "2.440.1", "2.441", "2.442", "2.451")
    }

    assert [version for version, said in found.items() if said] == ["2.426.2", "2.441"]


@pytest.mark.parametrize(
    ("version", "fixed_in"), [("8.0.36", "8.0.38"), ("8.3.0", "8.4.1"), ("5.7.40", "8.0.38")]
)
def test_the_fix_is_named_that_is_the_least_step(
    tmp_path: Path, version: str, fixed_in: str
) -> None:
    """Within the branch, if it has one; not the newest branch's."""
    flaw = {
        "cve": "CVE-2024-21179",
        "affected": [
            {"p": "mysql", "vee": "8.0.38", "src": "nvd"},
            {"p": "mysql", "vsi": "8.1", "vee": "8.4.1", "src": "nvd"},
        ],
    }
    knowledge = base(tmp_path / "base", [flaw])
    (found,) = match.assess(knowledge, service("MySQL", version)).affected

    assert found.fixed_in == fixed_in


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.24.0-1~bookworm", 80), ("1.24.0-1~bookworm1", 80), ("1.22.1-9+deb12u1", 30),
        ("1.24.0-1~bpo12+1", 30), ("1.24.0-1.pgdg120+1", 80), ("1:1.24.0+maria~deb12", 80),
        ("6:1.24.0-1rl1~bookworm1", 80), ("1.24.0-1ubuntu1~jammy1~ppa", 30),
    ],
)  # fmt: skip
def test_a_package_that_the_project_built_has_none_of_the_distributions_fixes(
    tmp_path: Path, version: str, expected: int
) -> None:
    """nginx.org's 1.24.0-1~bookworm sorts after each fix of Debian's 1.22.1-9, and has none."""
    flaw = record("CVE-2023-44487", "nginx", vee="1.25.3")
    knowledge = base(tmp_path / "base", [flaw])

    assert verdict(knowledge, Service(), package(version, "nginx")) == {"CVE-2023-44487": expected}


def test_the_version_that_nmap_guesses_of_any_samba_is_none(tmp_path: Path) -> None:
    """4.6.2 is what nmap 7.93 prints of Debian's 4.17.12; CVE-2017-7494 is in 4.6.3 and older."""
    record_ = record("CVE-2017-7494", "samba", vsi="3.5.0", vee="4.6.4")
    knowledge = base(tmp_path / "base", [record_])

    assert verdict(knowledge, service("Samba smbd", "4.6.2")) == {}
    assert verdict(knowledge, service("Samba smbd", "4.6.3")) == {"CVE-2017-7494": 80}


def test_the_changelog_is_heard_of_a_package_that_the_base_does_not_know(tmp_path: Path) -> None:
    """Debian 12's varnish, of whose fixes the bundled base says nothing."""
    flaws = [record(cve, "nginx", vee="1.25.3") for cve in ("CVE-2023-44487", "CVE-2099-10001")]
    knowledge = base(tmp_path / "base", flaws)
    installed = replace(package("1.22.1-9", "nginx"), fixed=frozenset({"CVE-2023-44487"}))

    assert verdict(knowledge, Service(), installed) == {
        "CVE-2023-44487": "fixed_by_distribution",
        "CVE-2099-10001": 30,
    }


def test_a_package_of_an_unknown_release_is_never_sure(tmp_path: Path) -> None:
    """Some distribution built it, with fixes of its own or without."""
    flaw = record("CVE-2023-44487", "nginx", vee="1.25.3")
    knowledge = base(tmp_path / "base", [flaw])

    assert verdict(knowledge, Service(), package("1.22.1-9", "nginx", "")) == {"CVE-2023-44487": 30}


def test_what_the_project_disputes_is_left_out(tmp_path: Path) -> None:
    """Unless it is used in the wild."""
    flaw = record("CVE-2099-10002", "nginx", vee="2.0") | {"disputed": True}
    used = record("CVE-2099-10003", "nginx", vee="2.0") | {
        "disputed": True, "kev": {"added": "2099-01-01"},
    }  # fmt: skip
    knowledge = base(tmp_path / "base", [flaw, used])

    assert verdict(knowledge, service("nginx", "1.0")) == {
        "CVE-2099-10002": "disputed",
        "CVE-2099-10003": 80,
    }


def test_flaws_of_the_client_are_never_sure_on_a_port(tmp_path: Path) -> None:
    """OpenSSH's package holds both; nobody reaches ssh-agent through port 22."""
    flaw = record("CVE-2023-38408", "openssh", vee="9.3p2")
    said = fixes(open={"CVE-2023-38408": "needed"})

    knowledge = base(tmp_path / "base", [flaw])
    decided = base(tmp_path / "decided", [flaw], [said])

    assert verdict(knowledge, service("OpenSSH", "9.2p1")) == {"CVE-2023-38408": 30}
    assert verdict(decided, Service(), package("1:9.2p1-2")) == {"CVE-2023-38408": 30}


@pytest.mark.parametrize(
    ("version", "ordinary", "extended", "expected"),
    [
        # Installed from the ordinary archive, which leaves it open.
        ("4.0.9-1ubuntu0.2", {"open": "ignored"}, {"fixed": "4.0.9-1ubuntu0.2+esm3"}, 97),
        ("4.0.9-1ubuntu0.3", {"open": "ignored"}, {"fixed": "4.0.9-1ubuntu0.2+esm3"}, 97),
        ("4.0.9-1ubuntu0.2+esm2", {"open": "ignored"}, {"fixed": "4.0.9-1ubuntu0.2+esm3"}, 97),
        ("4.0.9-1ubuntu0.2+esm3", {"open": "ignored"}, {"fixed": "4.0.9-1ubuntu0.2+esm3"}, None),
        # What the extended archive knows of the same code, without having had to mend it there.
        ("4.0.9-1ubuntu0.2", {"open": "needed"}, {"not_affected": ""}, None),
        ("4.0.9-1ubuntu0.2", {"open": "needed"}, {"fixed": "4.0.9-1"}, None),
    ],
)
def test_extended_maintenance_counts_where_it_was_installed_from(
    tmp_path: Path,
    version: str,
    ordinary: Mapping[str, str],
    extended: Mapping[str, str],
    expected: int | None,
) -> None:
    """Ubuntu's esm archives; the version tells. No upstream range speaks of this one."""

    def said(release: str, what: Mapping[str, str]) -> dict[str, Any]:
        row = {"distro": "ubuntu", "release": release, "package": "redis", "product": "redis"}
        ((state, word),) = what.items()
        return row | {state: {"CVE-2021-41099": word} if word else ["CVE-2021-41099"]}

    knowledge = base(
        tmp_path / "base",
        [{"cve": "CVE-2021-41099", "affected": []}],
        [said("bionic", ordinary), said("esm-apps/bionic", extended)],
    )

    found = verdict(knowledge, Service(), package(version, "redis", "ubuntu:bionic"))

    assert found == ({} if expected is None else {"CVE-2021-41099": expected})


def test_who_has_no_extended_maintenance_is_told_that_the_fix_is_there(tmp_path: Path) -> None:
    """Whatever the numbers: an ordinary update sorts after what was mended for subscribers."""
    said = fixes(distro="ubuntu", release="esm-infra/xenial", package="apache2", product="apache",
                 fixed={"CVE-2021-41773": "2.4.18-2ubuntu3.17+esm9"})  # fmt: skip
    knowledge = base(tmp_path / "base", [{"cve": "CVE-2021-41773", "affected": []}], [said])

    def found(version: str) -> list[tuple[int, str, str]]:
        installed = package(version, "apache2", "ubuntu:xenial")
        affected = match.assess(knowledge, Service(), installed).affected
        return [(one.confidence, one.fixed_in, one.why) for one in affected]

    for version in ("2.4.18-2ubuntu3.17", "2.4.18-2ubuntu3.18"):
        why = f"apache2 {version} of ubuntu:xenial lacks the fix of extended maintenance"
        assert found(version) == [(97, "2.4.18-2ubuntu3.17+esm9", f"{why} (Ubuntu Pro)")]
    assert found("2.4.18-2ubuntu3.17+esm8")[0][2].endswith("lacks the fix")
    assert found("2.4.18-2ubuntu3.17+esm9") == []


def test_one_source_that_knows_the_fix_is_enough(tmp_path: Path) -> None:
    """Trackers lack today's uploads, changelogs what nobody named; also outside upstream ranges."""
    knowledge = base(
        tmp_path / "base",
        [{"cve": "CVE-2099-10001", "affected": []}],
        [
            fixes(open={"CVE-2099-10001": "postponed"}),
            fixes(fixed={"CVE-2099-10001": "1:9.2p1-3"}, src="changelog"),
        ],
    )

    assert verdict(knowledge, Service(), package("1:9.2p1-3")) == {}
    assert verdict(knowledge, Service(), package("1:9.2p1-2")) == {"CVE-2099-10001": 95}


def test_an_edition_has_its_flaws_for_itself(tmp_path: Path) -> None:
    """BIND's supported preview: CVE-2023-5680 is in 9.18.18-S1, not in 9.18.18."""
    flaw = record("CVE-2023-5680", "bind", vsi="9.18.11-S1", vee="9.18.24-S1")
    knowledge = base(tmp_path / "base", [flaw, record("CVE-2099-10001", "bind", vei="9.18.20")])
    both = {"CVE-2023-5680": 80, "CVE-2099-10001": 80}

    assert verdict(knowledge, service("ISC BIND", "9.18.18")) == {"CVE-2099-10001": 80}
    assert verdict(knowledge, service("ISC BIND", "9.18.18-S1")) == both


def test_mysqls_ranges_speak_of_their_own_branch(tmp_path: Path) -> None:
    """Oracle lists every branch that is affected: "8.0.12 and prior" is not said of 5.7."""
    knowledge = base(tmp_path / "base", [record("CVE-2018-3137", "mysql", vei="8.0.12")])

    assert verdict(knowledge, service("MySQL", "8.0.11")) == {"CVE-2018-3137": 80}
    assert verdict(knowledge, service("MySQL", "5.7.33-log")) == {"CVE-2018-3137": 30}


def test_programs_that_share_a_record_are_not_told_apart(tmp_path: Path) -> None:
    """CVE-2018-16855 is in PowerDNS Recursor before 4.1.8; the other server was at 4.1.5 then."""
    knowledge = base(tmp_path / "base", [record("CVE-2018-16855", "powerdns", vee="4.1.8")])

    assert verdict(knowledge, service("PowerDNS", "4.1.5")) == {"CVE-2018-16855": 30}


def test_a_port_to_windows_is_not_the_original(tmp_path: Path) -> None:
    """CVE-2024-6387 needs glibc's syslog; no range says so."""
    knowledge = base(tmp_path / "base", [SSH_FLAW])

    assert verdict(knowledge, service("OpenSSH", "for_Windows_9.5")) == {"CVE-2024-6387": 30}


def test_minios_versions_are_points_in_time(tmp_path: Path) -> None:
    """NVD writes 2023-03-20t20-16-18z, Bitnami 2023.03.20, the server RELEASE. before it."""
    flaw = {
        "cve": "CVE-2023-28432",
        "affected": [
            {"p": "minio", "vee": "2023-03-20t20-16-18z", "src": "nvd"},
            {"p": "minio", "vsi": "2019.12.17", "vee": "2023.03.20", "src": "bitnami"},
        ],
    }
    knowledge = base(tmp_path / "base", [flaw])

    prefixed = {"p": "minio", "vee": "release.2023-03-20t20-16-18z", "src": "nvd"}
    likewise = base(tmp_path / "other", [{**flaw, "affected": [prefixed]}])
    old, new = (service("MinIO", f"RELEASE.2023-03-{day}-16-18Z") for day in ("13T19", "20T20"))

    for one in (knowledge, likewise):
        assert verdict(one, old) == {"CVE-2023-28432": 80}
        assert verdict(one, new) == {}


def test_a_package_built_again_for_a_release_has_all_of_the_original(tmp_path: Path) -> None:
    """7.0.15-1~deb12u1 is 7.0.15-1 for Debian 12, and sorts before it."""
    said = fixes(package="redis", product="redis", fixed={"CVE-2023-41056": "5:7.0.15-1"})
    flaw = {"cve": "CVE-2023-41056", "affected": []}
    knowledge = base(tmp_path / "base", [flaw], [said])

    assert verdict(knowledge, Service(), package("5:7.0.15-1~deb12u10", "redis")) == {}
    assert verdict(knowledge, Service(), package("5:7.0.14-1~deb12u10", "redis")) == {
        "CVE-2023-41056": 97
    }


def test_what_only_windows_has_is_found_there(tmp_path: Path) -> None:
    """CVE-2024-38472: Apache httpd on Windows."""
    knowledge = base(tmp_path / "base", [ON_WINDOWS])

    assert verdict(knowledge, service("Apache httpd", "2.4.49", "(Win64)")) == {
        "CVE-2024-38472": 80
    }
    assert verdict(knowledge, service("Apache httpd", "2.4.49", "(Unix)")) == {
        "CVE-2024-38472": "platform"
    }


@pytest.mark.parametrize(
    ("product", "bounds", "version", "confidence"),
    [
        # A range from 9.0.0 on has its milestones, which came before it; not what was in the works.
        ("Apache Tomcat", {"vsi": "9.0.0", "vee": "9.0.31"}, "9.0.0.M1", 80),
        ("Apache Tomcat", {"vsi": "9.0.0", "vee": "9.0.31"}, "9.0.0-RC2", 80),
        ("Apache Tomcat", {"vsi": "9.0.0", "vee": "9.0.31"}, "9.0.0-dev", None),
        ("Apache Tomcat", {"vsi": "9.0.0", "vee": "9.0.31"}, "8.5.99", None),
        ("Apache Tomcat", {"vse": "9.0.0", "vee": "9.0.31"}, "9.0.0.M1", None),
        ("Apache Tomcat", {"vsi": "9.0.1", "vee": "9.0.31"}, "9.0.1.M1", None),
        # pN is OpenSSH's release for others; elsewhere it is a patch, within the bound or beyond.
        ("NTP", {"vei": "4.2.8"}, "4.2.8p15", 30),
        ("NTP", {"vei": "4.2.8"}, "4.2.7p26", 80),
        ("NTP", {"vei": "4.2.8", "upd": "p12"}, "4.2.8p15", None),
        ("NTP", {"vei": "4.2.8", "upd": "p12"}, "4.2.8p12", 80),
        # Jetty's releases bear the day of their build, and so do records.
        ("Jetty", {"vei": "9.4.6"}, "9.4.6.v20170531", 80),
        ("Jetty", {"vei": "9.4.6", "upd": "20170531"}, "9.4.6.v20170531", 80),
        ("Jetty", {"vei": "9.4.6", "upd": "20170531"}, "9.4.7.v20170914", None),
        ("Jetty", {"vs": ["9.3.020150601", "9.3.1120160721"]}, "9.3.11.v20160721", 80),
        ("Jetty", {"vs": ["9.3.020150601", "9.3.1120160721"]}, "9.3.12.v20160915", None),
        ("Apache Tomcat", {"vei": "9.0.30"}, "9.0.x", None),  # no version
    ],
)
def test_versions_that_are_written_in_ways_of_their_own(
    tmp_path: Path, product: str, bounds: Mapping[str, Any], version: str, confidence: int | None
) -> None:
    """Whoever compares them letter by letter misses some and invents others."""
    name = {"Apache Tomcat": "tomcat", "NTP": "ntp", "Jetty": "jetty"}[product]
    knowledge = base(tmp_path / "base", [record("CVE-2099-10001", name, **bounds)])

    found = verdict(knowledge, service(product, version))

    assert found == ({} if confidence is None else {"CVE-2099-10001": confidence})


@pytest.mark.parametrize(
    ("version", "confidence"),
    [("15.00.2000.5; RTM", 80), ("15.00.2116.2", 30), ("15.00.4300.1", 30), ("15.00.4382.1", None)],
)
def test_sql_server_is_mended_on_two_tracks(
    tmp_path: Path, version: str, confidence: int | None
) -> None:
    """15.0.2116.2 is the mended first release, and less than the mended cumulative update."""
    parts = [{"p": "mssql", "vsi": "15.0.0", "vee": end, "src": "cna"}
             for end in ("15.0.2116.2", "15.0.4382.1")]  # fmt: skip
    knowledge = base(tmp_path / "base", [{"cve": "CVE-2024-20701", "affected": parts}])

    found = verdict(knowledge, service("Microsoft SQL Server 2019", version))

    assert found == ({} if confidence is None else {"CVE-2024-20701": confidence})


@pytest.mark.parametrize(
    ("version", "confidence"),
    [("9.9.7-P1", 80), ("9.9.7-P2", 30), ("9.10.2-P2", 80), ("9.10.2-P3", None), ("9.8.1", 80)],
)
def test_ranges_without_a_beginning_are_of_their_branches(
    tmp_path: Path, version: str, confidence: int | None
) -> None:
    """9.9.7-P2 has the fix of 9.9, though it is less than 9.10.2-P2."""
    parts = [{"p": "bind", "vei": "9.9.7", "upd": "p1", "src": "nvd"},
             {"p": "bind", "vei": "9.10.2", "upd": "p2", "src": "nvd"}]  # fmt: skip
    knowledge = base(tmp_path / "base", [{"cve": "CVE-2015-5477", "affected": parts}])

    found = verdict(knowledge, service("ISC BIND", version))

    assert found == ({} if confidence is None else {"CVE-2015-5477": confidence})


def test_what_a_release_ships_can_be_told_from_its_fixes(tmp_path: Path) -> None:
    """nginx/1.18.0 beside Ubuntu's OpenSSH: nobody has said what jammy's archive holds."""
    mended = {"CVE-2021-23017": "1.18.0-6ubuntu11", "CVE-2019-9511": "1.16.1-0ubuntu1"}
    said = fixes(distro="ubuntu", release="jammy", package="nginx", product="nginx", fixed=mended)
    flaws = [record("CVE-2021-23017", "nginx", vee="1.20.1"),
             record("CVE-2019-9511", "nginx", vee="1.17.3")]  # fmt: skip
    knowledge = base(tmp_path / "base", flaws, [said])

    def found(version: str) -> object:
        return verdict(knowledge, service("nginx", version), host_release="ubuntu:jammy")

    assert found("1.18.0") == {"CVE-2021-23017": 30}
    assert found("1.20.0") == {"CVE-2021-23017": 80}


def test_a_banners_revision_counts_where_the_release_is_known(tmp_path: Path) -> None:
    """BIND prints its package's version, and not whose release that is."""
    said = fixes(distro="ubuntu", release="jammy", package="bind9", product="bind",
                 fixed={"CVE-2022-3094": "1:9.18.1-1ubuntu1.3"})  # fmt: skip
    knowledge = base(tmp_path / "base", [record("CVE-2022-3094", "bind", vee="9.18.11")], [said])

    def found(version: str, release: str = "ubuntu:jammy") -> object:
        return verdict(knowledge, service("ISC BIND", version), host_release=release)

    assert found("9.18.1-1ubuntu1.2-Ubuntu") == {"CVE-2022-3094": 95}
    assert found("9.18.1-1ubuntu1.3-Ubuntu") == {"CVE-2022-3094": "fixed_by_distribution"}
    assert found("9.18.1-1ubuntu1.3-Ubuntu", "") == {"CVE-2022-3094": 30}
    assert found("9.18.1-1ubuntu1.3-Ubuntu", "debian:bookworm") == {"CVE-2022-3094": 30}


def test_a_fix_that_was_not_complete_is_none(tmp_path: Path) -> None:
    """2.4.50 mended CVE-2021-41773, and has CVE-2021-42013, which is used as well."""
    parts = [{"p": "apache", "vsi": "2.4.49", "vee": "2.4.50", "src": "bitnami"},
             {"p": "apache", "vsi": "2.4.50", "vee": "2.4.51", "src": "bitnami"}]  # fmt: skip
    follow_up = {**APACHE, "cve": "CVE-2021-42013", "affected": parts}
    older = {"p": "apache", "vsi": "2.4.0", "vee": "2.4.60", "src": "nvd"}
    another = {**APACHE, "cve": "CVE-2024-38475", "affected": [older]}
    knowledge = base(tmp_path / "base", [APACHE, follow_up, another])

    found = match.assess(knowledge, service("Apache httpd", "2.4.49"))

    told = {one.cve.name: (one.fixed_in, one.instead) for one in found.affected}
    why = "2.4.50 still has CVE-2021-42013, known to be exploited as well"
    assert told == {
        "CVE-2021-41773": ("2.4.51", why),
        "CVE-2021-42013": ("2.4.51", ""),
        "CVE-2024-38475": ("2.4.60", ""),
    }


@pytest.mark.parametrize(
    ("release", "version", "found"),
    [
        ("rhel:9", "2.4.49-11.el9_2.4", 97),
        ("rhel:9.2", "2.4.49-11.el9_2.4", 97),
        ("rhel:9.2", "2.4.49-11.el9_2.5", "fixed_by_distribution"),
        ("ol:9", "2.4.49-11.el9_2.4", 30),  # nothing is known of it, not even the package's name
    ],
)
def test_a_point_release_has_the_fixes_of_its_release(
    tmp_path: Path, release: str, version: str, found: object
) -> None:
    """And a package that the base does not know may have fixes of its own."""
    said = fixes(distro="rhel", release="9", package="httpd", product="apache", src="osv",
                 fixed={"CVE-2021-41773": "0:2.4.49-11.el9_2.5"})  # fmt: skip
    knowledge = base(tmp_path / "base", [APACHE], [said])

    here = package(version, "httpd", release)

    assert verdict(knowledge, service("Apache httpd", "2.4.49"), here) == {"CVE-2021-41773": found}
