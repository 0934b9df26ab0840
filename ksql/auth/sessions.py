"""Sessions of browsers: the one-time codes that open them, and the tokens that carry them.

A browser cannot hold a client certificate at ease and must not hold a bearer token where scripts can read it. So
whoever has proved a name elsewhere asks for a *code*, good once and for minutes, and exchanges it for a *session*:
a token in a cookie that no script sees. Only hashes of codes and tokens are kept, so that neither memory nor the
file they are kept in opens anything. Beside the cookie each write proves that it comes from our own pages: it names
a value that follows from the token and that only they can read (`csrf_of`).
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from ksql.auth.identity import User
from ksql.base.clock import Clock, secret_token

# A working day: who comes back tomorrow logs in again.
SESSION_SECONDS = 12 * 3600
# From printing a link to clicking on it. It lies in terminals and journals for longer than that.
CODE_SECONDS = 15 * 60
# Beyond these the oldest end: a person has a few browsers, a cluster some hundred persons.
SESSIONS_MAX, SESSIONS_OF_ONE_MAX, CODES_MAX = 2048, 32, 256
# What a browser says of itself is shown in the list of sessions, and no more of it than can be read there.
AGENT_CHARACTERS_MAX = 200

Keep = Callable[[Iterable["Session"]], None]


@dataclass(frozen=True, slots=True)
class Session:
    """One browser's. `id` names it in lists; the token is known to the browser alone."""

    id: str
    digest: str
    user: User
    way: str  # how the name was proved: link, token, certificate, oidc
    created: datetime
    expires: datetime
    source: str = ""
    user_agent: str = ""


class SessionEndedError(Exception):
    """It was logged out or revoked, or its time is over, while something it had asked for went on."""


class Sessions:
    """All that are open. `keep` is told of every change, so that a restart need not log anybody out."""

    def __init__(self, clock: Clock, keep: Keep | None = None, kept: Iterable[Session] = ()) -> None:
        self._clock, self._keep = clock, keep
        self._open: dict[str, Session] = {session.digest: session for session in kept}
        self._codes: dict[str, tuple[User, str, datetime]] = {}
        self._attending: dict[str, set[asyncio.Task[object]]] = {}

    def code(self, user: User, way: str = "link") -> str:
        """A code that opens one session as this user, once and soon."""
        code = secret_token()
        if len(self._codes) >= CODES_MAX:
            del self._codes[next(iter(self._codes))]
        self._codes[_digest(code)] = (user, way, self._clock.now() + timedelta(seconds=CODE_SECONDS))
        return code

    def redeemed(self, code: str) -> tuple[User, str] | None:
        """Who a code stands for, and how he proved it; it is good for nothing from now on."""
        found = self._codes.pop(_digest(code), None)
        if found is None or found[2] <= self._clock.now():
            return None
        return found[0], found[1]

    def begin(self, user: User, way: str, source: str = "", user_agent: str = "") -> tuple[Session, str]:
        """A new session, and the token for its cookie."""
        token, now = secret_token(), self._clock.now()
        session = Session(
            secret_token(9), _digest(token), user, way, now, now + timedelta(seconds=SESSION_SECONDS), source,
            user_agent[:AGENT_CHARACTERS_MAX],
        )  # fmt: skip
        self._forget_old()
        own = [one for one in self._open.values() if one.user.name == user.name]
        if len(own) >= SESSIONS_OF_ONE_MAX:
            self._close(own[0])
        elif len(self._open) >= SESSIONS_MAX:
            self._close(next(iter(self._open.values())))
        self._open[session.digest] = session
        self._changed()
        return session, token

    def of(self, token: str) -> Session | None:
        """The open session of a token."""
        session = self._open.get(_digest(token))
        if session is None or session.expires <= self._clock.now():
            return None
        return session

    def all(self) -> list[Session]:
        """Those that are open, oldest first."""
        self._forget_old()
        return list(self._open.values())

    def end(self, id: str) -> Session | None:
        """End one; what goes on for it ends too. None when there is none of that name."""
        found = next((one for one in self._open.values() if one.id == id), None)
        if found is not None:
            self._close(found)
            self._changed()
        return found

    def end_of(self, user: str) -> int:
        """End all of a user, whose right to be here was taken away: how many."""
        found = [one for one in self._open.values() if one.user.name == user]
        for session in found:
            self._close(session)
        self._codes = {digest: code for digest, code in self._codes.items() if code[0].name != user}
        if found:
            self._changed()
        return len(found)

    @contextmanager
    def attending(self, session: Session) -> Iterator[None]:
        """What is done in here ends with the session: then `SessionEndedError`."""
        task = asyncio.current_task()
        assert task is not None
        tasks = self._attending.setdefault(session.digest, set())
        tasks.add(task)
        left = (session.expires - self._clock.now()).total_seconds()
        timer = asyncio.get_running_loop().call_later(max(0.0, left), self._close, session)
        try:
            yield
        except asyncio.CancelledError:
            if session.digest in self._open or task.uncancel() > 0:
                raise
            raise SessionEndedError from None
        finally:
            timer.cancel()
            tasks.discard(task)
            if not tasks:
                self._attending.pop(session.digest, None)

    def _forget_old(self) -> None:
        now = self._clock.now()
        for session in [one for one in self._open.values() if one.expires <= now]:
            self._close(session)

    def _close(self, session: Session) -> None:
        if self._open.pop(session.digest, None) is not None:
            for task in self._attending.pop(session.digest, ()):
                # Whoever logs out is told so.
                if task is not _current_task():
                    task.cancel()

    def _changed(self) -> None:
        if self._keep is not None:
            self._keep(self._open.values())


def _current_task() -> asyncio.Task[object] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def csrf_of(token: str) -> str:
    """What a write beside a cookie has to name: it follows from the cookie, and does not lead back to it."""
    return sha256(b"csrf " + token.encode()).hexdigest()


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()
