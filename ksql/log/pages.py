"""Pages: the payloads of neighbouring events, compressed together and kept in the row of the first.

Compressed alone, each payload pays for a frame of its own and cannot lean on its neighbours; together they
take two thirds of the bytes and one call. A page never spans two transactions, so it is written once and as
a whole. Within it each payload is a *fragment*: the image whole, its own uid and name left out, or the
difference (`delta.py`) from an earlier whole image of the same stream, its *base*. A base is always whole:
any image is made from at most two pages, however long its history.

A page's text: how many fragments, how many heartbeats came right before the first (if any), where each
revision stands after the first, how long each fragment is, and the fragments.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from ksql.log import delta
from ksql.log.codec import Codec, PayloadError, can_shorten, restored, shortened, verbatim
from ksql.log.delta import Base
from ksql.log.event import Change, Draft
from ksql.log.transaction import Transaction

if TYPE_CHECKING:
    from ksql.log.vault import ObjectKey

# More in a page saves ever less, and whoever reads one event unpacks all of its page: 16 take 20 µs.
PAGE_EVENTS = 16
# A fragment's length has 16 bits unless it is alone on its page.
PAGE_BYTES = 32 * 1024
# Distance of revisions within a page, heartbeats counted: one byte.
_PAGE_REVISIONS = 255
# Whole images that the writer keeps to take differences from; of an object not among them the next image
# is written whole. Some ten thousand objects; most of these bytes the current state holds as well.
BASE_BYTES_MAX = 64 * 1024 * 1024

VERBATIM, WHOLE, NEAR, FAR = 1, 2, 3, 4
# A correlation that is no UUID stands before the fragment, as its author spelled it.
_SPELLED = 0x80
# What comes after kind and base is compressed by itself and encrypted (`vault.py`).
HIDDEN = 0x40
FLAGS = _SPELLED | HIDDEN
# What stands before the image or the difference: the kind, and how far the base is.
_OPENING_BYTES = {VERBATIM: 1, WHOLE: 1, NEAR: 5, FAR: 9}
_SKIPPED = 0x80


class Shelf:
    """Whole images by number, the oldest dropped when their bytes grow too many."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max, self._bytes = bytes_max, 0
        self._kept: dict[int, Base] = {}
        self.get: Callable[[int], Base | None] = self._kept.get

    def put(self, number: int, base: Base) -> None:
        self.drop(number)
        self._kept[number] = base
        self._bytes += len(base.image)
        while self._bytes > self._bytes_max:
            self.drop(next(iter(self._kept)))

    def drop(self, number: int) -> None:
        found = self._kept.pop(number, None)
        if found is not None:
            self._bytes -= len(found.image)

    def clear(self) -> None:
        self._kept.clear()
        self._bytes = 0


class Fragment:
    """One payload as it stands on a page."""

    __slots__ = ("base", "correlation", "data", "hidden", "kind", "opening")

    def __init__(self, data: bytes, revision: int) -> None:
        kind, self.correlation, self.base = data[0], "", 0
        if kind & _SPELLED:
            end = 3 + int.from_bytes(data[1:3])
            self.correlation, data, kind = data[3:end].decode(), data[end - 1 :], kind & ~_SPELLED
        self.hidden, self.opening = kind & HIDDEN, b""
        if self.hidden:
            kind &= ~HIDDEN
            self.opening = bytes((kind,)) + data[1 : _OPENING_BYTES.get(kind, 1)]
        if kind in (NEAR, FAR):
            width = 4 if kind == NEAR else 8
            self.base, data = revision - int.from_bytes(data[1 : 1 + width]), data[width:]
        elif kind not in (WHOLE, VERBATIM):
            raise PayloadError(f"a fragment of kind {kind} is not known to this version")
        self.kind, self.data = kind, data[1:]

    def revealed(self, key: "ObjectKey", stream: int, revision: int, codec: Codec) -> None:
        """Decrypt it: from now on it is as any other."""
        self.data = codec.decode(key.reveal(stream, revision, self.opening, self.data))
        self.hidden = 0

    def whole(self, uid: str, name: str) -> bytes:
        """The payload, of a fragment without a base."""
        return restored(self.data, uid, name) if self.kind == WHOLE else self.data

    def upon(self, base: bytes) -> bytes:
        """The payload, of a fragment with this base."""
        try:
            return delta.applied(base, self.data)
        except (struct.error, IndexError) as error:
            raise PayloadError(f"its difference cannot be read: {error}") from error


class Page:
    """One page unpacked: fragments by revision, and how many heartbeats came before the first."""

    __slots__ = ("fragments", "skipped", "time")

    def __init__(self, text: bytes, first: int, time: int) -> None:
        self.time, self.skipped = time, 0
        try:
            count, at = text[0] & ~_SKIPPED, 1
            if text[0] & _SKIPPED:
                self.skipped, at = int.from_bytes(text[1:5]), 5
            if count == 1:
                self.fragments = {first: text[at:]}
                return
            revisions = [first + offset for offset in text[at : at + count]]
            ends = accumulate(struct.unpack_from(f">{count}H", text, at + count), initial=at + 3 * count)
            start = next(ends)
            self.fragments = {}
            for revision, end in zip(revisions, ends, strict=True):
                self.fragments[revision] = text[start:end]
                start = end
        except (IndexError, struct.error, ValueError) as error:
            raise PayloadError(f"the page cannot be read: {error}") from error
        if start != len(text):
            raise PayloadError("the page is of another length than it says")

    def fragment(self, revision: int) -> Fragment:
        """The fragment of one of its revisions."""
        data = self.fragments.get(revision)
        if not data:
            raise PayloadError("its page does not have it")
        return Fragment(data, revision)


def text_of(first: int, skipped: int, fragments: Sequence[tuple[int, bytes]]) -> bytes:
    """The text of a page; `fragments` are its revisions with what to keep of each."""
    count = len(fragments)
    opening = bytes((count,))
    if skipped:
        opening = struct.pack(">BI", count | _SKIPPED, skipped)
    if count == 1:
        return opening + fragments[0][1]
    offsets = bytes([revision - first for revision, _ in fragments])
    lengths = struct.pack(f">{count}H", *[len(data) for _, data in fragments])
    return b"".join([opening, offsets, lengths, *[data for _, data in fragments]])


def none(_: int) -> None:
    """No image."""


class Pager:
    """Makes pages of transactions. One per writer: it knows whole images that are committed."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self._bases = Shelf(BASE_BYTES_MAX)

    def paging(self, transaction: Transaction, earlier: "Paging | None" = None) -> "Paging":
        """The pages of a transaction, not made yet. `earlier` are those of the one before it, which may still be on
        their way: if they do not arrive, neither may these."""
        return Paging(self, transaction, earlier)

    def fragment(
        self, stream: int, revision: int, draft: Draft, spelled: str,
        fresh: dict[int, Base | None], earlier: Callable[[int], Base | None], key: "ObjectKey | None" = None,
    ) -> bytes:  # fmt: skip
        payload, script, data = draft.payload, None, b""
        if draft.change is not Change.ADDED and not draft.transient:
            base = fresh.get(stream) or earlier(stream) or self._bases.get(stream)
            if base is not None and (script := delta.difference(base, payload)) is not None:
                distance = revision - base.revision
                data = (
                    struct.pack(">BI", NEAR, distance) if distance < 1 << 32 else struct.pack(">BQ", FAR, distance)
                ) + script
        if script is None:
            if not draft.transient:
                fresh[stream] = Base(revision, payload)
            if can_shorten(payload):
                data = bytes((WHOLE,)) + shortened(payload, draft.stream.uid, draft.stream.name)
            else:
                data = bytes((VERBATIM,)) + payload
        if draft.change is Change.DELETED:
            fresh[stream] = None
        if key is not None:
            end = _OPENING_BYTES[data[0]]
            opening, text = data[:end], self.codec.encode(data[end:])
            data = bytes((data[0] | HIDDEN,)) + data[1:end] + key.hide(stream, revision, opening, text)
        if spelled:
            text = spelled.encode()
            data = struct.pack(">BH", data[0] | _SPELLED, len(text)) + text + data[1:]
        return data

    def keep(self, fresh: dict[int, Base | None]) -> None:
        """These are committed: differences may be taken from them."""
        for stream, base in fresh.items():
            if base is None:
                self._bases.drop(stream)
            else:
                self._bases.put(stream, base)

    def forget(self) -> None:
        """Nothing is certain of what the database has: begin with whole images again."""
        self._bases.clear()


class Paging:
    """The pages of one transaction, made one after another, so that the first can be on their way meanwhile."""

    def __init__(self, pager: Pager, transaction: Transaction, earlier: "Paging | None" = None) -> None:
        self._pager, self._transaction = pager, transaction
        self._earlier = earlier.fresh.get if earlier else none
        # For each row its payload column; None: it stands on the page of an earlier row.
        self.payloads: list[bytes | None] = []
        # The bases to `keep` once all is committed, and how many images are whole.
        self.fresh: dict[int, Base | None] = {}
        self.whole = 0
        self.done = False

    def finish(self) -> list[bytes | None]:
        """Make all of them."""
        for _ in self.ready():
            pass
        return self.payloads

    def ready(self) -> Iterator[int]:
        """Make them; after each, how many rows have their payload column for good."""
        if self.done:
            yield len(self.payloads)
            return
        out, encode, hidden = self.payloads, self._pager.codec.encode, self._transaction.hidden
        page: list[tuple[int, bytes]] = []
        opened = size = skipped = 0
        # Bytes that are chance already are not compressed once more.
        plain = not hidden
        for row, draft in zip(self._transaction.rows, self._transaction.drafts, strict=True):
            revision, stream, *_, gap, spelled = row
            key = hidden.get(stream) if hidden and not draft.transient else None
            data = self._pager.fragment(stream, revision, draft, spelled, self.fresh, self._earlier, key)
            self.whole += data[0] & ~FLAGS in (WHOLE, VERBATIM)
            if draft.transient:
                out.append(encode(text_of(revision, 0, [(revision, data)])))
                continue
            size += len(data)
            if page and (len(page) == PAGE_EVENTS or size > PAGE_BYTES or revision - page[0][0] > _PAGE_REVISIONS):
                text = text_of(page[0][0], skipped, page)
                out[opened] = encode(text) if plain else verbatim(text)
                yield len(out)
                page, size, plain = [], len(data), not hidden
            if not page:
                opened, skipped = len(out), gap
            plain = plain or key is None
            page.append((revision, data))
            out.append(None)
        if page:
            text = text_of(page[0][0], skipped, page)
            out[opened] = encode(text) if plain else verbatim(text)
        self.done = True
        yield len(out)
