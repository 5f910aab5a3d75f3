"""Metrics of the contract that no agent exposes yet: {name: (type, labels)}.

Rules and dashboards may use them already. When one is exposed it moves to contract.py.
"""

from tests.unit.contract import Type

COMING: dict[str, tuple[Type, frozenset[str]]] = {
    "vedette_application_bytes_total": ("counter", frozenset({"app_protocol"})),
    "vedette_network_events_total": ("counter", frozenset({"event"})),
}
