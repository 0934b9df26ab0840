"""What is believed no more: certificates of a user up to an instant, and single ones by their number.

They stand in a ConfigMap of the cluster, so that every server learns of them in the order of the log, and the log tells
who revoked what and why. Entries that cannot be read revoke nothing and are told of.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ksql.base.clock import parse_rfc3339, rfc3339
from ksql.base.documents import Document, DocumentError, decode, encode

logger = logging.getLogger(__name__)

SPACE, NAME = "kube-system", "ksql-revocations"


@dataclass(frozen=True, slots=True)
class Revocations:
    """By user until when, and by number."""

    users: Mapping[str, datetime] = field(default_factory=dict)
    serials: frozenset[int] = frozenset()

    def covers(self, name: str, issued: datetime) -> bool:
        """Whether what was issued to a user then is revoked."""
        until = self.users.get(name)
        return until is not None and issued <= until


def read(document: Document | None) -> Revocations:
    """What the object says."""
    users: dict[str, datetime] = {}
    serials: set[int] = set()
    for key, text in ((document or {}).get("data") or {}).items():
        try:
            entry = decode(str(text).encode())
            if "serial" in entry:
                serials.add(int(entry["serial"], 16))
            else:
                users[str(entry["user"])] = parse_rfc3339(entry["until"])
        except (DocumentError, ValueError, TypeError, KeyError) as error:
            logger.error("revocation %s cannot be read, and revokes nothing: %r", key, error)
    return Revocations(users, frozenset(serials))


def of_user(user: str, until: datetime, reason: str) -> tuple[str, str]:
    """An entry that revokes all that was issued to a user until then: key and value."""
    digest = hashlib.sha256(user.encode()).hexdigest()[:32]
    return f"user-{digest}", _text({"user": user, "until": rfc3339(until), "reason": reason})


def of_serial(serial: int, reason: str) -> tuple[str, str]:
    """An entry that revokes one certificate."""
    return f"serial-{serial:x}", _text({"serial": f"{serial:x}", "reason": reason})


def _text(entry: Mapping[str, str]) -> str:
    return encode(dict(entry)).decode()
