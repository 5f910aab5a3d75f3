"""What was seen of a service beyond its name and version: what scripts printed, what that proves.

It stands outside of `edges` and `risk` because the one reads it and the other judges it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Script:
    """The result of one nmap script. output: for people, lines kept.

    values: (path, text) of its structured part, in order: ("validity/notAfter", "2027-01-01T…").
    A step without a name is empty: "ciphers//name".
    """

    id: str
    output: str = ""
    values: tuple[tuple[str, str], ...] = ()

    def all(self, path: str) -> tuple[str, ...]:
        """Return every text at this path."""
        return tuple(text for at, text in self.values if at == path)

    def first(self, path: str) -> str:
        """Return the first text at this path, "" if there is none."""
        return next((text for at, text in self.values if at == path), "")


@dataclass(frozen=True, slots=True)
class Proof:
    """That a rule holds for a service, or that it does not. words: what was seen.

    severity: the rule's, where what was seen makes it better or worse. sure: confidence in
    percent, 0 for that of a proof.
    """

    rule: str
    holds: bool
    words: str
    severity: float | None = None
    sure: int = 0


def proved(rule: str, words: str, severity: float | None = None, sure: int = 0) -> Proof:
    """Return the proof that a rule holds."""
    return Proof(rule, holds=True, words=words, severity=severity, sure=sure)


def refuted(rule: str, words: str) -> Proof:
    """Return the proof that it does not."""
    return Proof(rule, holds=False, words=words)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a TLS server showed. Times: Unix seconds, None if they cannot be read.

    key: "rsa", "ec"; bits: 0 if unknown. self_signed: the issuer is the subject.
    """

    subject: str
    issuer: str
    not_before: float | None
    not_after: float | None
    key: str = ""
    bits: int = 0
    signature: str = ""
    self_signed: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of one port."""

    proofs: tuple[Proof, ...] = ()
    certificate: Certificate | None = None

    def of(self, rule: str) -> Proof | None:
        """Return what is known about a rule: the worst, where several were seen."""
        about = [proof for proof in self.proofs if proof.rule == rule]
        return max(about, key=lambda p: (p.holds, p.sure == 0, p.severity or 0.0), default=None)

    def merged(self, other: "Evidence") -> "Evidence":
        """Return both; where they disagree about a rule the other one counts."""
        known = {proof.rule for proof in other.proofs}
        kept = tuple(proof for proof in self.proofs if proof.rule not in known)
        return Evidence(kept + other.proofs, other.certificate or self.certificate)

    def as_detail(self) -> dict[str, Any]:
        """Return it as plain JSON, for history."""
        return asdict(self)

    @classmethod
    def of_detail(cls, detail: Mapping[str, Any]) -> "Evidence":
        """Return what as_detail() made. Raises KeyError, TypeError for anything else."""
        certificate = detail["certificate"]
        return cls(
            tuple(Proof(**proof) for proof in detail["proofs"]),
            None if certificate is None else Certificate(**certificate),
        )


def collected(parts: Iterable[Evidence]) -> Evidence:
    """Return all of these parts as one."""
    proofs: list[Proof] = []
    certificate = None
    for part in parts:
        proofs += [proof for proof in part.proofs if proof not in proofs]
        certificate = certificate or part.certificate
    return Evidence(tuple(proofs), certificate)
