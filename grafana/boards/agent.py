"""Agent: do the agents' jobs run, does what they bring arrive, and at what cost."""

from grafana.boards.board import TO_HOST_OF_BAR, TO_HOST_OF_CELL, Board, Section
from grafana.boards.panels import ANY, SOME, Column, Query, bars, rows, single, time_series

# A Pushgateway that is scraped says such things of itself as well.
_AGENTS = " and on (job, instance) vedette_build_info{instances}"

NOW = (
    single(
        "Agents",
        "Agents whose metrics are fresh.",
        "none",
        "count(instance_mode:vedette_alive:bool{instances} == 1)"
        " or 0 * count(instance_mode:vedette_alive:bool{instances})",
        width=4,
    ),
    single(
        "Late jobs",
        "Jobs whose last snapshot is more than 2.5 intervals old.",
        "none",
        "count(instance_job_name:vedette_job_age:intervals{instances} > 2.5)"
        " or 0 * count(instance_job_name:vedette_job_age:intervals{instances})",
        steps=ANY,
        width=4,
    ),
    single(
        "Failed reloads",
        "Agents whose configuration was invalid when last read: they go on with the old one.",
        "none",
        "count(vedette_config_last_reload_successful{instances} == 0{fresh})"
        " or 0 * count(vedette_config_last_reload_successful{instances})",
        steps=ANY,
        width=4,
    ),
    single(
        "Samples waiting",
        "Samples that a publisher has taken and no server has accepted yet. It grows while a server"
        " does not answer.",
        "none",
        "sum(vedette_publish_buffered_samples{instances})",
        width=4,
    ),
    single(
        "Samples lost",
        "Samples that will never arrive, within the chosen time range: refused by the server, over"
        " a ceiling, or too old.",
        "none",
        "round(sum(increase(vedette_publish_dropped_samples_total{instances}[$__range])))",
        steps=ANY,
        width=4,
    ),
    single(
        "Series withheld",
        "Series over the ceiling (publish.max_series) within the chosen time range: what is shown"
        " is not all there is.",
        "none",
        "round(sum(increase(vedette_series_dropped_total{instances}[$__range])))",
        steps=ANY,
        width=4,
    ),
)

JOBS = (
    time_series(
        "How often do jobs run?",
        "Runs started, per minute.",
        "rpm",
        (
            Query(
                "60 * sum by (job_name) (instance_job_name:vedette_job_runs:rate5m{instances})",
                "{{job_name}}",
            ),
        ),
        width=8,
        every="1m",
    ),
    time_series(
        "How often do jobs fail?",
        "Failed runs, per minute. The table below has the reasons.",
        "rpm",
        (
            Query(
                "60 * sum by (job_name) (instance_job_name:vedette_job_failures:rate5m{instances})",
                "{{job_name}}",
            ),
        ),
        width=8,
        every="1m",
    ),
    time_series(
        "How long do runs take?",
        "The slowest last run of any host, by job.",
        "s",
        (
            Query(
                "max by (job_name) (vedette_job_last_duration_seconds{instances})", "{{job_name}}"
            ),
        ),
        width=8,
    ),
    rows(
        "Which jobs are late?",
        "The 25 jobs whose last snapshot is oldest, counted in their intervals: above 1 a run was"
        " missed, from 2.5 on an alert fires.",
        ("topk(25, instance_job_name:vedette_job_age:intervals{instances})",),
        (
            Column("instance", "Host", link=TO_HOST_OF_CELL),
            Column("job_name", "Job"),
            Column(
                "Value",
                "Age in intervals",
                decimals=1,
                steps=((None, "green"), (1.5, "yellow"), (2.5, "red")),
                width=150,
            ),
        ),
        sort=("Age in intervals", True),
        width=8,
    ),
    rows(
        "Why do jobs fail?",
        "Failed runs of the last hour, by job and reason; bug is a fault of the agent itself.",
        (
            (
                "round(sum by (job_name, reason)"
                " (increase(vedette_job_failures_total{instances}[1h]))) > 0"
            ),
        ),
        (
            Column("job_name", "Job"),
            Column("reason", "Reason"),
            Column("Value", "Failures", steps=SOME, decimals=0, width=110),
        ),
        sort=("Failures", True),
        width=8,
    ),
    time_series(
        "Which runs were skipped?",
        "Runs that were due while the one before was still under way, per minute.",
        "rpm",
        (
            Query(
                "60 * sum by (job_name)"
                " (rate(vedette_job_skipped_total{instances}[$__rate_interval]))",
                "{{job_name}}",
            ),
        ),
        width=8,
        height=9,
    ),
)

PUBLISHERS = (
    time_series(
        "Does it arrive?",
        "Exchanges of the publishers with their servers, per minute, and those that failed.",
        "rpm",
        (
            Query(
                "60 * sum by (publisher)"
                " (rate(vedette_publish_attempts_total{instances}[$__rate_interval]))",
                "{{publisher}} attempts",
            ),
            Query(
                "60 * sum by (publisher)"
                " (rate(vedette_publish_failures_total{instances}[$__rate_interval]))",
                "{{publisher}} failures",
            ),
        ),
        width=8,
    ),
    rows(
        "Why does it not arrive?",
        "Exchanges that failed in the last hour, by publisher and reason; expose: scrapes.",
        (
            (
                "round(sum by (publisher, reason)"
                " (increase(vedette_publish_failures_total{instances}[1h]))) > 0"
            ),
        ),
        (
            Column("publisher", "Publisher"),
            Column("reason", "Reason"),
            Column("Value", "Failures", steps=SOME, decimals=0, width=110),
        ),
        sort=("Failures", True),
        width=8,
        height=8,
    ),
    bars(
        "Whose samples have not arrived for longest?",
        "Time since a server last accepted something of a publisher: the ten longest.",
        "s",
        Query(
            "topk(10, time() - vedette_publish_last_success_timestamp_seconds"
            '{instances, publisher!="expose"})',
            "{{instance}} {{publisher}}",
        ),
        steps=((None, "green"), (150, "yellow"), (600, "red")),
        link=TO_HOST_OF_BAR,
    ),
)

FOOTPRINT = (
    time_series(
        "How much memory do they take?",
        "Memory of the agent's process (its children not counted): the median host and the largest."
        " Known of exposed hosts only.",
        "bytes",
        (
            Query(f"quantile(0.5, process_resident_memory_bytes{{instances}}{_AGENTS})", "median"),
            Query(f"max(process_resident_memory_bytes{{instances}}{_AGENTS})", "largest"),
        ),
        width=8,
        every="1m",
    ),
    time_series(
        "How much of a processor do they take?",
        "Processor time of the agent's process (its children not counted), as a share of one"
        " processor: the median host and the busiest. Known of exposed hosts only.",
        "percentunit",
        (
            Query(
                "quantile(0.5, rate(process_cpu_seconds_total{instances}[$__rate_interval])"
                f"{_AGENTS})",
                "median",
            ),
            Query(
                f"max(rate(process_cpu_seconds_total{{instances}}[$__rate_interval]){_AGENTS})",
                "busiest",
            ),
        ),
        width=8,
        every="1m",
    ),
    time_series(
        "How many series does a host bring?",
        "Series of a scrape: the median host and the largest. The promise is 300 for an ordinary"
        " host, and a ceiling of 1,000. Known of exposed hosts only.",
        "none",
        (
            Query(f"quantile(0.5, scrape_samples_scraped{{instances}}{_AGENTS})", "median"),
            Query(f"max(scrape_samples_scraped{{instances}}{_AGENTS})", "largest"),
        ),
        width=8,
        steps=((None, "green"), (300, "yellow"), (1000, "red")),
        every="1m",
    ),
    bars(
        "Which agents are slow to answer?",
        "Duration of the last scrape: the ten slowest.",
        "s",
        Query(f"topk(10, scrape_duration_seconds{{instances}}{_AGENTS})", "{{instance}}"),
        steps=((None, "green"), (0.5, "yellow"), (5, "red")),
        link=TO_HOST_OF_BAR,
    ),
    time_series(
        "What do they log?",
        "Lines written, per minute, by level.",
        "rpm",
        (
            Query(
                "60 * sum by (level)"
                " (rate(vedette_log_messages_total{instances}[$__rate_interval]))",
                "{{level}}",
            ),
        ),
        width=8,
    ),
    time_series(
        "Whom do they turn away?",
        "Clients that the web configuration refused, per minute, by reason. Nothing without one.",
        "rpm",
        (
            Query(
                "60 * sum by (reason)"
                " (rate(vedette_http_refusals_total{instances}[$__rate_interval]))",
                "{{reason}}",
            ),
        ),
        width=8,
    ),
)

SETUP = (
    rows(
        "Which agent runs where?",
        "Version of the agent and of Python, when the configuration in use was read, addresses"
        " asked and up at the last scan.",
        (
            "max by (instance, version, python_version) (vedette_build_info{instances}{fresh})",
            (
                "max by (instance)"
                " (time() - vedette_config_last_reload_success_timestamp_seconds{instances})"
            ),
            "max by (instance) (vedette_scanned_hosts{instances}{fresh})",
            "max by (instance) (vedette_hosts_up{instances}{fresh})",
            "max by (instance) (vedette_addresses{instances}{fresh})",
        ),
        (
            Column("instance", "Host", link=TO_HOST_OF_CELL),
            Column("version", "Version"),
            Column("python_version", "Python"),
            Column("Value #B", "Configuration read, ago", unit="s"),
            Column("Value #C", "Addresses asked"),
            Column("Value #D", "Addresses up"),
            Column("Value #E", "Own addresses"),
        ),
        sort=("Host", False),
        width=16,
    ),
    bars(
        "What can they not do?",
        "Agents without a capability: raw_sockets and nmap for whole scans, capture for traffic,"
        " packages for exact versions, history for what outlives a restart.",
        "none",
        Query(
            "count by (capability) (vedette_capability{instances} == 0{fresh})",
            "{{capability}}",
        ),
        steps=SOME,
        height=9,
    ),
)

BOARD = Board(
    uid="vedette-agent",
    description="The agents themselves: jobs, publishers, drops, footprint.",
    sections=(
        Section("", (*NOW, *JOBS)),
        Section("Publishers", PUBLISHERS),
        Section("Footprint", FOOTPRINT),
        Section("Versions and capabilities", SETUP, collapsed=True),
    ),
)
