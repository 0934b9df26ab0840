"""GraphQL's certificates: a table of all that the cluster has, and of those that it gave and that requests still show.

Nothing secret is in it, but whoever may get the path /certificates alone learns where keys lie and what ends when.
"""

from base64 import b64decode
from collections.abc import Iterator
from datetime import datetime

import strawberry
from cryptography import x509

from ksql.auth.authorize import refusal as forbidden
from ksql.auth.identity import Question
from ksql.auth.pki import status
from ksql.auth.pki.status import Row, common_name
from ksql.auth.trust import user_of
from ksql.serve.gql.context import Context
from ksql.serve.gql.fields import resolved
from ksql.serve.gql.nodes import Info
from ksql.serve.gql.scalars import Timestamp

PATH = "/certificates"
REQUESTS = "certificatesigningrequests.certificates.k8s.io"


@strawberry.type(description="One certificate.")
class Certificate:
    name: str = strawberry.field(description="What it is called: server, clients-ca, or the name of its request.")
    purpose: str = strawberry.field(description="What it is for.")
    state: str = strawberry.field(
        description="good, due (is renewed soon), announced, believed (signs no more), revoked, expiring, expired, "
        "missing or broken."
    )
    note: str = strawberry.field(description="More about the state, for people.")
    subject: str = strawberry.field(description="Whom it names.")
    issuer: str = strawberry.field(description="The common name of the authority that signed it.")
    serial: str = strawberry.field(description="Its number, in hexadecimal digits.")
    not_before: Timestamp | None = strawberry.field(description="From when it is good.")
    not_after: Timestamp | None = strawberry.field(description="Until when.")
    authority: bool = strawberry.field(description="Whether it signs others.")
    renewed_by: str = strawberry.field(description="ksql, operator, or nobody.")
    alarm: bool = strawberry.field(description="Whether somebody has to act.")


@strawberry.type
class Certifying:
    @resolved(description="Every certificate of the cluster with its purpose and its end, authorities first.")
    async def certificates(self, info: Info) -> list[Certificate]:
        ctx = info.context
        question = Question(ctx.user, "get", path=PATH)
        verdict = ctx.rooms.pipeline.authorizer.authorize(question)
        if not verdict.allowed:
            raise forbidden(question, verdict)
        if ctx.rooms.keys is None:
            return []
        rows = status.rows(ctx.rooms.keys(), ctx.rooms.clock.now())
        return [*map(_shown, rows), *_issued(ctx)]


def _when(instant: datetime | None) -> Timestamp | None:
    return None if instant is None else Timestamp(instant)


def _shown(row: Row) -> Certificate:
    return Certificate(
        name=row.name, purpose=row.purpose, state=row.state, note=row.note, subject=row.subject, issuer=row.issuer,
        serial=row.serial, not_before=_when(row.begins), not_after=_when(row.ends), authority=row.is_authority,
        renewed_by=row.renewed_by, alarm=row.alarms,
    )  # fmt: skip


def _issued(ctx: Context) -> Iterator[Certificate]:
    """What requests were answered with, as long as they are there; who forgets to fetch his own is not alarmed."""
    authenticator, now = ctx.rooms.pipeline.authenticator, ctx.rooms.clock.now()
    revocations = authenticator.trust.revocations if authenticator.trust is not None else None
    for entry in ctx.rooms.objects.list(REQUESTS):
        text = (entry.document.get("status") or {}).get("certificate")
        if not text:
            continue
        try:
            found = x509.load_pem_x509_certificate(b64decode(text))
        except ValueError:
            continue
        begins, ends, user = found.not_valid_before_utc, found.not_valid_after_utc, user_of(found.subject).name
        state = status.GOOD if now < ends else status.EXPIRED
        if revocations and (found.serial_number in revocations.serials or revocations.covers(user, begins)):
            state = "revoked"
        yield Certificate(
            name=entry.stream.name, purpose=f"given by {entry.document['spec']['signerName']}", state=state, note="",
            subject=found.subject.rfc4514_string(), issuer=common_name(found.issuer), serial=f"{found.serial_number:x}",
            not_before=_when(begins), not_after=_when(ends), authority=False, renewed_by="nobody", alarm=False,
        )  # fmt: skip
