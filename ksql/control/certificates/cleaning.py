"""Requests cleared away that were answered, or that nobody answered: the log remembers them. As in Kubernetes: one hour
after an answer, a day without one, or when the certificate has run out."""

from base64 import b64decode
from collections.abc import Iterator
from datetime import datetime, timedelta

from cryptography import x509

from ksql.auth.identity import controller_user
from ksql.base.clock import parse_rfc3339
from ksql.base.documents import Document
from ksql.control.certificates import requests
from ksql.control.certificates.approving import ACCOUNT
from ksql.control.certificates.requests import APPROVED, DENIED, FAILED, RESOURCE
from ksql.control.controller import Kit
from ksql.control.informer import Update, key_of
from ksql.control.plan import NOTHING, Plan, Remove

NAME_OF_COMPONENT = "certificate-cleaner"

ANSWERED, WAITING = timedelta(hours=1), timedelta(hours=24)


def plan(document: Document, now: datetime) -> Plan:
    """Remove it when its time is over, or look again then."""
    over = min(_ends(document), default=None)
    if over is None:
        return NOTHING
    if now < over:
        return Plan(again_seconds=(over - now).total_seconds())
    metadata = document["metadata"]
    return Plan([Remove(RESOURCE, "", metadata["name"], metadata["uid"])])


def _ends(document: Document) -> Iterator[datetime]:
    """The instants at which it may go, each for a reason of its own."""
    if not ((document.get("status") or {}).get("conditions") or ()):
        yield parse_rfc3339(document["metadata"]["creationTimestamp"]) + WAITING
    answer = requests.certificate(document)
    for kind, span in ((DENIED, ANSWERED), (FAILED, ANSWERED), (APPROVED, ANSWERED if answer else WAITING)):
        found = requests.condition(document, kind)
        if found is not None and found.get("lastUpdateTime"):
            yield parse_rfc3339(found["lastUpdateTime"]) + span
    if answer and requests.condition(document, APPROVED) is not None:
        yield x509.load_pem_x509_certificate(b64decode(answer)).not_valid_after_utc


class Cleaning:
    """The shell: every request, until its time is over."""

    def __init__(self, kit: Kit) -> None:
        self._clock = kit.clock
        self._requests = kit.informers.of(RESOURCE)
        user = controller_user(ACCOUNT)
        self.controller = kit.controller(NAME_OF_COMPONENT, user, self.think, (self._requests,), workers=1)
        self._requests.add_handler(self._changed)

    def _changed(self, update: Update) -> None:
        if update.new is not None:
            self.controller.queue.add(key_of(update.new), update.trigger)

    async def think(self, key: str) -> Plan:
        document = self._requests.by_key(key)
        return NOTHING if document is None else plan(document, self._clock.now())
