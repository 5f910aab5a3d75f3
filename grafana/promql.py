"""PromQL as boards and rules have it: variables replaced, selectors found."""

import re
from collections.abc import Mapping

import promql_parser
from promql_parser import Expr, VectorSelector

# What Grafana itself puts in; the variables of a board come on top.
BUILT_IN = {
    "__rate_interval": "2m",
    "__interval": "30s",
    "__range": "1h",
    "__range_s": "3600",
}


def substituted(expression: str, values: Mapping[str, str]) -> str:
    """Return a query with these variables replaced: $name, ${name} and ${name:format}."""
    names = "|".join(map(re.escape, sorted(values, key=len, reverse=True)))
    pattern = rf"\$(?:({names})\b|\{{({names})(?::\w+)?\}})"
    return re.sub(pattern, lambda found: values[found[1] or found[2]], expression)


def selectors(expression: str) -> list[VectorSelector]:
    """Return the selectors of a query without variables. Raises ValueError."""
    found: list[VectorSelector] = []

    def visit(node: Expr) -> bool:
        if isinstance(node, VectorSelector):
            found.append(node)
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def names(expression: str) -> set[str]:
    """Return the metrics that a query without variables asks for. Raises ValueError."""
    return {selector.name for selector in selectors(expression) if selector.name}
