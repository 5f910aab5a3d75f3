"""CVSS v3 base scores (https://www.first.org/cvss/v3.1/specification-document, chapter 7)."""

from math import ceil

_IMPACT = {"H": 0.56, "L": 0.22, "N": 0.0}
_VECTOR = {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2}
_COMPLEXITY = {"L": 0.77, "H": 0.44}
_INTERACTION = {"N": 0.85, "R": 0.62}
_PRIVILEGES = {"U": {"N": 0.85, "L": 0.62, "H": 0.27}, "C": {"N": 0.85, "L": 0.68, "H": 0.5}}


def base_score(vector: str) -> float:
    """Return the base score of a vector (CVSS:3.1/AV:N/…). Raises ValueError."""
    try:
        told = dict(part.split(":", 1) for part in vector.split("/"))
        lost = 1.0
        for metric in "CIA":
            lost *= 1 - _IMPACT[told[metric]]
        changed = told["S"] == "C"
        base = 1 - lost
        impact = 7.52 * (base - 0.029) - 3.25 * (base - 0.02) ** 15 if changed else 6.42 * base
        exploitability = (
            8.22
            * _VECTOR[told["AV"]]
            * _COMPLEXITY[told["AC"]]
            * _PRIVILEGES[told["S"]][told["PR"]]
            * _INTERACTION[told["UI"]]
        )
    except (KeyError, ValueError) as exc:
        raise ValueError(f"{vector[:80]!r} is no CVSS v3 vector") from exc
    if impact <= 0:
        return 0.0
    return _round_up(min(10, (1.08 if changed else 1) * (impact + exploitability)))


def _round_up(value: float) -> float:
    """To one decimal; by integers, as 3.1 demands, so that 4.000001 stays 4.0."""
    whole = round(value * 100_000)
    return ceil(whole / 10_000) / 10
