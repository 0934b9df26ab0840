"""Lists in pages: every page of one list is of the same moment.

A continue token carries the revision of the first page and where the next begins. The listing of that
revision is kept for a while, since nearly every list is read on within seconds; when it has gone, the log
knows it still. Beyond the window the token expires as kube-apiserver's do, with another one that goes on
from the present. Keeps promise four: an ordinary list never reads history.
"""

import base64
import binascii
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence

from ksql.base.clock import Clock
from ksql.base.documents import Document, DocumentError, decode, encode, lookup
from ksql.log.protocol import EventFilter, EventLog, HorizonError
from ksql.schema.errors import BadRequestError, GoneError
from ksql.schema.golang import gojson
from ksql.state.entry import Entry
from ksql.state.objects import Objects
from ksql.verbs import freshness
from ksql.verbs.request import Page, Selection
from ksql.verbs.selection import Matcher

# How long a list waits for a revision that has not come yet; kube-apiserver's watch cache waits as long.
FRESHNESS_SECONDS = 3.0
# Listings kept for lists that are being read page by page. Each holds references only; what it keeps
# from being freed are the objects that changed since.
LISTINGS_MAX = 64
# The key that comes right after "name": nothing sorts between the two.
_AFTER = "\0"
# A token's revision when it goes on from the present.
_INCONSISTENT = -1

_EXPIRED_TOKEN = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new "
    "list without the continue parameter, or use the continue token in this response to retrieve the "
    "remainder of the results. Continuing with the provided token results in an inconsistent list - "
    "objects that were created, modified, or deleted between the time the first chunk was returned and "
    "now may show up in the list."
)
_EXPIRED_VERSION = "The resourceVersion for the provided list is too old."


class ExpiredTokenError(GoneError):
    """410 with a token that goes on from the present state."""

    def __init__(self, token: str) -> None:
        super().__init__(_EXPIRED_TOKEN)
        self.token = token

    def status(self) -> Document:
        return {**super().status(), "metadata": {"continue": self.token}}


def make_token(revision: int, start: str) -> str:
    token = encode({"v": "meta.k8s.io/v1", "rv": revision, "start": start})
    return base64.urlsafe_b64encode(token).rstrip(b"=").decode()


def read_token(text: str) -> tuple[int, str]:
    """The revision and the start of a token; `BadRequestError` when it is none of ours."""
    data = _unpacked(text)
    try:
        token = decode(data)
    except DocumentError:
        raise _invalid(gojson.fault(data)) from None
    version, revision, start = lookup(token, "v"), lookup(token, "rv"), lookup(token, "start")
    if version != "meta.k8s.io/v1":
        raise _invalid(f"server does not recognize this encoded version {version or ''}")
    if not isinstance(revision, int) or not revision:
        raise _invalid("incorrect encoded start resourceVersion (version meta.k8s.io/v1)")
    if not isinstance(start, str) or not start:
        raise _invalid("encoded start key empty (version meta.k8s.io/v1)")
    return revision, start


def _unpacked(text: str) -> bytes:
    """What the base64 of a token holds, or Go's complaint about it."""
    for index, character in enumerate(text):
        if not (character.isascii() and (character.isalnum() or character in "-_")):
            raise _invalid(f"illegal base64 data at input byte {index}")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise _invalid(f"illegal base64 data at input byte {len(text) - len(text) % 4}") from None


def _invalid(why: str) -> BadRequestError:
    return BadRequestError(f"invalid continue token: continue key is not valid: {why}")


class Pager:
    """Answers lists from memory, and from the log where memory no longer knows."""

    def __init__(self, objects: Objects, log: EventLog, clock: Clock) -> None:
        self._objects, self._log, self._clock = objects, log, clock
        self._kept: OrderedDict[tuple[str, str, int], Sequence[Entry]] = OrderedDict()

    async def get(self, resource: str, namespace: str, name: str) -> Entry | None:
        return self._objects.get(resource, namespace, name)

    async def listed(self, resource: str, namespace: str) -> Sequence[Entry]:
        return self._objects.list(resource, namespace)

    async def page(self, resource: str, matcher: Matcher, selection: Selection) -> Page:
        revision, start = read_token(selection.continue_token) if selection.continue_token else (0, "")
        asked, limit = freshness.of_list(selection), max(0, selection.limit)
        if selection.continue_token:
            if revision == _INCONSISTENT:
                revision = self._objects.revision
            elif revision < self._objects.window.expired:
                raise ExpiredTokenError(make_token(_INCONSISTENT, start))
            entries = await self._at(resource, matcher.namespace, revision)
        elif asked.exact is not None:
            await self.wait_for(asked.exact)
            revision = asked.exact
            entries = await self._at(resource, matcher.namespace, revision)
        else:
            await self.wait_for(asked.least)
            revision = self._objects.revision
            entries = self._now(resource, matcher)
            if selection.resource_version == "0":
                # Whatever is at hand, which kube-apiserver answers whole: so are the caches of clients filled.
                limit = 0
        page = cut(matcher, entries, revision, start, limit)
        if page.continue_token:
            self._keep((resource, matcher.namespace, revision), entries)
        return page

    async def wait_for(self, revision: int) -> None:
        """Until memory has come that far; 504 when it does not in time."""
        if revision <= self._objects.revision:
            return
        deadline = self._clock.monotonic() + FRESHNESS_SECONDS
        while self._objects.revision < revision:
            left = deadline - self._clock.monotonic()
            if left <= 0:
                raise freshness.too_large(revision, self._objects.revision)
            await self._objects.changed.wait(left)

    def _now(self, resource: str, matcher: Matcher) -> Sequence[Entry]:
        """The present listing, or of it the one object that alone can be meant."""
        if matcher.name and matcher.namespace:
            entry = self._objects.get(resource, matcher.namespace, matcher.name)
            return () if entry is None else (entry,)
        return self._objects.list(resource, matcher.namespace)

    async def _at(self, resource: str, namespace: str, revision: int) -> Sequence[Entry]:
        """The listing as it was at a revision."""
        kept = self._kept.get((resource, namespace, revision))
        if kept is not None:
            return kept
        if revision > self._objects.revision:
            raise freshness.too_large(revision, self._objects.revision)
        if self._objects.window.unchanged_since(resource, revision):
            return self._objects.list(resource, namespace)
        try:
            where = EventFilter(resources=(resource,), namespace=namespace or None, transient=True)
            return [Entry(event) for event in await self._log.at(revision, where)]
        except HorizonError as error:
            raise GoneError(_EXPIRED_VERSION) from error

    def _keep(self, key: tuple[str, str, int], entries: Sequence[Entry]) -> None:
        self._kept[key] = entries
        self._kept.move_to_end(key)
        # What no token may ask for any more goes first, then what was longest not asked for.
        for old in [kept for kept in self._kept if kept[2] < self._objects.window.expired]:
            del self._kept[old]
        while len(self._kept) > LISTINGS_MAX:
            self._kept.popitem(last=False)


def cut(matcher: Matcher, entries: Sequence[Entry], revision: int, start: str, limit: int) -> Page:
    """What is meant of the listing of a revision, from `start` on and at most `limit` of it (0: all)."""
    qualified = not matcher.namespace
    first = bisect_left(entries, start, key=lambda entry: _key(entry, qualified)) if start else 0
    if not limit:
        whole = entries if not first else entries[first:]
        return Page(whole if matcher.everything else list(matcher.of(whole)), revision)
    if matcher.everything:
        found, remaining = entries[first : first + limit], max(0, len(entries) - first - limit)
        more = remaining > 0
    else:
        found, remaining = [], 0
        more = False
        for index in range(first, len(entries)):
            if not matcher.selects(entries[index]):
                continue
            if len(found) == limit:
                more = True
                break
            found.append(entries[index])
    if not more:
        return Page(found, revision)
    token = make_token(revision, _key(found[-1], qualified) + _AFTER)
    return Page(found, revision, token, remaining if matcher.everything else None)


def _key(entry: Entry, qualified: bool) -> str:
    """Where an entry stands in its list: namespace and name, the name alone within one namespace."""
    stream = entry.stream
    return f"{stream.namespace}\x01{stream.name}" if qualified and stream.namespace else stream.name
