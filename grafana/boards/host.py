"""Host: one host in full. What is open and why it is risky, what it talks to, how it does."""

from grafana.boards.board import TO_VULNERABILITIES_HERE, Board, Section
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

_PORT = "job, instance, address, transport, port"
_UP = {"0": ("silent", "red"), "1": ("up", "green")}

# Each open port with what answers there (from one metric), its risk (from another) and its worst
# finding (from a third), which not every port has.
_PORTS = f"""
    vedette_port_risk_score{{instances}}
      * on ({_PORT}) group_left (product, version) vedette_open_port_info{{instances}}
      * on ({_PORT}) group_left (finding)
        (topk by ({_PORT}) (1, vedette_finding_score{{instances}}) >= bool 0)
    or on ({_PORT})
    vedette_port_risk_score{{instances}}
      * on ({_PORT}) group_left (product, version) vedette_open_port_info{{instances}}
"""

NOW = (
    single(
        "Is it up?",
        "Whether the host answers the scrape, or its last push or write is fresh.",
        "none",
        "min(instance_mode:vedette_alive:bool{instances})",
        steps=((None, "red"), (1, "green")),
        words=_UP,
    ),
    single(
        "Risk",
        "The host's risk score: its worst port, more for further critical ones. From 9 on"
        " critical, from 7 high, from 4 medium.",
        "none",
        "max(vedette_host_risk_score{instances})",
        steps=RISK,
        link=TO_VULNERABILITIES_HERE,
    ),
    single(
        "Open ports",
        "Ports open at the last scan, counted for each address, loopback left out.",
        "none",
        "sum(instance:vedette_open_ports:sum{instances})",
    ),
    single(
        "Unexpected ports",
        "Open ports that are not on the allow-list (scan.expected_ports); no data without one.",
        "none",
        "sum(vedette_unexpected_open_ports{instances})",
        steps=ANY,
    ),
    single(
        "Missing ports",
        "Ports of the allow-list (scan.expected_ports) that are not open; no data without one.",
        "none",
        "sum(vedette_missing_expected_ports{instances})",
        steps=ANY,
    ),
    single(
        "Known exploited findings",
        "Findings that are known to be exploited in the wild (CISA's list).",
        "none",
        "sum(vedette_known_exploited_findings{instances})",
        steps=ANY,
    ),
    single(
        "Time left",
        "Until the earliest date by which a finding should be dealt with; red once it is past.",
        "s",
        "min(vedette_finding_due_timestamp_seconds{instances}) - time()",
        steps=((None, "red"), (0, "yellow"), (1_209_600, "green")),
    ),
    single(
        "Agent",
        "Version of the agent on this host.",
        "none",
        "vedette_build_info{instances}",
        legend="{{version}}",
    ),
)

SECURITY = (
    rows(
        "Which ports are open, and how risky is each?",
        "At the last scan: what answers, the port's risk score, and its worst finding. The"
        " inventory of the agent (/inventory.json) has all reasons in words.",
        (_PORTS,),
        (
            Column("Value", "Risk", steps=RISK, decimals=1, width=80),
            Column("address", "Address"),
            Column("transport", "Transport", width=100),
            Column("port", "Port", width=80),
            Column("service_name", "Service"),
            Column("product", "Product"),
            Column("version", "Version"),
            Column("finding", "Worst reason"),
        ),
        sort=("Risk", True),
        width=24,
        height=9,
    ),
    rows(
        "What was found?",
        "The worst confirmed findings: a rule on what listens, or a vulnerability.",
        ("topk(50, vedette_finding_score{instances})",),
        (
            Column("Value", "Score", steps=RISK, decimals=1, width=80),
            Column("severity", "Severity", width=100),
            Column("finding", "Finding"),
            Column("address", "Address"),
            Column("port", "Port", width=80),
            Column("transport", "Transport", width=100),
        ),
        sort=("Score", True),
        height=8,
    ),
    rows(
        "Which addresses does it have?",
        "Addresses on real interfaces; loopback, link-local and virtual ones are left out.",
        ("max by (interface, address, family, mac) (vedette_address_info{instances})",),
        (
            Column("interface", "Interface", width=110),
            Column("address", "Address"),
            Column("family", "Family", width=90),
            Column("mac", "MAC"),
        ),
        width=6,
        height=8,
    ),
    rows(
        "Which system does it run?",
        "local: what the host says of itself. active: nmap's guess from outside; accuracy is the"
        " score of that match, not a probability.",
        (
            "max by (address, source, os_name, family) (vedette_os_info{instances})",
            (
                "max by (address, source) (label_replace(vedette_os_accuracy_ratio{instances},"
                ' "source", "active", "", ""))'
            ),
        ),
        (
            Column("os_name", "System"),
            Column("source", "Source", width=80),
            Column("address", "Address"),
            Column("Value #B", "Accuracy", unit="percentunit", width=90),
        ),
        width=6,
        height=8,
    ),
    time_series(
        "How has its risk changed?",
        "The risk score of each address at the last scan.",
        "none",
        (Query("vedette_host_risk_score{instances}", "{{address}}"),),
        width=8,
        steps=RISK,
        highest=10,
    ),
    time_series(
        "How many ports are open on it?",
        "Open ports of each address.",
        "none",
        (Query("vedette_open_ports{instances}", "{{address}} {{transport}}"),),
        width=8,
    ),
    rows(
        "Which certificates expire?",
        "Time until the certificates of the last scan expire: yellow within two weeks.",
        ("sort(vedette_certificate_expiry_timestamp_seconds{instances} - time())",),
        (
            Column("address", "Address"),
            Column("port", "Port", width=80),
            Column(
                "Value",
                "Left",
                unit="s",
                steps=((None, "red"), (0, "yellow"), (1_209_600, "green")),
            ),
        ),
        sort=("Left", False),
        width=8,
        height=8,
    ),
)

TRAFFIC = (
    time_series(
        "How much traffic crosses its interfaces?",
        "Received (above) and sent, by the kernel's account.",
        "bps",
        (
            Query(
                "8 * rate(vedette_interface_receive_bytes_total{instances}[$__rate_interval])",
                "{{interface}} received",
            ),
            Query(
                "8 * rate(vedette_interface_transmit_bytes_total{instances}[$__rate_interval])",
                "{{interface}} sent",
            ),
        ),
    ),
    time_series(
        "Which of its services carry traffic?",
        "Captured to (in) and from (out) the host's open ports: the ten busiest.",
        "bps",
        (
            Query(
                "8 * topk(10, sum by (app_protocol, port, direction)"
                " (rate(vedette_service_bytes_total{instances}[$__rate_interval])))",
                "{{app_protocol}}/{{port}} {{direction}}",
            ),
        ),
    ),
    bars(
        "Whom does it talk to?",
        "Bytes exchanged with the busiest peers in the last window of capture; other is the rest.",
        "bytes",
        Query("topk(12, vedette_peer_bytes{instances})", "{{peer}}"),
        width=12,
    ),
    time_series(
        "How many packets are lost?",
        "Errors and drops of the interfaces, by the kernel's account. Anything but 0 for long is a"
        " bad cable, a full queue or a wrong driver.",
        "pps",
        (
            Query(
                "sum by (interface, direction)"
                " (rate(vedette_interface_errors_total{instances}[$__rate_interval]))",
                "{{interface}} {{direction}} errors",
            ),
            Query(
                "sum by (interface, direction)"
                " (rate(vedette_interface_dropped_packets_total{instances}[$__rate_interval]))",
                "{{interface}} {{direction}} drops",
            ),
        ),
    ),
)

MACHINE = (
    time_series(
        "How busy are its processors?",
        "Share of all processors' time that was not idle.",
        "percentunit",
        (Query("vedette_cpu_usage_ratio{instances}", "busy"),),
        width=6,
        steps=FULL,
        highest=1,
    ),
    time_series(
        "How many processes want to run?",
        "Load averages. Above the number of processors for long, programs wait.",
        "none",
        (
            Query("vedette_load1{instances}", "1 min"),
            Query("vedette_load5{instances}", "5 min"),
            Query("vedette_load15{instances}", "15 min"),
        ),
        width=6,
    ),
    time_series(
        "How much memory is in use?",
        "Memory in use, of what there is, and swap space in use.",
        "bytes",
        (
            Query("vedette_memory_size_bytes{instances}", "there is"),
            Query(
                "vedette_memory_size_bytes{instances} - vedette_memory_available_bytes{instances}",
                "in use",
            ),
            Query("vedette_swap_used_bytes{instances}", "swap"),
        ),
        width=6,
    ),
    time_series(
        "How full are its disks?",
        "Used share of each file system, for ordinary users.",
        "percentunit",
        (
            Query(
                "1 - vedette_filesystem_available_bytes{instances}"
                " / vedette_filesystem_size_bytes{instances}",
                "{{mountpoint}}",
            ),
        ),
        width=6,
        steps=FULL,
        highest=1,
    ),
)

JOBS = (
    rows(
        "Do its jobs bring snapshots?",
        "Age of each job's last snapshot, in seconds and in intervals (2.5 raise an alert), and how"
        " long its last run took.",
        (
            "max by (job_name) (time() - vedette_job_last_success_timestamp_seconds{instances})",
            "max by (job_name) (instance_job_name:vedette_job_age:intervals{instances})",
            "max by (job_name) (vedette_job_last_duration_seconds{instances})",
            "max by (job_name) (vedette_job_interval_seconds{instances})",
        ),
        (
            Column("job_name", "Job"),
            Column("Value #A", "Last success, ago", unit="s"),
            Column(
                "Value #B",
                "In intervals",
                decimals=1,
                steps=((None, "green"), (1.5, "yellow"), (2.5, "red")),
            ),
            Column("Value #C", "Took", unit="s"),
            Column("Value #D", "Runs every", unit="s"),
        ),
        sort=("Job", False),
        height=7,
    ),
    rows(
        "Which runs failed, and why?",
        "Failed runs within the chosen time range, by job and reason.",
        (
            (
                "round(sum by (job_name, reason)"
                " (increase(vedette_job_failures_total{instances}[$__range]))) > 0"
            ),
        ),
        (
            Column("job_name", "Job"),
            Column("reason", "Reason"),
            Column("Value", "Failures", steps=SOME, decimals=0, width=110),
        ),
        sort=("Failures", True),
        height=7,
    ),
)

BOARD = Board(
    uid="vedette-host",
    description="One host: its ports and risks, its traffic, its machine, its jobs.",
    sections=(
        Section("", (*NOW, *SECURITY)),
        Section("Traffic", TRAFFIC),
        Section("Machine", MACHINE),
        Section("Jobs of the agent", JOBS, collapsed=True),
    ),
    instance="one",
    annotations=(
        (
            "Ports changed",
            "orange",
            "sum by (instance, change) (increase(vedette_port_changes_total{instances}[2m])) > 0",
        ),
    ),
)
