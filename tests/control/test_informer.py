"""Informers: the cache follows the cluster through gaps and refusals, and tells each net change once."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from ksql.base.clock import VirtualClock, run_virtual
from ksql.base.documents import Document
from ksql.client import Listing, Notice
from ksql.control.informer import RETRY_SECONDS_MAX, Informer, Informers, Update
from ksql.control.trigger import INTENT, NOISE, is_intent
from ksql.schema.errors import GoneError, UnavailableError


class Store:
    """One resource of a cluster, small: a history of changes, a window, and refusals when asked for."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.history: list[Notice] = []
        self.objects: dict[str, Document] = {}
        self.horizon = 0
        self.refusals = 0
        self.lists = self.watches = 0
        self.changed = asyncio.Event()

    @property
    def head(self) -> int:
        return self.history[-1].revision if self.history else 0

    def write(self, name: str, uid: str = "", namespace: str = "ns", **fields: Any) -> int:
        revision = self.head + 1
        meta = {"name": name, "namespace": namespace, "uid": uid or name, "resourceVersion": str(revision)}
        document = {"metadata": {**meta, **fields.pop("metadata", {})}, **fields}
        change = "MODIFIED" if name in self.objects else "ADDED"
        self.objects[name] = document
        self._append(Notice(change, revision, document))
        return revision

    def remove(self, name: str) -> int:
        self._append(Notice("DELETED", self.head + 1, self.objects.pop(name)))
        return self.head

    def _append(self, notice: Notice) -> None:
        self.history.append(notice)
        self.changed.set()

    def cut(self) -> None:
        """Forget the history and end every watch, as a restart of the server long ago would."""
        self.horizon = self.head
        self.changed.set()

    def _refuse(self) -> None:
        if self.refusals:
            self.refusals -= 1
            raise UnavailableError("the log cannot be written now")

    async def list(self, resource: str, namespace: str = "", **_: str) -> Listing:
        self._refuse()
        self.lists += 1
        return Listing(list(self.objects.values()), self.head)

    async def watch(
        self, resource: str, after: int, namespace: str = "", **_: str
    ) -> AsyncIterator[Sequence[Notice]]:
        self.watches += 1
        while True:
            self._refuse()
            if after < self.horizon:
                raise GoneError("too old resource version")
            batch = [notice for notice in self.history if notice.revision > after]
            if batch:
                after = batch[-1].revision
                yield batch
            self.changed.clear()
            await self.changed.wait()


class Follower:
    """An informer at work, and what its handler was told."""

    def __init__(self, store: Store) -> None:
        self.informer = Informer(store, "things", store.clock)  # type: ignore[arg-type]
        self.told: list[tuple[str, str]] = []
        self.updates: list[Update] = []
        self.informer.add_handler(self._handle)
        self.task = asyncio.create_task(self.informer.run())

    def _handle(self, update: Update) -> None:
        self.told.append((update.change, update.document["metadata"]["name"]))
        self.updates.append(update)

    async def aclose(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def followed(story: Any) -> None:
    async def main(clock: VirtualClock) -> None:
        store = Store(clock)
        await story(store, clock)

    run_virtual(main)


def test_it_lists_once_then_follows() -> None:
    async def story(store: Store, clock: VirtualClock) -> None:
        store.write("a")
        follower = Follower(store)
        await follower.informer.synced()
        store.write("b")
        store.write("a", spec=1)
        await follower.informer.seen(store.remove("b"))
        assert follower.told == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]
        assert [each["spec"] for each in follower.informer.list()] == [1]
        assert (store.lists, store.watches) == (1, 1)
        await follower.aclose()

    followed(story)


def test_after_a_gap_it_lists_again_and_tells_the_net_change() -> None:
    async def story(store: Store, clock: VirtualClock) -> None:
        for name in ("gone", "same", "changed"):
            store.write(name)
        store.write("reborn", uid="first life")
        follower = Follower(store)
        await follower.informer.synced()
        await clock.sleep(1)
        follower.told.clear()
        # All of this happens while the watch is already too old to tell of it.
        store.remove("gone")
        store.write("changed", spec=2)
        store.remove("reborn")
        store.write("reborn", uid="second life")
        store.write("new")
        store.cut()
        await clock.sleep(1)
        assert sorted(follower.told) == [
            ("ADDED", "new"), ("ADDED", "reborn"), ("DELETED", "gone"), ("DELETED", "reborn"),
            ("MODIFIED", "changed"),
        ]  # fmt: skip
        assert follower.told.index(("DELETED", "reborn")) < follower.told.index(("ADDED", "reborn"))
        assert store.lists == 2
        await follower.aclose()

    followed(story)


def test_a_refresh_shows_what_the_watch_has_not_told_yet_and_its_old_news_are_skipped() -> None:
    async def story(store: Store, clock: VirtualClock) -> None:
        store.write("a")
        follower = Follower(store)
        await follower.informer.synced()
        await clock.sleep(1)
        # Written within one instant: the watch comes to it only after the list.
        store.remove("a")
        store.write("a", uid="second life")
        await follower.informer.refresh()
        found = follower.informer.get("ns", "a")
        assert found is not None and found["metadata"]["uid"] == "second life"
        await clock.sleep(1)
        assert follower.informer.get("ns", "a") is found
        assert follower.told == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a")]
        await follower.aclose()

    followed(story)


def test_a_list_older_than_the_cache_is_taken_only_when_the_cluster_went_back_for_good() -> None:
    async def story(store: Store, clock: VirtualClock) -> None:
        for name in ("a", "b", "c"):
            store.write(name)
        follower = Follower(store)
        await follower.informer.synced()
        await clock.sleep(1)
        # Restored from long ago: every list is older than what was seen.
        del store.history[1:], store.objects["b"], store.objects["c"]
        await follower.informer.refresh()
        assert len(follower.informer) == 3
        store.horizon = 10
        store.changed.set()
        await clock.sleep(120)
        assert [each["metadata"]["name"] for each in follower.informer.list()] == ["a"]
        await follower.aclose()

    followed(story)


def test_refusals_are_met_with_growing_pauses_and_no_new_list() -> None:
    async def story(store: Store, clock: VirtualClock) -> None:
        store.write("a")
        follower = Follower(store)
        await follower.informer.synced()
        await clock.sleep(1)
        store.refusals = 6
        started = clock.monotonic()
        revision = store.write("b")
        await follower.informer.seen(revision)
        assert 5 < clock.monotonic() - started < 60
        assert store.lists == 1
        await follower.aclose()

    followed(story)


def test_the_first_list_is_tried_until_it_is_there_and_pauses_are_capped() -> None:
    async def story(store: Store, clock: VirtualClock) -> None:
        store.refusals = 20
        follower = Follower(store)
        await clock.sleep(1)
        assert not follower.informer.has_synced
        await follower.informer.synced()
        assert clock.monotonic() < 20 * RETRY_SECONDS_MAX * 1.5
        await follower.aclose()

    followed(story)


def test_indexes_follow_every_change() -> None:
    async def story(store: Store, clock: VirtualClock) -> None:
        follower = Follower(store)
        informer = follower.informer
        informer.add_index("color", lambda document: document.get("colors", ()))
        owners = {"ownerReferences": [{"uid": "o", "controller": True}]}
        store.write("a", colors=["red", "blue"], metadata=owners)
        await informer.seen(store.write("b", colors=["red"], namespace="other"))
        assert [each["metadata"]["name"] for each in informer.indexed("color", "red")] == ["a", "b"]
        assert informer.count("owner", "o") == informer.count("controller", "o") == 1
        await informer.seen(store.write("a", colors=["blue"]))
        assert [each["metadata"]["name"] for each in informer.indexed("color", "red")] == ["b"]
        assert informer.count("owner", "o") == 0
        await informer.seen(store.remove("b"))
        assert informer.indexed("color", "red") == []
        assert [each["metadata"]["name"] for each in informer.list("ns")] == ["a"]
        informer.add_index("late", lambda document: ["x"])
        assert informer.count("late", "x") == 1
        await follower.aclose()

    followed(story)


def test_a_late_handler_is_told_what_is_there() -> None:
    async def story(store: Store, clock: VirtualClock) -> None:
        store.write("a")
        follower = Follower(store)
        await follower.informer.synced()
        late: list[Update] = []
        follower.informer.add_handler(late.append)
        assert [(update.change, update.revision) for update in late] == [("ADDED", 1)]
        await follower.aclose()

    followed(story)


def test_a_handler_that_fails_does_not_blind_the_others(caplog: pytest.LogCaptureFixture) -> None:
    async def story(store: Store, clock: VirtualClock) -> None:
        follower = Follower(store)
        informer = follower.informer
        informer._handlers.insert(0, lambda update: 1 / 0)  # type: ignore[arg-type, return-value]
        await informer.seen(store.write("a"))
        assert follower.told == [("ADDED", "a")]
        await follower.aclose()

    followed(story)
    assert "ZeroDivisionError" in caplog.text


def test_seen_and_ended_wait_for_the_cache() -> None:
    async def story(store: Store, clock: VirtualClock) -> None:
        store.write("a")
        follower = Follower(store)
        await follower.informer.synced()
        ended = asyncio.create_task(follower.informer.ended("a"))
        seen = asyncio.create_task(follower.informer.seen(3))
        await clock.sleep(1)
        assert not ended.done()
        assert not seen.done()
        store.write("b")
        store.write("a", metadata={"deletionTimestamp": "2030-01-01T00:00:00Z"})
        await asyncio.gather(ended, seen)
        await follower.informer.ended("never was")
        await follower.aclose()

    followed(story)


def test_two_that_ask_for_a_resource_share_one_watch() -> None:
    async def story(store: Store, clock: VirtualClock) -> None:
        informers = Informers(store, clock)  # type: ignore[arg-type]
        first = informers.of("things")
        informers.start()
        assert informers.of("things") is first
        informers.of("others")
        await informers.synced()
        await clock.sleep(1)
        assert (store.lists, store.watches) == (2, 2)
        await informers.aclose()

    followed(story)


def thing(**fields: Any) -> Document:
    return {"metadata": {"name": "a", **fields.pop("metadata", {})}, **fields}


@pytest.mark.parametrize(
    ("old", "new", "weight"),
    [
        (thing(status=1), thing(status=2), NOISE),
        (thing(spec=1), thing(spec=2), INTENT),
        (thing(data=1), thing(), INTENT),
        (thing(spec=1, metadata={"generation": 1}), thing(spec=2, metadata={"generation": 1}), NOISE),
        (thing(metadata={"generation": 1}), thing(metadata={"generation": 2}), INTENT),
        (thing(), thing(metadata={"deletionTimestamp": "x"}), INTENT),
        (thing(), thing(metadata={"labels": {"a": "b"}}), INTENT),
        (thing(), thing(metadata={"annotations": {"a": "b"}}), NOISE),
    ],
)
def test_what_is_wanted_weighs_more_than_what_happened(old: Document, new: Document, weight: int) -> None:
    assert int(is_intent("MODIFIED", old, new)) == weight
    assert is_intent("ADDED", None, new)
    assert is_intent("DELETED", old, None)
