"""Metrics of the contract that no agent exposes yet: {name: (type, labels)}.

Rules and dashboards may use them already. When one is exposed it moves to contract.py.
"""

from tests.unit.contract import Type

COMING: dict[str, tuple[Type, frozenset[str]]] = {
    "vedette_known_exploited_findings": ("gauge", frozenset({"address"})),
    "vedette_suppressed_findings": ("gauge", frozenset({"reason"})),
    "vedette_finding_due_timestamp_seconds": ("gauge", frozenset({"address"})),
    "vedette_certificate_expiry_timestamp_seconds": ("gauge", frozenset({"address", "port"})),
    "vedette_knowledge_build_timestamp_seconds": ("gauge", frozenset({"source"})),
    "vedette_knowledge_records": ("gauge", frozenset({"source"})),
    "vedette_application_bytes_total": ("counter", frozenset({"app_protocol"})),
    "vedette_network_events_total": ("counter", frozenset({"event"})),
}
