"""Which metrics and labels a PromQL expression names, and which labels its result has.

Known series are {name: labels}, without the labels that every target has (TARGET).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import promql_parser as promql

from tests.unit.coming import COMING
from tests.unit.contract import CONTRACT

Labels = frozenset[str]

# What Prometheus gives to all that it scrapes; Pushgateway and Remote-Write bring the same.
TARGET = frozenset({"job", "instance"})

# What others than the agent bring: Prometheus, the Pushgateway, and the inventory as a rules file.
OTHERS: dict[str, Labels] = {
    "up": frozenset(),
    "push_time_seconds": frozenset(),
    "push_failure_time_seconds": frozenset(),
    "vedette_expected_host": frozenset({"mode"}),
}

_SETS = ("and", "unless", "or")


def metrics() -> dict[str, Labels]:
    """All that may be named but recorded series."""
    return {**OTHERS, **{name: labels for name, (_, labels) in {**CONTRACT, **COMING}.items()}}


@dataclass
class Reading:
    """One expression, read. labels: of its result, None for a scalar. names: of all its series."""

    known: Mapping[str, Labels]
    problems: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    labels: Labels | None = None


def read(expression: str, known: Mapping[str, Labels]) -> Reading:
    """Read an expression. Raises ValueError where it is none."""
    reading = Reading(known)
    reading.labels = _labels(promql.parse(expression), reading)
    return reading


def _labels(node: Any, reading: Reading) -> Labels | None:
    found: Labels | None = None  # of a number or a string
    match node:
        case promql.VectorSelector():
            found = _selector(node, reading)
        case promql.MatrixSelector():
            found = _selector(node.vector_selector, reading)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            found = _labels(node.expr, reading)
        case promql.AggregateExpr():
            found = _aggregate(node, reading)
        case promql.Call():
            found = _call(node, reading)
        case promql.BinaryExpr():
            found = _binary(node, reading)
    return found


def _selector(node: Any, reading: Reading) -> Labels:
    reading.names.add(node.name)
    if node.name not in reading.known:
        reading.problems.append(f"no metric {node.name}")
        return TARGET
    labels = reading.known[node.name] | TARGET
    _need(reading, (matcher.name for matcher in node.matchers.matchers), labels, node.name)
    return labels


def _need(reading: Reading, wanted: Iterable[str], labels: Labels, what: str) -> None:
    reading.problems += [f"no label {name} on {what}" for name in wanted if name not in labels]


def _aggregate(node: Any, reading: Reading) -> Labels:
    inner = _labels(node.expr, reading) or frozenset()
    if node.modifier is None:
        return frozenset()
    named = frozenset(node.modifier.labels)
    _need(reading, named, inner, str(node.expr))
    return named if node.modifier.type == promql.AggModifierType.By else inner - named


def _call(node: Any, reading: Reading) -> Labels | None:
    inner = [labels for arg in node.args if (labels := _labels(arg, reading)) is not None]
    if node.func.name in {"scalar", "time", "pi"}:
        return None
    if node.func.name in {"absent", "absent_over_time", "vector"} or not inner:
        return frozenset()
    if node.func.name in {"label_replace", "label_join"}:
        return inner[0] | {node.args[1].val}
    return inner[0]


def _binary(node: Any, reading: Reading) -> Labels | None:
    left, right = _labels(node.lhs, reading), _labels(node.rhs, reading)
    if left is None or right is None:
        return right if left is None else left
    operator, modifier = str(node.op), node.modifier
    if operator == "or":
        return left | right
    matching = modifier.matching if modifier else None
    if matching is None:
        if left != right:
            odd = ", ".join(sorted(left ^ right))
            reading.problems.append(f"one side only of {operator} has {odd}: {node}")
        return left
    named = frozenset(matching.labels)
    _need(reading, named, left, str(node.lhs))
    _need(reading, named, right, str(node.rhs))
    if operator in _SETS or modifier.card != promql.VectorMatchCardinality.OneToOne:
        return left
    return named if matching.type == promql.LabelModifierType.Include else left - named
