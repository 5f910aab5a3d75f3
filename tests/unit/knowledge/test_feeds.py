"""knowledge/feeds.py: upstream's formats in, one base out; what is broken is named and counted."""

import gzip
import json
import lzma
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import SAMPLES, sample
from tests.unit.bases import APACHE, PRODUCTS
from vedette.errors import KnowledgeError
from vedette.knowledge import build, feeds
from vedette.knowledge.files import documents
from vedette.knowledge.records import Records, bundled_products
from vedette.risk import versions
from vedette.risk.knowledge import Knowledge

FEEDS = SAMPLES / "feeds"
ALL = [
    ("nvd", FEEDS / "nvd"),
    ("overrides", FEEDS / "nvd-overrides"),
    ("kev", FEEDS / "kev"),
    ("epss", FEEDS / "epss" / "epss_scores-2026-07-19.csv"),
    ("debian", FEEDS / "debian" / "tracker.json"),
    ("osv", FEEDS / "osv"),
]


def ours() -> Records:
    records = Records()
    for product, (cpes, name, sources) in PRODUCTS.items():
        records.add_product({"product": product, "cpe": cpes, "nmap": name, "deb_source": sources})
    return records


@pytest.fixture(scope="module")
def found() -> Records:
    return feeds.read(ALL, bundled_products())


@pytest.fixture(scope="module")
def base(found: Records, tmp_path_factory: pytest.TempPathFactory) -> Knowledge:
    path = tmp_path_factory.mktemp("feeds") / "base"
    build.write(found, path, 0.0)
    return Knowledge(path)


def affects(base: Knowledge, product: str, version: str) -> set[str]:
    return {match.cve.name for match in base.matches(product, version)}


def said(base: Knowledge, release: str, package: str, version: str = "0") -> dict[str, str]:
    known = base.package(release, package)
    assert known is not None
    installed = versions.package_key(version, versions.syntax_of(release))
    return {fix.cve.name: f"{fix.state} {fix.version}{fix.word}".strip()
            for fix in base.fixes(known, installed, frozenset(CVES))}  # fmt: skip


CVES = {f"CVE-2099-9000{n}" for n in range(1, 9)} | {"CVE-2024-38472"}


def test_every_feed_is_dated_and_counted(found: Records) -> None:
    """Whoever reads the base can tell how old each of its sources is."""
    assert found.skipped == []
    assert found.epss_model == "v2025.03.14"
    counts = {name: count for name, (_, count) in found.sources.items()}
    assert counts == {
        "debian": 35, "epss": 19, "kev": 10, "nvd": 59, "overrides": 8,
        "osv-bitnami": 8, "osv-debian": 13, "osv-ubuntu": 6,
    }  # fmt: skip
    dates = {name: date for name, (date, _) in found.sources.items()}
    assert (dates["kev"], dates["epss"]) == ("2025-08-25", "2026-07-19")


def test_what_one_record_of_nvd_holds(found: Records) -> None:
    """Score, vector, dates, CISA's decision points; the catalogue adds ransomware."""
    record = found.cves["CVE-2017-10271"]

    assert record["published"] == "2017-10-19"
    assert record["cvss"]["v3"]["score"] == 7.5
    assert record["cvss"]["v2"]["vector"] == "AV:N/AC:L/Au:N/C:N/I:N/A:P"
    assert record["kev"] == {"added": "2022-02-10", "ransomware": True}
    assert record["ssvc"]["exploitation"] == "active"
    assert record["ssvc"]["technical_impact"] == "partial"
    assert record["epss"] == 0.97426
    assert found.cves["CVE-2019-9193"]["disputed"] is True


def test_states_of_nvd(base: Knowledge, found: Records) -> None:
    """What NIST has not looked at comes from an override or from the CVE's own authority."""
    assert "CVE-2099-90006" not in found.cves  # rejected
    assert "CVE-2099-90007" in affects(base, "nginx", "1.22.1")  # awaiting analysis
    assert "CVE-2099-90008" in found.cves  # not scheduled: known by Debian only
    assert found.cves["CVE-2025-1974"]["affected"][0]["src"] == "anchore"
    assert {part["src"] for part in found.cves["CVE-2025-30232"]["affected"]} == {"anchore"}


def test_ranges_of_nvd(base: Knowledge) -> None:
    """Escapes, bounds that exclude, pre-releases, lists of versions, nine products of one CVE."""
    assert "CVE-2025-32433" in affects(base, "erlang_otp", "26.2.5.10")
    assert "CVE-2025-32433" not in affects(base, "erlang_otp", "26.2.5.11")
    assert "CVE-2004-0835" not in affects(base, "mysql", "3.20")
    assert "CVE-2004-0835" in affects(base, "mysql", "3.20.1")
    assert "CVE-2026-2291" in affects(base, "dnsmasq", "2.92")
    assert "CVE-2026-2291" not in affects(base, "dnsmasq", "2.93rc1")
    assert "CVE-2009-1151" in affects(base, "phpmyadmin", "2.11.3rc1")
    assert "CVE-2023-44487" in affects(base, "tomcat", "11.0.0-M11")
    assert "CVE-2023-44487" not in affects(base, "tomcat", "11.0.0-M12")
    assert "CVE-2023-44487" in affects(base, "varnish", "6.0.11")


def test_versions_listed_one_by_one_mean_just_these(base: Knowledge) -> None:
    """9.9 and 9.9p1 are listed, 9.9p2 has the fix."""
    assert "CVE-2025-26465" in affects(base, "openssh", "9.9p1")
    assert "CVE-2025-26465" not in affects(base, "openssh", "9.9p2")


def test_platforms_and_open_ends_stay(base: Knowledge) -> None:
    """An AND of NVD's is a condition; a range without an end is vague."""
    (windows,) = (m for m in base.matches("apache", "2.4.59") if m.cve.name == "CVE-2024-38472")
    (vague,) = (m for m in base.matches("samba", "4.99") if m.cve.name == "CVE-2018-1050")

    assert windows.platforms == ("o:microsoft:windows:-",)
    assert (vague.certain, vague.fixed_in) == (False, "")


def test_states_of_debians_tracker(base: Knowledge) -> None:
    """Open, postponed, unimportant, not affected ("0"), undetermined, end of life."""
    nginx = base.package("debian:bookworm", "nginx")

    assert nginx is not None
    assert (nginx.complete, nginx.shipped) == (True, "1.22.1-9+deb12u11")
    told = said(base, "debian:bookworm", "nginx")
    assert {name: told[name] for name in told if name.startswith("CVE-2099")} == {
        "CVE-2099-90001": "open open",
        "CVE-2099-90002": "open postponed",
        "CVE-2099-90003": "possible unimportant",
        "CVE-2099-90004": "not_affected",
        "CVE-2099-90005": "possible undetermined",
        "CVE-2099-90008": "open ignored",
    }


def test_osv_says_what_releases_have_fixed(tmp_path: Path) -> None:
    """Without the tracker: no `fixed` is open, what was withdrawn is not said, silence is clean."""
    build.write(feeds.read([ALL[0], ALL[5]], ours()), tmp_path / "base", 0.0)
    base = Knowledge(tmp_path / "base")

    told = said(base, "debian:bookworm", "nginx")
    assert told["CVE-2099-90001"] == "open open"
    assert told["CVE-2099-90003"] == "possible unimportant"
    assert "CVE-2099-90006" not in told
    assert said(base, "debian:bookworm", "apache2")["CVE-2024-38472"] == "fixed 2.4.61-1~deb12u1"
    jammy = base.package("ubuntu:jammy", "apache2")
    assert jammy is not None
    assert jammy.complete
    assert "CVE-2021-39226" not in affects(base, "grafana", "7.5.10")  # no product of these
    assert affects(base, "jenkins", "2.462") >= {"CVE-2024-43044"}


def osv(ecosystem: str, fixed: str, name: str = "httpd", **more: Any) -> dict[str, Any]:
    return {
        "id": "RLSA-2024:1", "upstream": ["CVE-2021-41773"], "modified": "2024-01-01T00:00:00Z",
        "affected": [{"package": {"ecosystem": ecosystem, "name": name},
                      "ranges": [{"type": "ECOSYSTEM",
                                  "events": [{"introduced": "0"}, {"fixed": fixed}]}]}],
        **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("ecosystem", "release"),
    [("Rocky Linux:9", "rocky:9"), ("AlmaLinux:8", "almalinux:8"), ("Alpine:v3.20", "alpine:3.20"),
     ("Red Hat:enterprise_linux:9::appstream", "rhel:9"), ("Debian:13", "debian:trixie"),
     ("Ubuntu:24.04:LTS", "ubuntu:noble"), ("Ubuntu:24.10", "ubuntu:oracular"),
     ("Ubuntu:Pro:16.04:LTS", "ubuntu:esm-apps/xenial")],
)  # fmt: skip
def test_osv_knows_releases_by_many_names(tmp_path: Path, ecosystem: str, release: str) -> None:
    """Only who lists what is unfixed too is complete."""
    document = osv(ecosystem, "2.4.51-1", id="X-CVE-2021-41773")
    (tmp_path / "one.json").write_text(json.dumps(document), encoding="utf-8")

    records = feeds.read([("osv", tmp_path)], ours())

    package = records.packages[release, "httpd"]
    assert (package["product"], package["fixes"]) == (
        "apache", [("CVE-2021-41773", "fixed", "2.4.51-1", "", "osv")],
    )  # fmt: skip
    assert package["complete"] == release.startswith(("debian", "ubuntu"))


def test_an_unknown_ecosystem_is_named(tmp_path: Path) -> None:
    """Not guessed at, and not silent."""
    (tmp_path / "one.json").write_text(json.dumps(osv("Debian:99", "1")), encoding="utf-8")

    assert feeds.read([("osv", tmp_path)], ours()).skipped == [
        "OSV ecosystems without a release we know: Debian:99 (1)"
    ]


@pytest.mark.parametrize("pack", ["gz", "xz", "zip", "mirror", "yearly"])
def test_feeds_come_packed_in_many_ways(tmp_path: Path, pack: str) -> None:
    """Yearly feeds are gzip, mirrors xz with one record each, OSV zip."""
    page = sample("feeds/nvd/cves-2.0-page2.json")
    cves = [item["cve"] for item in json.loads(page)["vulnerabilities"]]
    if pack == "gz":
        (tmp_path / "nvdcve-2.0-2025.json.gz").write_bytes(gzip.compress(page))
    elif pack == "xz":
        (tmp_path / "CVE-2025.json.xz").write_bytes(lzma.compress(page))
    elif pack == "zip":
        with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("page.json", page)
    elif pack == "mirror":
        for cve in cves:
            (tmp_path / f"{cve['id']}.json").write_text(json.dumps(cve), encoding="utf-8")
    else:
        (tmp_path / "CVE-2025.json").write_text(json.dumps({"cve_items": cves}), encoding="utf-8")

    records = feeds.read([("nvd", tmp_path)], ours())

    assert records.skipped == []
    assert records.cves["CVE-2025-32433"]["affected"][0]["p"] == "erlang_otp"


def nvd(**fields: Any) -> dict[str, Any]:
    return {
        "id": "CVE-2021-41773", "lastModified": "2024-01-01T00:00:00.000", "metrics": {},
        "published": "2021-10-05T09:15:07.593", "vulnStatus": "Deferred", **fields,
    }  # fmt: skip


def cpe(product: str = "apache:http_server", version: str = "*", update: str = "*",
        edition: str = "*", software: str = "*", **bounds: Any) -> dict[str, Any]:  # fmt: skip
    criteria = f"cpe:2.3:a:{product}:{version}:{update}:*:*:{edition}:{software}:*:*"
    node = {"cpeMatch": [{"vulnerable": True, "criteria": criteria, **bounds}]}
    return {"configurations": [{"nodes": [node]}]}


def from_nvd(tmp_path: Path, *records: dict[str, Any]) -> Records:
    page = {"vulnerabilities": [{"cve": record} for record in records]}
    (tmp_path / "page.json").write_text(json.dumps(page), encoding="utf-8")
    return feeds.read([("nvd", tmp_path / "page.json")], ours())


@pytest.mark.parametrize(
    ("given_", "kept"),
    [(cpe(version="2.4.49"), {"v": "2.4.49"}),
     (cpe(version="-"), {"v": "-"}),
     (cpe(), {}),
     (cpe(version="9.3", update="p1"), {"v": "9.3", "upd": "p1"}),
     (cpe(update="p8", versionEndIncluding="4.2.8"), {"vei": "4.2.8", "upd": "p8"}),
     (cpe(software="windows"), {"tsw": "windows"}),
     (cpe(edition="enterprise", versionEndExcluding="2"), {"vee": "2", "swe": "enterprise"})],
)  # fmt: skip
def test_what_a_cpe_says(tmp_path: Path, given_: dict[str, Any], kept: dict[str, Any]) -> None:
    """`-` is "not given", `*` any; updates belong to the version or the bound."""
    (record,) = from_nvd(tmp_path, nvd(**given_)).cves.values()

    assert record["affected"] == [{"p": "apache", **kept, "src": "nvd"}]


@pytest.mark.parametrize(
    ("version", "kept"),
    [({"version": "0", "lessThan": "2.4.50"}, {"vee": "2.4.50"}),
     ({"version": "2.4.0", "lessThanOrEqual": "2.4.49"}, {"vsi": "2.4.0", "vei": "2.4.49"}),
     ({"version": "2.4.49"}, {"v": "2.4.49"}),
     ({"version": ">= 2.4.1, < 2.4.50"}, {"vsi": "2.4.1", "vee": "2.4.50"}),
     ({"version": "< v2.4.50"}, {"vee": "2.4.50"}),
     ({"version": "n/a"}, {"fallback": True}),
     ({"version": "2.4", "lessThan": "*"}, {"vsi": "2.4"}),
     ({"version": "2.4", "lessThan": "all the rest"}, {"vsi": "2.4", "fallback": True}),
     ({"version": "2.4", "lessThan": "2.5", "changes": [{"at": "2.4.50", "status": "unaffected"}]},
      {"vsi": "2.4", "vee": "2.4.50"})],
)  # fmt: skip
def test_what_a_cves_own_authority_says(
    tmp_path: Path, version: dict[str, Any], kept: dict[str, Any]
) -> None:
    """Used where NIST gives no ranges; what is vague stays vague."""
    entry = {"vendor": "Apache", "product": "HTTP Server",
             "versions": [{"status": "affected", **version},
                          {"status": "unaffected", "version": "1"}]}  # fmt: skip

    (record,) = from_nvd(tmp_path, nvd(affected=[{"affectedData": [entry]}])).cves.values()

    assert record["affected"] == [{"p": "apache", **kept, "src": "cna"}]


def test_the_newest_record_of_a_cve_counts(tmp_path: Path) -> None:
    """Yearly feeds overlap with those of what was modified; a range that was withdrawn is gone."""
    old = nvd(lastModified="2023-01-01T00:00:00.000", **cpe(versionEndExcluding="2.4.99"))

    records = from_nvd(tmp_path, nvd(**cpe(versionEndExcluding="2.4.50")), old)

    (part,) = records.cves["CVE-2021-41773"]["affected"]
    assert part["vee"] == "2.4.50"


def test_feeds_go_over_older_records(tmp_path: Path) -> None:
    """What NVD says today replaces what it said in the records; other sources' words stay."""
    base = ours()
    base.add_cve(APACHE)
    base.add_cve({"cve": "CVE-2021-41773", "affected": [{"p": "apache", "v": "2.4.48",
                                                         "src": "vendor"}]})  # fmt: skip
    base.add_cve({"cve": "CVE-2000-0001", "affected": [{"p": "apache", "v": "1", "src": "nvd"}]})
    page = {"vulnerabilities": [{"cve": nvd(**cpe(versionEndExcluding="2.4.51"))}]}
    (tmp_path / "page.json").write_text(json.dumps(page), encoding="utf-8")

    records = feeds.read([("nvd", tmp_path / "page.json")], base)

    assert [part["src"] for part in records.cves["CVE-2021-41773"]["affected"]] == ["nvd", "vendor"]
    assert records.cves["CVE-2021-41773"]["affected"][0]["vee"] == "2.4.51"
    assert "CVE-2000-0001" in records.cves


BROKEN = [
    nvd(id="CVE-1"), nvd(id=None), nvd(metrics=[]), nvd(configurations=[{}]), nvd(cveTags=7),
    nvd(**cpe(version="9" * 200)), nvd(**cpe("a")),
    nvd(configurations=[{"nodes": [{"cpeMatch": 1}]}]),
    nvd(metrics={"cvssMetricV31": [{"cvssData": {"baseScore": 11}}]}),
]  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_record_is_skipped_and_named(tmp_path: Path, broken: dict[str, Any]) -> None:
    """One in 40,000 does not cost the others, and is counted; unknown fields hurt nobody."""
    good = nvd(id="CVE-2021-0001", surprise=[1], **cpe(version="2.4.1"))

    records = from_nvd(tmp_path, broken, good)

    assert list(records.cves) == ["CVE-2021-0001"]
    assert len(records.skipped) == 1
    assert "page.json" in records.skipped[0]


WHOLE = {
    "nvd": sample("feeds/nvd/cves-2.0-page2.json"),
    "overrides": sample("feeds/nvd-overrides/CVE-2025-1974.json"),
    "kev": sample("feeds/kev/known_exploited_vulnerabilities.json"),
    "epss": sample("feeds/epss/epss_scores-2026-07-19.csv"),
    "debian": sample("feeds/debian/tracker.json"),
    "osv": sample("feeds/osv/debian/DEBIAN-CVE-2024-38472.json"),
}


def surprising(value: Any, depth: int) -> Any:
    """Return JSON with a field more in each object from this depth on."""
    if isinstance(value, list):
        return [surprising(one, depth - 1) for one in value]
    if not isinstance(value, dict):
        return value
    known = {key: surprising(one, depth - 1) for key, one in value.items()}
    return known if depth > 0 else known | {"surprise": {"new": [1, None]}}


@pytest.mark.parametrize(
    ("kind", "depth"),  # the tracker's upper objects are keyed by package, CVE and release
    [("nvd", 0), ("overrides", 0), ("kev", 0), ("debian", 4), ("osv", 0)],
)
def test_fields_that_nobody_knows_change_nothing(tmp_path: Path, kind: str, depth: int) -> None:
    """Formats grow; NVD's got ssvcV203 within a version."""
    found = []
    for name, content in (
        ("plain", WHOLE[kind]),
        ("surprising", json.dumps(surprising(json.loads(WHOLE[kind]), depth)).encode()),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "feed.json").write_bytes(content)
        base = ours()
        base.add_cve(APACHE)
        records = feeds.read([(kind, tmp_path / name / "feed.json")], base)
        found.append((records.cves, records.packages, records.skipped))

    assert b"surprise" not in WHOLE[kind]
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("damage", ["cut", "cut gz", "empty", "text", "list", "deep"])
def test_a_damaged_feed_is_refused_by_name(tmp_path: Path, kind: str, damage: str) -> None:
    """A download that broke off must not look like a smaller world."""
    content = WHOLE[kind]
    path = tmp_path / "feed.json"
    path.write_bytes({
        "cut": content[: len(content) * 2 // 3],
        "cut gz": gzip.compress(content)[:-20],
        "empty": b"",
        "text": b"<html>503</html>",
        "list": b"[]",
        "deep": b"[" * 100_000,
    }[damage])  # fmt: skip

    with pytest.raises(KnowledgeError, match=r"feed\.json"):
        feeds.read([(kind, path)], ours())


def test_a_broken_file_among_many_is_skipped_and_named(tmp_path: Path) -> None:
    """Where each file is one record."""
    (tmp_path / "CVE-2021-41773.json").write_text(json.dumps(nvd(**cpe())), encoding="utf-8")
    (tmp_path / "CVE-2021-41774.json").write_text('{"id": "CVE-20', encoding="utf-8")

    records = feeds.read([("nvd", tmp_path)], ours())

    assert list(records.cves) == ["CVE-2021-41773"]
    assert len(records.skipped) == 1
    assert records.skipped[0].startswith("CVE-2021-41774.json")


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_an_enormous_feed_is_refused(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """Also one that is small as long as nobody unpacks it."""
    path = tmp_path / "feed.json"
    path.write_bytes(pack(b"[" * 10_000))

    with pytest.raises(KnowledgeError, match=r"feed\.json is larger than 9999 bytes"):
        list(documents(path, largest=9_999))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A wrong path is no empty feed."""
    with pytest.raises(KnowledgeError, match=r"none\.json"):
        feeds.read([("kev", tmp_path / "none.json")], ours())


def test_epss_out_of_range_is_skipped(tmp_path: Path) -> None:
    """A probability is one."""
    base = ours()
    base.add_cve(APACHE)
    path = tmp_path / "epss.csv"
    head = "#model_version:v9,score_date:2026-01-01T00:00:00+0000\ncve,epss,percentile\n"
    path.write_text(f"{head}CVE-2021-41773,1.5,1\nCVE-2021-0001,nan,1\nCVE-2021-41773,0.5,0.9\n")

    records = feeds.read([("epss", path)], base)

    assert records.cves["CVE-2021-41773"]["epss"] == 0.5
    assert records.sources["epss"] == ("2026-01-01", 1)
    assert len(records.skipped) == 2


# ---- whatever comes ----

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, documents: list[bytes]) -> bytes:
    """Return a feed with one value, anywhere in it, replaced."""
    document = json.loads(draw(st.sampled_from(documents)))
    at, key = document, None
    while isinstance(at, dict | list) and at and draw(st.integers(0, 9)):
        parent, key = (
            at,
            draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at)))),
        )
        at = parent[key]
    if key is None:
        return json.dumps(draw(JSON)).encode()
    parent[key] = draw(JSON)
    return json.dumps(document).encode()


def small(page: bytes) -> bytes:
    return json.dumps({"vulnerabilities": json.loads(page)["vulnerabilities"][:6]}).encode()


@pytest.mark.parametrize("kind", ["nvd", "overrides", "kev", "debian", "osv"])
def test_any_damage_is_refused_skipped_or_makes_a_base(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Never another error: feeds are others' words."""
    directory = tmp_path_factory.mktemp(kind)
    documents = [WHOLE[kind]]
    if kind == "nvd":
        documents = [small(WHOLE["nvd"]), small(sample("feeds/nvd/cves-2.0-page1.json"))]
    elif kind == "osv":
        documents += [sample("feeds/osv/bitnami/BIT-redis-2025-21605.json")]

    @settings(max_examples=60, deadline=None)
    @given(mutated(documents))
    def holds(content: bytes) -> None:
        path = directory / "feed.json"
        path.write_bytes(content)
        with suppress(KnowledgeError):
            records = feeds.read([(kind, path)], bundled)
            build.write(records, directory / "base", 0.0)
            Knowledge(directory / "base").close()

    bundled = bundled_products()
    holds()
