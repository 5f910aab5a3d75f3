"""Fleet overview: who is up and how, who is at risk, what fires, what changed today.

Every panel that looks at the whole fleet reads recorded series: it must load fast at 1,000 hosts.
"""

from grafana.boards.board import (
    RUNBOOK,
    TO_AGENT,
    TO_HOST_OF_BAR,
    TO_HOST_OF_CELL,
    TO_VULNERABILITIES,
    Board,
    Section,
)
from grafana.boards.panels import (
    ANY,
    FULL,
    RISK,
    SOME,
    Column,
    Query,
    bars,
    rows,
    single,
    time_series,
)

_ALERTS = 'ALERTS{alertstate="firing", alertname=~"Vedette.+"'


def _or_none(count: str) -> str:
    """A count that is 0 where nothing is counted, but absent where nothing is known."""
    return f"{count} or 0 * sum(job_mode:vedette_alive:count{{hosts}})"


def _alerts(severity: str) -> str:
    return f'count by (alertname, severity, instance, site) ({_ALERTS}, severity="{severity}"}})'


NOW = (
    single(
        "Hosts exposed",
        "Hosts that Prometheus scrapes and that answered.",
        "none",
        _or_none('sum(job_mode:vedette_alive:sum{hosts, mode="exposed"})'),
    ),
    single(
        "Hosts pushed",
        "Hosts whose last push to the Pushgateway is fresh (vedette:threshold:delivery_seconds).",
        "none",
        _or_none('sum(job_mode:vedette_alive:sum{hosts, mode="pushed"})'),
    ),
    single(
        "Hosts written",
        "Hosts neither scraped nor in the Pushgateway: their samples come by remote_write.",
        "none",
        _or_none('sum(job_mode:vedette_alive:sum{hosts, mode="written"})'),
    ),
    single(
        "Hosts silent",
        "Hosts that do not answer, whose last push or write is too old, or which the inventory"
        " expects and nobody has seen.",
        "none",
        "sum(job_mode:vedette_alive:count{hosts}) - sum(job_mode:vedette_alive:sum{hosts})",
        steps=ANY,
    ),
    single(
        "Critical alerts",
        "Critical alerts of vedette that fire. They are in the table below.",
        "none",
        _or_none(f'count({_ALERTS}, severity="critical"}})'),
        steps=ANY,
    ),
    single(
        "Highest risk",
        "The risk score of the worst host: from 9 on critical, from 7 high, from 4 medium.",
        "none",
        "max(job:vedette_host_risk_score:max{hosts})",
        steps=RISK,
        link=TO_VULNERABILITIES,
    ),
    single(
        "Known exploited",
        "Findings on reachable ports that are known to be exploited in the wild (CISA's list).",
        "none",
        "sum(job:vedette_known_exploited_findings:sum{hosts})",
        steps=ANY,
        link=TO_VULNERABILITIES,
    ),
    single(
        "Hosts past due",
        "Hosts with a finding that should have been dealt with by now.",
        "none",
        "count(instance:vedette_finding_due_timestamp_seconds:min{hosts} < time())"
        " or 0 * count(instance:vedette_finding_due_timestamp_seconds:min{hosts})",
        steps=ANY,
        link=TO_VULNERABILITIES,
    ),
)

LISTS = (
    rows(
        "Which hosts carry the most risk?",
        "The 25 hosts with the highest risk score. A click on a host opens its board, which says"
        " why.",
        (
            "topk(25, max by (instance, site) (instance:vedette_host_risk_score:max{hosts}))",
            (
                "max by (instance, site) (instance:vedette_open_ports:sum{hosts})"
                " and on (instance) topk(25, instance:vedette_host_risk_score:max{hosts})"
            ),
            (
                "(sum by (instance, site) (instance_severity:vedette_findings:sum{hosts,"
                ' severity=~"critical|high"})'
                " or 0 * max by (instance, site) (instance:vedette_host_risk_score:max{hosts}))"
                " and on (instance) topk(25, instance:vedette_host_risk_score:max{hosts})"
            ),
        ),
        (
            Column("instance", "Host", link=TO_HOST_OF_CELL),
            Column("site", "Site"),
            Column("Value #A", "Risk", steps=RISK, decimals=1, width=90),
            Column("Value #B", "Open ports", width=110),
            Column("Value #C", "High findings", steps=ANY, width=130),
        ),
        sort=("Risk", True),
    ),
    rows(
        "Which alerts fire?",
        "Alerts of vedette that Prometheus holds for firing. A click on the alert opens its"
        " chapter of the runbook, a click on the host its board.",
        (
            # `or` keeps that order, so the critical ones stand on top.
            " or ".join(map(_alerts, ("critical", "warning", "info"))),
        ),
        (
            Column(
                "severity",
                "Severity",
                words={
                    "critical": ("critical", "red"),
                    "warning": ("warning", "orange"),
                    "info": ("info", "blue"),
                },
                width=100,
            ),
            Column("alertname", "Alert", link=("What to do", f"{RUNBOOK}#${{__value.raw}}")),
            Column("instance", "Host", link=TO_HOST_OF_CELL),
            Column("site", "Site"),
            Column("Value", "How many", width=110),
        ),
    ),
    rows(
        "Who is up, and how do we know?",
        "Every host, the silent ones first. exposed: scraped; pushed: through the Pushgateway;"
        " written: by remote_write.",
        ("sort(max by (instance, site, mode) (instance_mode:vedette_alive:bool{hosts}))",),
        (
            Column(
                "Value", "State", words={"0": ("silent", "red"), "1": ("up", "green")}, width=90
            ),
            Column("instance", "Host", link=TO_HOST_OF_CELL),
            Column("site", "Site"),
            Column("mode", "How", width=110),
        ),
        sort=("State", False),
    ),
    rows(
        "What changed on the hosts today?",
        "Ports that opened, closed, or changed their service within 24 hours. A fresh agent's"
        " first scan changes nothing.",
        (
            (
                "topk(50, round(max by (instance, site, change)"
                " (instance_change:vedette_port_changes:increase1d{hosts})) > 0)"
            ),
        ),
        (
            Column("instance", "Host", link=TO_HOST_OF_CELL),
            Column("site", "Site"),
            Column("change", "Change"),
            Column("Value", "How many", decimals=0, width=110),
        ),
        sort=("How many", True),
    ),
)

HISTORY = (
    time_series(
        "How many hosts report, and how?",
        "Hosts that are up, by the way their metrics come.",
        "none",
        (Query("sum by (mode) (job_mode:vedette_alive:sum{hosts})", "{{mode}}"),),
        width=8,
        stacked=True,
        every="1m",
    ),
    time_series(
        "How is risk spread over the hosts?",
        "Hosts by the level of their risk score; low includes none.",
        "none",
        (
            Query(
                "sum by (severity) (job_severity:vedette_host_risk_score:count{hosts})",
                "{{severity}}",
            ),
        ),
        width=8,
        stacked=True,
        coloured=True,
        every="1m",
    ),
    time_series(
        "How many ports change?",
        "Ports of the fleet that opened, closed or changed their service in the hour before.",
        "none",
        (
            Query(
                "round(sum by (change) (job_change:vedette_port_changes:increase1h{hosts}))",
                "{{change}}",
            ),
        ),
        width=8,
        every="1m",
    ),
    time_series(
        "How many ports are open?",
        "Open ports of all hosts at their last scans, loopback left out, counted for each address.",
        "none",
        (Query("sum by (job) (job:vedette_open_ports:sum{hosts})", "{{job}}"),),
        width=8,
        every="1m",
    ),
    time_series(
        "How much traffic is there?",
        "What all hosts receive and send, by their kernels' account.",
        "bps",
        (
            Query("8 * sum(job:vedette_interface_receive_bytes:rate5m{hosts})", "received"),
            Query("8 * sum(job:vedette_interface_transmit_bytes:rate5m{hosts})", "sent"),
        ),
        width=8,
        every="1m",
    ),
    bars(
        "Which systems do they run?",
        "Hosts by what they say of themselves in /etc/os-release.",
        "none",
        Query(
            "sort_desc(sum by (os_name) (job_os_name:vedette_os_info:count{hosts}))",
            "{{os_name}}",
        ),
    ),
)

MACHINES = (
    bars(
        "Which agents run?",
        "Hosts by the version of their agent. More than one line is a rollout under way, or stuck.",
        "none",
        Query(
            "sort_desc(sum by (version) (job_version:vedette_build_info:count{hosts}))",
            "{{version}}",
        ),
        width=6,
        link=TO_AGENT,
    ),
    bars(
        "Which processors are busiest?",
        "The ten hosts whose processors were busiest at the last look.",
        "percentunit",
        Query("topk(10, instance:vedette_cpu_usage:ratio{hosts})", "{{instance}}"),
        steps=FULL,
        width=6,
        link=TO_HOST_OF_BAR,
        highest=1,
    ),
    bars(
        "Which memories are fullest?",
        "The ten hosts with the least memory that programs can still have.",
        "percentunit",
        Query("topk(10, instance:vedette_memory_usage:ratio{hosts})", "{{instance}}"),
        steps=FULL,
        width=6,
        link=TO_HOST_OF_BAR,
        highest=1,
    ),
    bars(
        "Which disks are fullest?",
        "The ten hosts with the fullest file system.",
        "percentunit",
        Query("topk(10, instance:vedette_filesystem_usage:ratio_max{hosts})", "{{instance}}"),
        steps=FULL,
        width=6,
        link=TO_HOST_OF_BAR,
        highest=1,
    ),
    bars(
        "Where is open what should not be?",
        "Hosts with ports that are not on their allow-list, counted for each address."
        " Nothing here without scan.expected_ports.",
        "none",
        Query("topk(10, instance:vedette_unexpected_open_ports:sum{hosts} > 0)", "{{instance}}"),
        steps=SOME,
        width=12,
        link=TO_HOST_OF_BAR,
    ),
    bars(
        "Where is closed what should be open?",
        "Hosts on which a port of the allow-list is not open. Nothing here without"
        " scan.expected_ports.",
        "none",
        Query(
            "topk(10, instance:vedette_missing_expected_ports:sum{hosts} > 0)",
            "{{instance}}",
        ),
        steps=SOME,
        width=12,
        link=TO_HOST_OF_BAR,
    ),
)

BOARD = Board(
    uid="vedette-fleet",
    description="Who is up and how, who is at risk, what fires, and what changed today.",
    sections=(
        Section("", (*NOW, *LISTS, *HISTORY)),
        Section("Machines and agents", MACHINES, collapsed=True),
    ),
    instance="none",
    since="now-24h",
)
