"""Sessions in a file of the data directory, so that a restart logs nobody out. 0600; hashes, never tokens."""

import os
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from ksql.auth.identity import User
from ksql.auth.sessions import Session, Sessions
from ksql.base.clock import Clock
from ksql.base.documents import Document, DocumentError, decode, encode


def opened(path: Path, clock: Clock) -> Sessions:
    """The sessions that a file keeps. One that cannot be read keeps none: everybody logs in again."""
    return Sessions(clock, _keeping(path), _read(path))


def _keeping(path: Path) -> Callable[[Iterable[Session]], None]:
    def keep(sessions: Iterable[Session]) -> None:
        beside = path.with_name(path.name + ".new")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(encode({"sessions": [_document(session) for session in sessions]}) + b"\n")
        beside.replace(path)

    return keep


def _read(path: Path) -> list[Session]:
    try:
        return [_session(one) for one in decode(path.read_bytes())["sessions"]]
    except (OSError, DocumentError, LookupError, TypeError, ValueError):
        return []


def _document(session: Session) -> Document:
    user = session.user
    return {
        "id": session.id, "digest": session.digest, "way": session.way, "created": session.created.isoformat(),
        "expires": session.expires.isoformat(), "source": session.source, "userAgent": session.user_agent,
        "user": {"name": user.name, "groups": list(user.groups), "uid": user.uid,
                 "extra": {key: list(values) for key, values in user.extra.items()}},
    }  # fmt: skip


def _session(found: Document) -> Session:
    told = found["user"]
    extra = {key: tuple(values) for key, values in told["extra"].items()}
    user = User(told["name"], tuple(told["groups"]), told["uid"], extra)
    return Session(
        found["id"], found["digest"], user, found["way"], datetime.fromisoformat(found["created"]),
        datetime.fromisoformat(found["expires"]), found["source"], found["userAgent"],
    )  # fmt: skip
