"""edges/acceptances.py: findings accepted for a reason and until a day."""

from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import pytest

from vedette.edges import acceptances

HERE, ELSEWHERE = ip_address("192.0.2.10"), ip_address("192.0.2.11")
TODAY = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()
DAY = 86_400
ONE = "- {finding: CVE-2023-44487, reason: HTTP/2 is off, expires: 2026-11-22}\n"


def read(path: Path, text: str) -> tuple[acceptances.Acceptance, ...]:
    path.write_text(text)
    return acceptances.read(path)


def test_it_holds_to_the_end_of_its_last_day(tmp_path: Path) -> None:
    """Then the finding returns by itself."""
    accepted = read(tmp_path / "accepted.yaml", ONE)

    assert set(acceptances.valid(accepted, HERE, 443, TODAY)) == {"CVE-2023-44487"}
    assert acceptances.valid(accepted, HERE, 443, TODAY + DAY) == {}


def test_it_holds_where_it_says(tmp_path: Path) -> None:
    """On one port, on one address, or everywhere; of two, the one that lasts longer."""
    accepted = read(
        tmp_path / "accepted.yaml",
        """
        - {finding: RULE-CLEARTEXT-FTP, port: 21, reason: a, expires: 2027-01-01}
        - {finding: RULE-SNMP-V1V2C, address: 192.0.2.10, reason: b, expires: 2027-01-01}
        - {finding: RULE-TFTP, reason: c, expires: 2027-01-01}
        - {finding: RULE-TFTP, reason: d, expires: 2027-02-01}
        """,
    )

    here = acceptances.valid(accepted, HERE, 21, TODAY)

    assert {name: one.reason for name, one in here.items()} == {
        "RULE-CLEARTEXT-FTP": "a", "RULE-SNMP-V1V2C": "b", "RULE-TFTP": "d",
    }  # fmt: skip
    assert set(acceptances.valid(accepted, ELSEWHERE, 2121, TODAY)) == {"RULE-TFTP"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "must be a list"),
        ("", "must be a list"),
        ("[1", "is no YAML"),
        ("- 1", "entry 1: must have finding"),
        (ONE + ONE.replace("reason", "because"), "entry 2: unknown key 'because'"),
        (ONE.replace("CVE-2023-44487", "CVE-44487"), "finding must be like"),
        (ONE.replace("HTTP/2 is off", "''"), "reason must say why"),
        (ONE.replace("2026-11-22", "soon"), "expires must be a day"),
        (ONE.replace("2026-11-22", "2026-11-22 12:00:00"), "expires must be a day"),
        (ONE.replace("}", ", port: 0}"), "port must be"),
        (ONE.replace("}", ", port: true}"), "port must be"),
        (ONE.replace("}", ", address: here}"), "address must be"),
        ("#" * (2 << 20), "larger than"),
    ],
)
def test_what_is_no_such_list_is_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    """An acceptance that nobody reads as it was meant would hide a finding, or not."""
    with pytest.raises(ValueError, match=words):
        read(tmp_path / "accepted.yaml", text)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """It was asked for."""
    with pytest.raises(ValueError, match="cannot be read"):
        acceptances.read(tmp_path / "none.yaml")
