"""The frames of a bundle that hold events: packed by whoever exports, unpacked by whoever reads.

The log keeps most images as the difference from an earlier whole one (`delta.py`), and a bundle takes those as they
are: making each image and compressing it whole took nine tenths of an export's time. Both sides hold the same *shelf*
of whole images, filled in the order of the rows, so that the writer knows which one the reader still has; where it has
not, the image goes before the difference as a row that is no event.
"""

import struct
from collections.abc import Iterator
from typing import Any

import orjson
import zstandard

from ksql.base.clock import from_microseconds, to_microseconds
from ksql.log import delta
from ksql.log.event import Actor, Change, Event, Stream

# Events of one frame: some hundred kilobytes of text, in which compression finds nearly all it will find.
FRAME_EVENTS = 1000
# Of payloads in one frame: a few objects may be large.
FRAME_BYTES = 8 * 1024 * 1024
# What a reader believes of a length; anything beyond is damage and must not make it ask for the memory.
FRAME_BYTES_MAX = 256 * 1024 * 1024
# Whole images at hand on either side. Never to be changed without another version of the format: the sides would
# disagree on what is there.
SHELF_BYTES_MAX = 64 * 1024 * 1024
LEVEL = 3
_LENGTH = struct.Struct(">I")

Action = tuple[str, str, str, str]  # change, verb, subresource, field manager


class Shelf:
    """The newest whole image of each object, the oldest dropped when they are too many bytes."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[int, bytes]] = {}
        self._bytes = 0

    def put(self, uid: str, revision: int, image: bytes) -> None:
        old = self._kept.pop(uid, None)
        self._bytes += len(image) - (len(old[1]) if old is not None else 0)
        self._kept[uid] = revision, image
        while self._bytes > SHELF_BYTES_MAX and len(self._kept) > 1:
            self._bytes -= len(self._kept.pop(next(iter(self._kept)))[1])

    def get(self, uid: str, revision: int) -> bytes | None:
        kept = self._kept.get(uid)
        return kept[1] if kept is not None and kept[0] == revision else None


class Packer:
    """Events as the body of a frame."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._rows: list[Any] = []
        self._payloads: list[bytes] = []
        self._bytes = self.events = 0
        # By identity: telling two actors apart by value costs more than writing one down.
        self._actors: dict[int, int] = {}
        self._listed: list[Actor] = []
        self._actions: dict[Action, int] = {}
        self._places: dict[tuple[str, str, bool], int] = {}
        self._streams: dict[str, int] = {}
        self._named: list[tuple[int, str, str]] = []

    @property
    def is_full(self) -> bool:
        return len(self._rows) >= FRAME_EVENTS or self._bytes >= FRAME_BYTES

    def add(self, event: Event) -> None:
        """An event whose image is at hand."""
        action = event.change.value, event.verb, event.subresource, event.field_manager
        self.put(
            event.revision, to_microseconds(event.time), event.stream, event.transient, action, event.actor,
            event.cause, event.correlation, event.payload,
        )  # fmt: skip

    def put(
        self, revision: int, micros: int, stream: Stream, transient: bool, action: Action, actor: Actor,
        cause: int | None, correlation: str, data: bytes, base: int = 0,
    ) -> None:  # fmt: skip
        """An event; `data` is its image, or with `base` the difference from the image of that revision, which
        `holds`."""
        who = self._actors.get(id(actor))
        if who is None:
            # The list keeps it alive, and so its identity its own.
            who = self._actors[id(actor)] = len(self._listed)
            self._listed.append(actor)
        about = self._streams.get(stream.uid)
        if about is None:
            about = self._about(stream, transient)
        what = self._actions.setdefault(action, len(self._actions))
        self._rows.append((revision, micros, about, what, who, cause, correlation, len(data), base))
        self._payloads.append(data)
        self._bytes += len(data)
        self.events += 1
        if not base:
            self._shelf.put(stream.uid, revision, data)

    def holds(self, uid: str, revision: int) -> bool:
        """Whether the reader will have this image when it comes to the next row."""
        return self._shelf.get(uid, revision) is not None

    def lend(self, stream: Stream, revision: int, image: bytes) -> None:
        """An image from which the next row differs, though it is that of no event here."""
        self._rows.append((revision, None, self._about(stream, False), 0, 0, None, "", len(image), 0))
        self._payloads.append(image)
        self._bytes += len(image)
        self._shelf.put(stream.uid, revision, image)

    def _about(self, stream: Stream, transient: bool) -> int:
        number = self._streams.get(stream.uid)
        if number is None:
            place = self._places.setdefault((stream.resource, stream.namespace, transient), len(self._places))
            number = self._streams[stream.uid] = len(self._named)
            self._named.append((place, stream.name, stream.uid))
        return number

    def text(self) -> bytes:
        """The body before compression."""
        meta = orjson.dumps(
            {
                "actors": [[a.user, a.groups, a.impersonator, a.user_agent, a.source] for a in self._listed],
                "actions": list(self._actions), "places": list(self._places), "streams": self._named,
                "rows": self._rows,
            }
        )  # fmt: skip
        return b"".join([_LENGTH.pack(len(meta)), meta, *self._payloads])


def packed(text: bytes) -> bytes:
    """A body, compressed."""
    return zstandard.ZstdCompressor(level=LEVEL).compress(text)


def _opened(body: bytes) -> tuple[Any, list[Actor], list[Any], bytes, int]:
    """What the rows of a body refer to, its text, and where the payloads begin."""
    text = zstandard.ZstdDecompressor().decompress(body, max_output_size=FRAME_BYTES_MAX)
    (length,) = _LENGTH.unpack_from(text)
    at = _LENGTH.size + length
    meta = orjson.loads(text[_LENGTH.size : at])
    actors = [Actor(user, tuple(groups), *rest) for user, groups, *rest in meta["actors"]]
    actions = [(Change(change), verb, sub, manager) for change, verb, sub, manager in meta["actions"]]
    return meta, actors, actions, text, at


def unpacked(body: bytes, shelf: Shelf) -> Iterator[Event]:
    """The events of a frame's body."""
    meta, actors, actions, text, begin = _opened(body)
    places = meta["places"]
    streams = [(Stream(places[at][0], places[at][1], name, uid), places[at][2]) for at, name, uid in meta["streams"]]
    at = begin
    for revision, micros, about, action, actor, cause, correlation, size, base in meta["rows"]:
        (stream, transient), data = streams[about], text[at : at + size]
        at += size
        if base:
            kept = shelf.get(stream.uid, base)
            if kept is None:
                raise ValueError(f"r{revision} differs from r{base}, which is not there")
            data = delta.applied(kept, data)
        else:
            shelf.put(stream.uid, revision, data)
        if micros is None:
            continue
        change, verb, sub, manager = actions[action]
        yield Event(
            revision, from_microseconds(micros), stream, change, verb, actors[actor], data, sub, manager, cause,
            correlation, transient,
        )  # fmt: skip
    if at != len(text):
        raise ValueError("payloads are left over")


def unpacked_whole(body: bytes) -> Iterator[Event]:
    """The same of version 1, in which each image is whole and each row names its object."""
    meta, actors, actions, text, at = _opened(body)
    places = meta["places"]
    for revision, micros, place, name, uid, action, actor, cause, correlation, size in meta["rows"]:
        resource, namespace, transient = places[place]
        change, verb, sub, manager = actions[action]
        payload = text[at : at + size]
        at += size
        yield Event(
            revision, from_microseconds(micros), Stream(resource, namespace, name, uid), change, verb,
            actors[actor], payload, sub, manager, cause, correlation, transient,
        )  # fmt: skip
    if at != len(text):
        raise ValueError("payloads are left over")
