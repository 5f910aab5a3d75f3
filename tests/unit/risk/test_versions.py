"""risk/versions.py: the orders of versions, against dpkg itself where it is here."""

import shutil
import subprocess
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.risk import versions
from vedette.risk.versions import canonical, key, package_key, usable

TEXTS = st.text(alphabet="0123456789abcmprv.+~-_ :Ω", max_size=24)


@pytest.mark.parametrize(
    "ascending",
    [
        ("1.0.1f", "1.0.1g"),
        ("1.0.2", "1.0.2l", "1.0.2m", "1.0.2n", "1.0.3"),
        ("1.3.5rc4", "1.3.5", "1.3.5a"),
        ("9.2", "9.3", "9.3p1", "9.3p2", "9.4", "9.10"),
        ("9.10.2", "9.10.2-P2"),
        ("11.0.0-M1", "11.0.0-M2", "11.0.0", "11.0.1"),
        ("2.93-dev", "2.93beta2", "2.93rc1", "2.93"),
        ("0.2", "0.2-P1", "0.2.1"),
        ("2023-03-20t20-16-18z", "2023-03-24t00-00-00z"),
    ],
)
def test_upstream_versions_have_the_order_of_their_projects(ascending: tuple[str, ...]) -> None:
    """Letters follow, pre-releases precede, `m` is a milestone only before a number."""
    for lower, higher in pairwise(ascending):
        assert key(lower) < key(higher)


@pytest.mark.parametrize(("one", "same"), [("1.0", "1.0.0"), ("0.2.0", "0.2"), ("1.0RC1", "1rc1")])
def test_zeros_that_say_nothing_are_nothing(one: str, same: str) -> None:
    """Or the order would not be transitive: 0.2.0 = 0.2 < 0.2-P1 < 0.2.0."""
    assert (key(one), canonical(one)) == (key(same), canonical(same))


@given(TEXTS, TEXTS, TEXTS)
def test_the_order_is_total_whatever_the_text(a: str, b: str, c: str) -> None:
    """Keys are bytes: they cannot disagree with one another; equal ones are the same version."""
    low, middle, high = sorted([a, b, c], key=key)

    assert key(low) <= key(middle) <= key(high)
    assert (key(a) == key(b)) == (canonical(a) == canonical(b))


@given(st.sampled_from(["dpkg", "rpm", "apk"]), st.text(max_size=40))
def test_any_text_has_a_place_among_packages(syntax: versions.Syntax, text: str) -> None:
    """Versions come from files that others have written."""
    assert isinstance(package_key(text, syntax), bytes)


@pytest.mark.parametrize("text", ["9.2p1", "1.22.1", "2023-03-20t20-16-18z", "4.17.12+dfsg"])
def test_what_looks_like_a_version_can_be_compared(text: str) -> None:
    """The usual ones."""
    assert usable(text)


@pytest.mark.parametrize(
    "text",
    ["", "0", "0.0", "9999999999.1", "1" * 10_000, "10.3.23 or earlier", "3.X - 4.X", "1.2\n3",
     "v1.2", "for_1", "1.2\x1b[2J", "١.٢"],  # noqa: RUF001 - digits of another script
)  # fmt: skip
def test_what_is_no_version_is_not_compared(text: str) -> None:
    """Hostile banners claim what they like, and nmap guesses."""
    assert not usable(text)


EPOCHS = st.sampled_from(["", "0:", "1:", "12:"])
PART = st.text(alphabet="0123456789ab.+~", max_size=7)
DEBIAN = st.builds(
    lambda epoch, upstream, revision: f"{epoch}1{upstream}{f'-{revision}' if revision else ''}",
    EPOCHS, PART, PART,
)  # fmt: skip


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="no dpkg to compare with")
@settings(max_examples=150, deadline=None)
@given(DEBIAN, DEBIAN)
def test_package_versions_have_the_order_of_dpkg(a: str, b: str) -> None:
    """The oracle is dpkg itself."""
    x, y = package_key(a, "dpkg"), package_key(b, "dpkg")
    relation = "gt" if x > y else "lt" if x < y else "eq"

    done = subprocess.run(["dpkg", "--compare-versions", a, relation, b], check=False)  # noqa: S603, S607

    assert done.returncode == 0


@pytest.mark.parametrize(
    ("syntax", "ascending"),
    [
        ("dpkg", ("1:9.2p1-2+deb12u2", "1:9.2p1-2+deb12u3", "1:9.2p1-2+deb12u10")),
        ("dpkg", ("2.4.62-1~deb12u2", "2.4.62-1", "1:2.0-1")),
        ("rpm", ("1.0~rc1-1", "1.0-1.el8", "1.0-1.el9", "1.0^git1-1", "1.0.1-1", "1:0.1-1")),
        ("rpm", ("1.a", "1.1", "1.10")),
        ("apk", ("1.2.3_alpha1-r0", "1.2.3_rc1-r0", "1.2.3-r0", "1.2.3-r2", "1.2.3_p1-r0")),
        ("apk", ("1.2", "1.2.0", "1.2.3", "1.2.3a", "1.10")),
    ],
)
def test_package_versions_have_the_order_of_their_managers(
    syntax: versions.Syntax, ascending: tuple[str, ...]
) -> None:
    """Rows of rpm's and apk's own test suites' kind, checked by hand."""
    for lower, higher in pairwise(ascending):
        assert package_key(lower, syntax) < package_key(higher, syntax)
