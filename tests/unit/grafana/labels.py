"""Which labels a query's result can have, from the contract and from the rules that record.

So a query that matches, groups or joins by a label that is not there is found without any data.
"""

from collections.abc import Mapping
from typing import Any

import promql_parser as promql

Labels = frozenset[str]
Known = Mapping[str, Labels]  # {metric: its labels}

NONE: Labels = frozenset()


class Unknown(Exception):
    """A metric or a label that is not there."""


def labels_of(expr: Any, known: Known) -> Labels:
    """Return the labels that this node's result can have. Raises Unknown."""
    match expr:
        case promql.VectorSelector():
            return _of_selector(expr, known)
        case (
            promql.MatrixSelector(vector_selector=inner)
            | promql.SubqueryExpr(expr=inner)
            | promql.ParenExpr(expr=inner)
            | promql.UnaryExpr(expr=inner)
        ):
            return labels_of(inner, known)
        case promql.AggregateExpr():
            return _of_aggregation(expr, known)
        case promql.BinaryExpr():
            return _of_operation(expr, known)
        case promql.Call():
            return _of_call(expr, known)
    if not isinstance(expr, promql.NumberLiteral | promql.StringLiteral):
        raise TypeError(f"{type(expr)} is new here")
    return NONE


def _of_selector(selector: Any, known: Known) -> Labels:
    if selector.name not in known:
        raise Unknown(f"there is no metric {selector.name}")
    labels = known[selector.name]
    _there({matcher.name for matcher in selector.matchers.matchers}, labels, str(selector))
    return labels


def _of_aggregation(expr: Any, known: Known) -> Labels:
    inner = labels_of(expr.expr, known)
    if expr.modifier is None:
        return inner if str(expr.op) in {"topk", "bottomk"} else NONE
    named = frozenset(expr.modifier.labels)
    _there(named, inner, expr.prettify())
    if str(expr.op) in {"topk", "bottomk"}:
        return inner
    by = expr.modifier.type == promql.AggModifierType.By
    return named if by else inner - named


def _of_operation(expr: Any, known: Known) -> Labels:
    left, right = labels_of(expr.lhs, known), labels_of(expr.rhs, known)
    modifier = expr.modifier
    on: Labels | None = None
    if modifier is not None and modifier.matching is not None:
        named = frozenset(modifier.matching.labels)
        if modifier.matching.type == promql.LabelModifierType.Include:
            on = named
            _there(named, left, expr.prettify())
            _there(named, right, expr.prettify())
    if str(expr.op) == "or":
        return left | right
    if str(expr.op) in {"and", "unless"}:
        return left
    if modifier is not None and modifier.card == promql.VectorMatchCardinality.ManyToOne:
        _there(frozenset(modifier.group_labels), right, expr.prettify())
        return left | frozenset(modifier.group_labels)
    if not left or not right:  # a number on one side
        return left | right
    if modifier is None or modifier.matching is None:
        _there(left ^ right, left & right, expr.prettify())  # else nothing matches
    return left if on is None else on


def _of_call(expr: Any, known: Known) -> Labels:
    inner = NONE.union(*(labels_of(argument, known) for argument in expr.args))
    match expr.func.name:
        case "label_replace":
            _, made, _, source, _ = expr.args
            _there({source.val} - {""}, inner, expr.prettify())
            return inner | {made.val}
        case "vector" | "scalar" | "time":
            return NONE
    return inner


def _there(used: set[str] | Labels, labels: Labels, where: str) -> None:
    if missing := used - labels:
        raise Unknown(f"no label {', '.join(sorted(missing))} in {where}")
