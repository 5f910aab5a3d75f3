"""Metrics of the contract that no agent exposes yet: {name: (type, labels)}.

Rules and dashboards may use them already. When one is exposed it moves to contract.py.
"""

from tests.unit.contract import Type

COMING: dict[str, tuple[Type, frozenset[str]]] = {}
