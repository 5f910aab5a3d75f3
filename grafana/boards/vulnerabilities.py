"""Vulnerabilities: what was found, where, how bad it is, and by when it should be gone."""

from grafana.boards.board import TO_HOST_OF_BAR, TO_HOST_OF_CELL, Board, Section
from grafana.boards.panels import (
    ANY,
    PLAIN,
    RISK,
    SOME,
    Column,
    Query,
    bars,
    rows,
    single,
    time_series,
)

_SEVERITY_WORDS = {
    "critical": ("critical", "red"),
    "high": ("high", "orange"),
    "medium": ("medium", "yellow"),
    "low": ("low", "green"),
}


def _found(severity: str) -> str:
    return (
        "sum(instance_severity:vedette_findings:sum{instances,"
        f' severity="{severity}"}}) or 0 * count(instance:vedette_host_risk_score:max{{instances}})'
    )


def _by_host(severity: str) -> str:
    return (
        "sum by (instance) (instance_severity:vedette_findings:sum{instances,"
        f' severity="{severity}"}})'
        " or 0 * max by (instance) (instance:vedette_host_risk_score:max{instances})"
    )


NOW = (
    single(
        "Critical findings",
        "Confirmed findings with a score of 9 or more.",
        "none",
        _found("critical"),
        steps=((None, "green"), (1, "red")),
    ),
    single(
        "High findings",
        "Confirmed findings with a score from 7 to 9.",
        "none",
        _found("high"),
        steps=((None, "green"), (1, "orange")),
    ),
    single(
        "Medium findings",
        "Confirmed findings with a score from 4 to 7.",
        "none",
        _found("medium"),
        steps=SOME,
    ),
    single("Low findings", "Confirmed findings with a score below 4.", "none", _found("low")),
    single(
        "Possible findings",
        "Findings less than 70 % sure: they are listed by the agents, and make no score.",
        "none",
        'sum(vedette_findings{instances, confidence="possible"}{fresh})'
        " or 0 * count(vedette_host_risk_score{instances})",
    ),
    single(
        "Exploited in the wild",
        "Confirmed findings that are known to be exploited in the wild (CISA's list).",
        "none",
        "sum(instance:vedette_known_exploited_findings:sum{instances})",
        steps=ANY,
    ),
    single(
        "Hosts overdue",
        "Hosts with a finding that should have been dealt with by now.",
        "none",
        "count(instance:vedette_finding_due_timestamp_seconds:min{instances} < time())"
        " or 0 * count(instance:vedette_finding_due_timestamp_seconds:min{instances})",
        steps=ANY,
    ),
    single(
        "Suppressed",
        "Findings that do not count, because the distribution has fixed them or somebody said so.",
        "none",
        "sum(vedette_suppressed_findings{instances}{fresh})",
        steps=PLAIN,
    ),
)

WHERE = (
    rows(
        "Which findings are worst?",
        "The 50 confirmed findings with the highest score. A click on a host opens its board.",
        ("topk(50, vedette_finding_score{instances}{fresh})",),
        (
            Column("Value", "Score", steps=RISK, decimals=1, width=80),
            Column("severity", "Severity", words=_SEVERITY_WORDS, width=100),
            Column("finding", "Finding"),
            Column("instance", "Host", link=TO_HOST_OF_CELL),
            Column("address", "Address"),
            Column("port", "Port", width=80),
            Column("transport", "Transport", width=100),
        ),
        sort=("Score", True),
        width=16,
        height=11,
    ),
    bars(
        "Which findings are most widespread?",
        "On how many ports of the chosen jobs and sites each was found.",
        "none",
        Query(
            "topk(15, sum by (finding) (job_finding_severity:vedette_finding_score:count{hosts}))",
            "{{finding}}",
        ),
        height=11,
    ),
    rows(
        "Which hosts have the most?",
        "Confirmed findings by host, the 25 with the highest risk.",
        (
            "topk(25, max by (instance) (instance:vedette_host_risk_score:max{instances}))",
            _by_host("critical"),
            _by_host("high"),
            _by_host("medium"),
            "sum by (instance) (instance:vedette_known_exploited_findings:sum{instances})",
        ),
        (
            Column("instance", "Host", link=TO_HOST_OF_CELL),
            Column("Value #A", "Risk", steps=RISK, decimals=1, width=80),
            Column("Value #B", "Critical", steps=ANY, width=90),
            Column("Value #C", "High", steps=((None, "green"), (1, "orange")), width=90),
            Column("Value #D", "Medium", steps=SOME, width=90),
            Column("Value #E", "Exploited", steps=ANY, width=100),
        ),
        sort=("Risk", True),
    ),
    rows(
        "What is due next?",
        "By when each host's most urgent finding should be dealt with, the earliest first:"
        " first seen, plus the days of CISA's table.",
        (
            (
                "sort(min by (instance)"
                " (instance:vedette_finding_due_timestamp_seconds:min{instances} - time()))"
            ),
        ),
        (
            Column("instance", "Host", link=TO_HOST_OF_CELL),
            Column(
                "Value",
                "Left",
                unit="s",
                steps=((None, "red"), (0, "yellow"), (1_209_600, "green")),
            ),
        ),
        sort=("Left", False),
        width=6,
    ),
    bars(
        "Which products have them?",
        "Ports with confirmed findings by the product that listens, of the chosen jobs and sites.",
        "none",
        Query(
            "topk(12, sum by (product) (job_product_severity:vedette_finding_score:count{hosts}))",
            "{{product}}",
        ),
        width=6,
        height=9,
    ),
)

COURSE = (
    time_series(
        "Do they become fewer?",
        "Confirmed findings of the chosen jobs and sites, by severity.",
        "none",
        (Query("sum by (severity) (job_severity:vedette_findings:sum{hosts})", "{{severity}}"),),
        stacked=True,
        coloured=True,
        every="1m",
    ),
    time_series(
        "Does the risk fall?",
        "The risk score of the ten worst hosts.",
        "none",
        (Query("topk(10, instance:vedette_host_risk_score:max{instances})", "{{instance}}"),),
        steps=RISK,
        highest=10,
        every="1m",
    ),
)

KNOWLEDGE = (
    bars(
        "Why do findings not count?",
        "Findings that are suppressed, by the reason.",
        "none",
        Query("sum by (reason) (vedette_suppressed_findings{instances}{fresh})", "{{reason}}"),
        width=6,
    ),
    bars(
        "How old is the knowledge?",
        "Age of the oldest knowledge about vulnerabilities on any host, by source. From two weeks"
        " on, too much is missed.",
        "s",
        Query(
            "max by (source)"
            " (time() - vedette_knowledge_build_timestamp_seconds{instances}{fresh})",
            "{{source}}",
        ),
        steps=((None, "green"), (604_800, "yellow"), (1_209_600, "red")),
        width=6,
    ),
    bars(
        "How much is known?",
        "Records about vulnerabilities, by source: the least of any host.",
        "none",
        Query("min by (source) (vedette_knowledge_records{instances}{fresh})", "{{source}}"),
        width=6,
    ),
    bars(
        "Which certificates expire first?",
        "Time left of the ten certificates that expire first.",
        "s",
        Query(
            "bottomk(10, vedette_certificate_expiry_timestamp_seconds{instances} - time(){fresh})",
            "{{instance}} {{address}}:{{port}}",
        ),
        steps=((None, "red"), (259_200, "yellow"), (1_209_600, "green")),
        width=6,
        link=TO_HOST_OF_BAR,
    ),
)

BOARD = Board(
    uid="vedette-vulnerabilities",
    description="What was found, where, how bad it is, and by when it should be gone.",
    sections=(
        Section("", (*NOW, *WHERE, *COURSE)),
        Section("Knowledge", KNOWLEDGE, collapsed=True),
    ),
    since="now-24h",
)
