"""Approved requests signed, with the authority that signs at that moment; what a signer does not give fails."""

from base64 import b64encode
from collections.abc import Callable
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.serialization import Encoding

from ksql.auth.identity import controller_user
from ksql.auth.pki.certificates import CERTIFICATE_DAYS, Pair, sign
from ksql.base.clock import Clock, rfc3339
from ksql.base.documents import Document
from ksql.control.certificates import requests
from ksql.control.certificates.approving import ACCOUNT
from ksql.control.certificates.requests import APPROVED, AUTHORITY_OF, FAILED, RESOURCE
from ksql.control.controller import Kit
from ksql.control.informer import Update, key_of
from ksql.control.plan import NOTHING, Plan, Replace

NAME_OF_COMPONENT = "certificate-signer"

LIFE_MAX, LIFE_MIN = timedelta(days=CERTIFICATE_DAYS), timedelta(minutes=10)
# How far back a certificate counts, and from which life on that is taken off its end.
BACKDATED, LONG = timedelta(minutes=5), timedelta(hours=8)

# The pair that signs for an authority now, or None where its key is not here.
Signers = Callable[[str], Pair | None]
# Up to when what was issued to a user is revoked.
Revoked = Callable[[str], datetime | None]


def is_waiting(document: Document) -> bool:
    """Whether it is ours to answer, and was not answered yet."""
    return (
        document["spec"]["signerName"] in AUTHORITY_OF
        and requests.condition(document, APPROVED) is not None
        and requests.condition(document, FAILED) is None
        and not requests.certificate(document)
    )


def life(seconds: int | None) -> timedelta:
    """How long a certificate is good that was asked for so long."""
    wanted = LIFE_MAX if seconds is None else min(max(timedelta(seconds=seconds), LIFE_MIN), LIFE_MAX)
    return wanted if wanted < LONG else wanted - BACKDATED


def answered(document: Document, authority: Pair, clock: Clock, revoked: Revoked) -> Plan:
    """The certificate for a request, or why there is none."""
    spec, request = document["spec"], requests.parsed(document)
    usages = spec.get("usages") or ()
    if why := requests.complaint(request, spec["signerName"], usages):
        return _failed(document, why, clock.now())
    keys, extended = requests.usages_of(usages)
    try:
        made = sign(
            authority, request.subject, request.public_key(), clock, usages=extended, key_usages=keys,
            alternative=requests.alternatives(request), life=life(spec.get("expirationSeconds")),
            after=revoked(requests.common_name(request)), backdated=BACKDATED,
        )  # fmt: skip
    except (ValueError, TypeError) as error:
        return _failed(document, str(error), clock.now())
    status = {**(document.get("status") or {}), "certificate": b64encode(made.public_bytes(Encoding.PEM)).decode()}
    return Plan([Replace(RESOURCE, {**document, "status": status}, "status")])


def _failed(document: Document, why: str, now: datetime) -> Plan:
    said = {
        "type": FAILED, "status": "True", "reason": "SignerValidationFailure", "message": why,
        "lastUpdateTime": rfc3339(now),
    }  # fmt: skip
    status = document.get("status") or {}
    conditions = [*(status.get("conditions") or ()), said]
    return Plan([Replace(RESOURCE, {**document, "status": {**status, "conditions": conditions}}, "status")])


class Signing:
    """The shell: requests as they are approved."""

    def __init__(self, kit: Kit, signers: Signers, revoked: Revoked) -> None:
        self._clock, self._signers, self._revoked = kit.clock, signers, revoked
        self._requests = kit.informers.of(RESOURCE)
        user = controller_user(ACCOUNT)
        self.controller = kit.controller(NAME_OF_COMPONENT, user, self.think, (self._requests,), workers=1)
        self._requests.add_handler(self._changed)

    def _changed(self, update: Update) -> None:
        if update.new is not None and is_waiting(update.new):
            self.controller.queue.add(key_of(update.new), update.trigger)

    async def think(self, key: str) -> Plan:
        document = self._requests.by_key(key)
        if document is None or not is_waiting(document):
            return NOTHING
        authority = self._signers(AUTHORITY_OF[document["spec"]["signerName"]])
        # Where the operator keeps the key, his own signer answers.
        return NOTHING if authority is None else answered(document, authority, self._clock, self._revoked)
