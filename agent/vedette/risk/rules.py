"""What is risky about a service whatever its version.

Some rules follow from the service's name; the others need a proof (proofs.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from vedette.evidence import Certificate, Evidence, Proof, proved
from vedette.risk.rule_table import RULES, Rule

# Confidence in percent: proved by a script; the name, by a probe; the name, by the port's number.
BY_PROOF, BY_PROBE, BY_NUMBER = 95, 80, 30


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule that holds, how sure that is (percent), why, and how severe it is here."""

    rule: Rule
    confidence: int
    why: str
    severity: float


BY_ID = {rule.id: rule for rule in RULES}

_WEAK_SIGNATURE = ("md5", "sha1", "md2", "md4")
_LEAST_RSA_BITS = 2048
_LEAST_EC_BITS = 224


def matching(
    service_name: str,
    exposure: str,
    *,
    port: int = 0,
    probed: bool = True,
    evidence: Evidence | None = None,
) -> Iterator[Hit]:
    """Yield the rules that hold for a service that can be reached from `exposure`.

    evidence: what was proved, by whatever it was. Without any, only names count.
    """
    known = evidence or Evidence()
    proved = {proof.rule for proof in known.proofs}
    holding = {proof.rule for proof in known.proofs if proof.holds}
    for rule in RULES:
        if rule.public_only and exposure != "public":
            continue
        if rule.wider_than_loopback and exposure == "loopback":
            continue
        if rule.unless & proved or rule.moot_by & holding:
            continue
        proof = known.of(rule.id)
        if proof is not None:
            if proof.holds:
                severity = rule.severity if proof.severity is None else proof.severity
                yield Hit(rule, proof.sure or BY_PROOF, proof.words, severity)
        elif service_name in rule.services and not (rule.needs_proof and probed):
            sure = BY_PROBE if probed else BY_NUMBER
            yield Hit(rule, sure, "", rule.severity)
        elif not probed and port in rule.ports:
            yield Hit(rule, BY_NUMBER, "", rule.severity)


def of_certificate(certificate: Certificate, now: float) -> Iterator[Proof]:
    """Yield what is wrong with a certificate today. now: Unix seconds."""
    expires = certificate.not_after
    if expires is not None and expires < now:
        days = int((now - expires) // 86_400)
        yield proved("RULE-TLS-CERT-EXPIRED", f"it expired {days} days ago")
    if certificate.self_signed:
        words = f"subject and issuer are {certificate.subject}"
        yield proved("RULE-TLS-SELF-SIGNED", words)
    key = certificate.key.lower()
    least = {"rsa": _LEAST_RSA_BITS, "dsa": _LEAST_RSA_BITS, "ec": _LEAST_EC_BITS}.get(key, 0)
    if 0 < certificate.bits < least:
        words = f"its key is {key.upper()} of {certificate.bits} bits"
        yield proved("RULE-TLS-WEAK-KEY", words)
    elif certificate.signature.lower().startswith(_WEAK_SIGNATURE) or (
        "with-sha1" in certificate.signature.lower()  # ecdsa-with-SHA1, dsa_with_SHA1
    ):
        words = f"it is signed with {certificate.signature}"
        yield proved("RULE-TLS-WEAK-KEY", words)
