"""Rules of certificate signing requests: what may be asked, who may answer it and how.

A request is fixed when it is made. It is approved or denied through one door and answered with a certificate
through another; neither may do the other's work, and what was said is never taken back.
"""

import binascii
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from ksql.base.documents import Document
from ksql.schema import names
from ksql.schema.errors import Cause
from ksql.schema.faults import duplicate, forbidden, required, too_long, unsupported, wrong
from ksql.schema.rules.checks import each

Structure = Mapping[str, Any]

SECONDS_MIN = 600
LEGACY_SIGNER = "kubernetes.io/legacy-unknown"
APPROVED, DENIED, FAILED = "Approved", "Denied", "Failed"

_USAGES = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
    "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system",
    "ipsec tunnel", "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc",
    "ocsp signing", "s/mime", "server auth", "signing", "timestamping",
)  # fmt: skip
_NO_REQUEST = "PEM block type must be CERTIFICATE REQUEST"
_FORM = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
_EXCLUSIVE = "Approved and Denied conditions are mutually exclusive"


def check_signing_request(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    if why := _request_complaint(spec.get("request") or ""):
        out.append(wrong("spec.request", spec.get("request"), why))
    usages, path = spec.get("usages") or (), "spec.usages"
    if not usages:
        out.append(required(path))
    out += [unsupported(place, usage, _USAGES) for usage, place in each(usages, path) if usage not in _USAGES]
    for index, (usage, place) in enumerate(each(usages, path)):
        if usage in usages[:index]:
            out.append(duplicate(place, usage))
    signer = spec.get("signerName", "")
    if signer == LEGACY_SIGNER:
        words = "the legacy signerName is not allowed via this API version"
        out.append(wrong("spec.signerName", signer, words))
    else:
        check_signer(signer, "spec.signerName", out)
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < SECONDS_MIN:
        words = "may not specify a duration less than 600 seconds (10 minutes)"
        out.append(wrong("spec.expirationSeconds", seconds, words))


def _request_complaint(text: str) -> str:
    try:
        pem = b64decode(text, validate=True)
    except binascii.Error:
        return _NO_REQUEST
    if b"-----BEGIN CERTIFICATE REQUEST-----" not in pem:
        return _NO_REQUEST
    try:
        request = x509.load_pem_x509_csr(pem)
        return "" if request.is_signature_valid else "x509: the signature does not fit the key"
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        return str(error)


def check_signer(signer: str, path: str, out: list[Cause]) -> None:
    """The name of who signs certificates: a domain and what is below it."""
    if not signer:
        out.append(required(path))
        return
    if signer.count("/") != 1:
        out.append(wrong(path, signer, _FORM))
        return
    domain, name = signer.split("/")
    if len(domain) > names.SUBDOMAIN_LENGTH_MAX:
        out.append(too_long(path, names.SUBDOMAIN_LENGTH_MAX))
    labels = domain.split(".")
    _check_labels(labels, names.label_name, domain, path, out)
    if len(labels) < 2:
        words = "should be a domain with at least two segments separated by dots"
        out.append(wrong(path, domain, words))
    _check_labels(name.split("."), names.subdomain, name, path, out)
    limit = 2 * names.SUBDOMAIN_LENGTH_MAX + names.LABEL_LENGTH_MAX + 2
    if len(signer) > limit:
        out.append(too_long(path, limit))


def _check_labels(labels: Sequence[str], syntax: Any, whole: str, path: str, out: list[Cause]) -> None:
    """The first bad label alone: what is wrong with the rest is mostly the same."""
    for label in labels:
        if complaints := syntax(label):
            out += [wrong(path, whole, f'validating label "{label}": {text}') for text in complaints]
            return


# --- answers ---------------------------------------------------------------------------------------


def check_approval(document: Document, old: Document, out: list[Cause]) -> None:
    """Through `approval`: a verdict may be added, none taken back."""
    _check_conditions(document, old, out)
    _check_kept(document, old, out)
    if _certificate(document) != _certificate(old):
        out.append(forbidden("status.certificate", "updates may not set certificate content"))


def check_status(document: Document, old: Document, out: list[Cause]) -> None:
    """Through `status`: the certificate, once; verdicts are not its matter."""
    _check_conditions(document, old, out)
    if _certificate(document) != _certificate(old) and (why := _certificate_complaint(document)):
        out.append(wrong("status.certificate", "<certificate data>", why))
    _check_kept(document, old, out)
    for kind in (APPROVED, DENIED):
        before, now = _of(old, kind), _of(document, kind)
        if len(now) > len(before):
            words = f'updates may not add a condition of type "{kind}"'
            out.append(forbidden("status.conditions", words))
        elif len(now) == len(before) and now != before:
            words = f'updates may not modify a condition of type "{kind}"'
            out.append(forbidden("status.conditions", words))
    if _certificate(old) and _certificate(document) != _certificate(old):
        words = "updates may not modify existing certificate content"
        out.append(forbidden("status.certificate", words))


def _check_kept(document: Document, old: Document, out: list[Cause]) -> None:
    for kind in (APPROVED, DENIED, FAILED):
        if len(_of(document, kind)) < len(_of(old, kind)):
            words = f'updates may not remove a condition of type "{kind}"'
            out.append(forbidden("status.conditions", words))


def _conditions(document: Document) -> Sequence[Structure]:
    return (document.get("status") or {}).get("conditions") or ()


def _of(document: Document, kind: str) -> Sequence[Structure]:
    return [condition for condition in _conditions(document) if condition.get("type") == kind]


def _certificate(document: Document) -> str:
    return str((document.get("status") or {}).get("certificate") or "")


def _check_conditions(document: Document, old: Document, out: list[Cause]) -> None:
    path, seen = "status.conditions", [condition.get("type", "") for condition in _conditions(old)]
    was_both = {APPROVED, DENIED} <= set(seen)
    was_twice = len(seen) != len(set(seen))
    taken: set[str] = set()
    for condition, place in each(_conditions(document), path):
        kind, status = condition.get("type", ""), condition.get("status", "")
        if not kind and "" not in seen:
            out.append(required(f"{place}.type"))
        choices = ("True",) if kind in (APPROVED, DENIED, FAILED) else ("False", "True", "Unknown")
        if not status:
            out.append(required(f"{place}.status"))
        elif status not in choices:
            out.append(unsupported(f"{place}.status", status, choices))
        other = {APPROVED: DENIED, DENIED: APPROVED}.get(kind)
        if other in taken and not was_both:
            out.append(wrong(path, kind, _EXCLUSIVE))
        if kind in taken and not was_twice:
            out.append(duplicate(f"{place}.type", kind))
        taken.add(kind)


def _certificate_complaint(document: Document) -> str:
    if not (text := _certificate(document)):
        return ""
    try:
        pem = b64decode(text, validate=True)
    except binascii.Error as error:
        return str(error)
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        return "must contain at least one CERTIFICATE PEM block"
    try:
        x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        return str(error)
    return ""
