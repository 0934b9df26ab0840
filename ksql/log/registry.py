"""The numbers that stand for repeated things: actors, actions, places, streams.

Whoever writes must agree on them, so they are given out only under the head, and every server learns the
others' by reading on before it writes. `living` is what the appender needs to know of each object: that it
lives, and its number.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

import orjson

from ksql.log.event import Actor, Change


class Action(NamedTuple):
    """What was done, apart from to what and by whom."""

    change: Change
    verb: str
    subresource: str
    field_manager: str


class Place(NamedTuple):
    """Where an object is, apart from its name: one row instead of two texts in every stream."""

    resource: str
    namespace: str
    transient: bool  # its events are heartbeats


class Registry:
    """Both directions of each number. Filled by the appender, read by reader threads as well."""

    def __init__(self) -> None:
        self.actors: dict[Actor, int] = {}
        self.actions: dict[Action, int] = {}
        self.places: dict[Place, int] = {}
        self.actor_by_id: dict[int, Actor] = {}
        self.action_by_id: dict[int, Action] = {}
        self.place_by_id: dict[int, Place] = {}
        self.living: dict[str, int] = {}  # uid: number of the stream

    def know_actors(self, known: Iterable[tuple[int, Actor]]) -> None:
        for number, actor in known:
            self.actor_by_id[number] = actor
            self.actors[actor] = number

    def know_actions(self, known: Iterable[tuple[int, Action]]) -> None:
        for number, action in known:
            self.action_by_id[number] = action
            self.actions[action] = number

    def know_places(self, known: Iterable[tuple[int, Place]]) -> None:
        for number, place in known:
            self.place_by_id[number] = place
            self.places[place] = number


# A UUID has 36 characters in text and 16 bytes of news; most uids and correlations are.
_UUID_BYTES = 16


def pack(text: str) -> bytes:
    """A uid as stored: 16 bytes for a canonical UUID, else a zero byte and the text."""
    if not text:
        return b""
    if len(text) == 36 and text[8] == text[13] == text[18] == text[23] == "-" and text == text.lower():
        try:
            packed = bytes.fromhex(text.replace("-", ""))
        except ValueError:
            packed = b""
        if len(packed) == _UUID_BYTES:
            return packed
    plain = b"\0" + text.encode()
    # Sixteen bytes always mean a UUID, so a text that would be as long is made longer.
    return plain + b"\0" if len(plain) == _UUID_BYTES else plain


def digest(correlation: str) -> bytes:
    """Sixteen bytes that stand for a correlation which is no UUID; its page keeps how it is spelled."""
    return blake2b(correlation.encode(), digest_size=_UUID_BYTES).digest()


def unpack(data: bytes) -> str:
    """The inverse of `pack`."""
    if len(data) == _UUID_BYTES:
        h = data.hex()
        return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"
    return data.strip(b"\0").decode()


def actor_columns(number: int, actor: Actor) -> dict[str, object]:
    return {
        "id": number,
        "user": actor.user,
        "groups": orjson.dumps(actor.groups).decode(),
        "impersonator": actor.impersonator,
        "user_agent": actor.user_agent,
        "source": actor.source,
    }


def action_columns(number: int, action: Action) -> dict[str, object]:
    return {"id": number, **action._asdict(), "change": str(action.change)}


def place_columns(number: int, place: Place) -> dict[str, object]:
    return {"id": number, **place._asdict(), "transient": int(place.transient)}
