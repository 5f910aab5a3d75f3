"""README.md: its tables are made from the code, the golden file and the rules.

REGENERATE_GOLDEN=1 writes them anew, as the golden file; look at the difference before you commit.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.ansible.variables import table as variables
from tests.unit.contract import CONTRACT
from tests.unit.rules import table as alerts
from vedette.risk.rule_table import RULES
from vedette.settings import reference

README = Path(__file__).parents[2] / "README.md"
GOLDEN = Path(__file__).parent / "golden" / "metrics.txt"


def metrics() -> str:
    """Return a Markdown table of the contract, with the help texts of the golden file."""
    helps = dict(
        re.findall(r"^# HELP (\S+) (.*)$", GOLDEN.read_text(encoding="utf-8"), re.MULTILINE)
    )
    rows = [
        f"| `{name}` | {kind} | {', '.join(sorted(labels))} | {helps[name]} |"
        for name, (kind, labels) in CONTRACT.items()
        if name in helps
    ]
    return "\n".join(["| metric | type | labels | what it is |", "|---|---|---|---|", *rows]) + "\n"


def rules() -> str:
    """Return a Markdown table of what is risky about a service whatever its version."""
    limits = {
        (False, False): "everywhere",
        (True, False): "off loopback",
        (False, True): "on public addresses",
    }
    rows = [
        f"| `{rule.id}` | {rule.title}; {rule.advice} | {rule.severity:g} | {rule.threat:g}"
        f" | {limits[rule.wider_than_loopback, rule.public_only]}"
        f" | {'a proof' if rule.needs_proof else 'the name of the service'} |"
        for rule in RULES
    ]
    columns = ("rule", "what it is, and what helps", "S", "L", "holds", "takes")
    return "\n".join([f"| {' | '.join(columns)} |", "|---|---|---|---|---|---|", *rows]) + "\n"


@pytest.mark.parametrize(
    ("block", "table"),
    [
        ("rules", rules),
        ("settings", reference),
        ("metrics", metrics),
        ("alerts", alerts),
        ("variables", variables),
    ],
)
def test_the_tables_of_the_readme_are_those_of_the_code(
    block: str, table: Callable[[], str]
) -> None:
    """A setting or a metric that nobody could find in the README would not exist."""
    text = README.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {block}: [^\n]*-->\n)(.*?)(<!-- end of {block} -->)", re.DOTALL)
    made = pattern.sub(lambda found: f"{found[1]}{table()}{found[3]}", text)
    if os.environ.get("REGENERATE_GOLDEN"):
        README.write_text(made, encoding="utf-8")

    assert README.read_text(encoding="utf-8") == made


def test_every_test_that_the_table_of_faults_names_exists() -> None:
    """A promise without its test would be only that."""
    text = README.read_text(encoding="utf-8")
    _, _, table = text.partition("<!-- faults -->\n")
    rows = table.partition("<!-- end of faults -->")[0].splitlines()[2:]
    named = [re.findall(r"\[`(test_\w+)`\]\((tests/[\w/]+\.py)\)", row) for row in rows]
    missing = [
        (test, file)
        for row in named
        for test, file in row
        if f"\ndef {test}(" not in (README.parent / file).read_text(encoding="utf-8")
    ]

    assert len(rows) >= 12
    assert all(named)
    assert missing == []
