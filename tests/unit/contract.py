"""The metric contract as data: {name: (type, labels)} of every family the agent exposes today.

An info metric is a gauge whose value is 1: the text format has no type for it. A change here is a
change for everybody's dashboards and alerts: it needs a line in CHANGELOG.md, under *Changed*.
"""

from typing import Literal

Type = Literal["counter", "gauge"]

_PORT = frozenset({"address", "transport", "port"})
_JOB = frozenset({"job_name"})
_INTERFACE = frozenset({"interface"})
_PUBLISHER = frozenset({"publisher"})
_NONE = frozenset[str]()

CONTRACT: dict[str, tuple[Type, frozenset[str]]] = {
    # agent
    "vedette_build_info": ("gauge", frozenset({"version", "python_version"})),
    "vedette_capability": ("gauge", frozenset({"capability"})),
    "vedette_config_last_reload_successful": ("gauge", _NONE),
    "vedette_config_last_reload_success_timestamp_seconds": ("gauge", _NONE),
    "vedette_job_interval_seconds": ("gauge", _JOB),
    "vedette_job_runs_total": ("counter", _JOB),
    "vedette_job_skipped_total": ("counter", _JOB),
    "vedette_job_failures_total": ("counter", _JOB | {"reason"}),
    "vedette_job_last_success_timestamp_seconds": ("gauge", _JOB),
    "vedette_job_last_duration_seconds": ("gauge", _JOB),
    "vedette_series_dropped_total": ("counter", _JOB),
    "vedette_log_messages_total": ("counter", frozenset({"level"})),
    # publishers, where they are switched on
    "vedette_publish_attempts_total": ("counter", _PUBLISHER),
    "vedette_publish_failures_total": ("counter", _PUBLISHER | {"reason"}),
    "vedette_publish_last_success_timestamp_seconds": ("gauge", _PUBLISHER),
    "vedette_publish_buffered_samples": ("gauge", _PUBLISHER),
    "vedette_publish_dropped_samples_total": ("counter", _PUBLISHER),
    # stats
    "vedette_address_info": ("gauge", frozenset({"interface", "address", "mac", "family"})),
    "vedette_addresses": ("gauge", _NONE),
    "vedette_interface_receive_bytes_total": ("counter", _INTERFACE),
    "vedette_interface_transmit_bytes_total": ("counter", _INTERFACE),
    "vedette_interface_errors_total": ("counter", _INTERFACE | {"direction"}),
    "vedette_interface_dropped_packets_total": ("counter", _INTERFACE | {"direction"}),
    "vedette_interface_receive_bytes_per_second": ("gauge", _INTERFACE),
    "vedette_interface_transmit_bytes_per_second": ("gauge", _INTERFACE),
    "vedette_cpu_usage_ratio": ("gauge", _NONE),
    "vedette_load1": ("gauge", _NONE),
    "vedette_load5": ("gauge", _NONE),
    "vedette_load15": ("gauge", _NONE),
    "vedette_memory_size_bytes": ("gauge", _NONE),
    "vedette_memory_available_bytes": ("gauge", _NONE),
    "vedette_swap_used_bytes": ("gauge", _NONE),
    "vedette_filesystem_size_bytes": ("gauge", frozenset({"mountpoint", "device"})),
    "vedette_filesystem_available_bytes": ("gauge", frozenset({"mountpoint", "device"})),
    # scan
    "vedette_scanned_hosts": ("gauge", _NONE),
    "vedette_hosts_up": ("gauge", _NONE),
    "vedette_open_ports": ("gauge", frozenset({"address", "transport"})),
    "vedette_open_port_info": ("gauge", _PORT | {"service_name", "product", "version"}),
    "vedette_unexpected_open_ports": ("gauge", frozenset({"address"})),
    "vedette_missing_expected_ports": ("gauge", frozenset({"address"})),
    "vedette_port_changes_total": ("counter", frozenset({"change"})),
    # risk
    "vedette_port_risk_score": ("gauge", _PORT | {"service_name"}),
    "vedette_host_risk_score": ("gauge", frozenset({"address"})),
    "vedette_findings": ("gauge", frozenset({"address", "severity", "confidence"})),
    "vedette_finding_score": ("gauge", _PORT | {"finding", "severity"}),
    "vedette_known_exploited_findings": ("gauge", frozenset({"address"})),
    "vedette_suppressed_findings": ("gauge", frozenset({"reason"})),
    "vedette_finding_due_timestamp_seconds": ("gauge", frozenset({"address"})),
    "vedette_certificate_expiry_timestamp_seconds": ("gauge", frozenset({"address", "port"})),
    "vedette_knowledge_build_timestamp_seconds": ("gauge", frozenset({"source"})),
    "vedette_knowledge_records": ("gauge", frozenset({"source"})),
    # fingerprint
    "vedette_os_info": ("gauge", frozenset({"address", "family", "os_name", "source"})),
    "vedette_os_accuracy_ratio": ("gauge", frozenset({"address"})),
    # sniff
    "vedette_captured_packets_total": ("counter", _INTERFACE | {"protocol"}),
    "vedette_captured_bytes_total": ("counter", _INTERFACE | {"protocol"}),
    "vedette_capture_dropped_packets_total": ("counter", _INTERFACE),
    "vedette_capture_shed_frames_total": ("counter", _NONE),
    "vedette_service_packets_total": (
        "counter",
        frozenset({"transport", "port", "app_protocol", "direction"}),
    ),
    "vedette_service_bytes_total": (
        "counter",
        frozenset({"transport", "port", "app_protocol", "direction"}),
    ),
    "vedette_peer_bytes": ("gauge", frozenset({"peer"})),
    "vedette_neighbours": ("gauge", _NONE),
    "vedette_idle_ports": ("gauge", _NONE),
    "vedette_application_bytes_total": ("counter", frozenset({"app_protocol"})),
    "vedette_network_events_total": ("counter", frozenset({"event"})),
    "vedette_neighbour_info": ("gauge", frozenset({"address", "mac", "vendor"})),
}
