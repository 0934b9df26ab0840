"""Tokens that another server judges (TokenReview): what it answered, for as long as that may be believed.

Whoever asks waits for the answer before the request is looked at (`serve/remotereviews.py`); from then on it is in
memory, under the token's hash, and found without waiting like every other identity.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from ksql.auth.identity import AUTHENTICATED, User
from ksql.base.clock import Clock

# kube-apiserver's own: a token that was withdrawn elsewhere is believed for no longer.
TTL_SECONDS = 120.0
# Answers kept; beyond it the oldest are asked for again.
KEPT_MAX = 4096
# What is longer is no token that anybody issued, and not asked about.
TOKEN_BYTES_MAX = 16 * 1024

# The status of a TokenReview, or None where nobody answered.
Ask = Callable[[str], Awaitable[dict[str, Any] | None]]


@dataclass(frozen=True, slots=True)
class _Answer:
    user: User | None
    until: float


class Reviewed:
    """What a webhook said of tokens."""

    def __init__(self, ask: Ask, clock: Clock, audiences: Sequence[str] = (), seconds: float = TTL_SECONDS) -> None:
        self._ask, self._clock, self._seconds = ask, clock, seconds
        self._audiences = tuple(audiences)
        self._kept: dict[bytes, _Answer] = {}

    def user(self, token: bytes) -> User | None:
        """Who a token stands for, as far as that is known by now."""
        found = self._kept.get(sha256(token).digest())
        return found.user if found is not None and self._clock.monotonic() < found.until else None

    async def look(self, token: bytes) -> None:
        """Know what the webhook says of a token. One that nobody answered about is asked for again the next time."""
        digest = sha256(token).digest()
        known = self._kept.get(digest)
        if (known is not None and self._clock.monotonic() < known.until) or not 0 < len(token) <= TOKEN_BYTES_MAX:
            return
        status = await self._ask(token.decode("latin-1"))
        if status is None:
            return
        while len(self._kept) >= KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept.pop(digest, None)
        self._kept[digest] = _Answer(self._told(status), self._clock.monotonic() + self._seconds)

    def _told(self, status: dict[str, Any]) -> User | None:
        """The user that a status names; None for one that is no proof, or is meant for others."""
        told = status.get("user")
        if status.get("authenticated") is not True or not isinstance(told, dict):
            return None
        meant = status.get("audiences")
        if meant and self._audiences and not set(meant) & set(self._audiences):
            return None
        name, groups, extra = told.get("username"), told.get("groups") or [], told.get("extra") or {}
        if not isinstance(name, str) or not name or not isinstance(groups, list) or not isinstance(extra, dict):
            return None
        return User(
            name, tuple(dict.fromkeys([*map(str, groups), AUTHENTICATED])), str(told.get("uid") or ""),
            {str(key): tuple(map(str, values)) for key, values in extra.items() if isinstance(values, list)},
        )  # fmt: skip
