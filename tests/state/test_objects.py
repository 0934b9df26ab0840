"""Current objects: the fold, its order, its indexes, and how it starts from a log."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest

from ksql.base.clock import SystemClock, VirtualClock, run_virtual
from ksql.log.event import Change, Event
from ksql.log.protocol import EventLog
from ksql.state.objects import Objects
from tests.state.events import event


@pytest.fixture
def objects() -> Objects:
    return Objects(SystemClock(seed=1))


def names(objects: Objects, namespace: str = "") -> list[tuple[str, str]]:
    return [(e.stream.namespace, e.stream.name) for e in objects.list("configmaps", namespace)]


def test_the_newest_event_of_an_object_is_what_is(objects: Objects) -> None:
    objects.fold([event(1, "a", data={"x": "1"})])
    objects.fold([event(2, "a", Change.MODIFIED, data={"x": "2"})])
    entry = objects.get("configmaps", "shop", "a")
    assert entry is not None and entry.document["data"] == {"x": "2"}
    assert entry is objects.by_uid("uid-of-shop-a")
    assert (objects.revision, objects.count("configmaps")) == (2, 1)


def test_what_was_deleted_is_nowhere(objects: Objects) -> None:
    objects.fold([event(1, "a", owners=("o",)), event(2, "a", Change.DELETED, owners=("o",))])
    assert objects.get("configmaps", "shop", "a") is None
    assert objects.by_uid("uid-of-shop-a") is None
    assert (names(objects), objects.count("configmaps"), objects.dependents("o")) == ([], 0, [])
    assert objects.resources() == []


def test_a_fold_that_comes_twice_counts_once(objects: Objects) -> None:
    batch = [event(1, "a"), event(2, "a", Change.DELETED)]
    objects.fold(batch)
    objects.fold(batch)
    assert (names(objects), objects.revision) == ([], 2)


def test_lists_are_in_order_whatever_came_when(objects: Objects) -> None:
    arrivals = [("shop", "c"), ("a", "z"), ("shop", "a"), ("shop-2", "a"), ("shop", "b-1"), ("shop", "b")]
    for revision, (namespace, name) in enumerate(arrivals, 1):
        objects.fold([event(revision, name, namespace=namespace)])
        assert names(objects) == sorted(arrivals[:revision])
    assert names(objects, "shop") == [("shop", n) for n in ("a", "b", "b-1", "c")]
    objects.fold([event(7, "b", Change.DELETED)])
    objects.fold([event(8, "b", uid="another")])
    objects.fold([event(9, "a", Change.DELETED, namespace="shop-2")])
    assert names(objects) == [("a", "z"), ("shop", "a"), ("shop", "b"), ("shop", "b-1"), ("shop", "c")]


def test_a_listing_handed_out_does_not_change(objects: Objects) -> None:
    objects.fold([event(1, "a")])
    listing = objects.list("configmaps", "shop")
    assert objects.list("configmaps", "shop") is listing, "nothing happened: the same listing"
    objects.fold([event(2, "b")])
    assert len(listing) == 1 and len(objects.list("configmaps", "shop")) == 2


@pytest.mark.parametrize("parsed", [True, False])
def test_dependents_are_known_by_their_owner(objects: Objects, parsed: bool) -> None:
    objects.fold(
        [event(1, "b", parsed=parsed, owners=("o", "p")), event(2, "a", parsed=parsed, owners=("o",))]
    )
    assert [e.stream.name for e in objects.dependents("o")] == ["a", "b"]
    objects.fold([event(3, "b", Change.MODIFIED, parsed=parsed, owners=("p",))])
    assert [e.stream.name for e in objects.dependents("o")] == ["a"]
    assert [e.stream.name for e in objects.dependents("p")] == ["b"]
    objects.fold([event(4, "a", Change.MODIFIED, parsed=parsed)])
    assert objects.dependents("o") == []


def test_a_word_in_the_data_is_no_owner(objects: Objects) -> None:
    objects.fold([event(1, "a", parsed=False, template={"metadata": {"ownerReferences": [{"uid": "o"}]}})])
    assert objects.dependents("o") == []


class Pages:
    """A log's beginning: pages of current objects, between which others may write."""

    def __init__(self, pages: Sequence[Sequence[Event]], between: Any = None) -> None:
        self.head = max((e.revision for page in pages for e in page), default=0)
        self._pages, self._between = pages, between

    async def current(self) -> AsyncIterator[Sequence[Event]]:
        for page in self._pages:
            yield page
            if self._between is not None:
                self._between()


async def test_state_starts_from_the_log_s_current_objects(objects: Objects) -> None:
    first = [event(3, "a", parsed=False), event(5, "b", parsed=False, owners=("uid-of-shop-a",))]
    await objects.load(cast(EventLog, Pages([first, [event(9, "x", resource="secrets", parsed=False)]])))
    assert (objects.revision, names(objects)) == (9, [("shop", "a"), ("shop", "b")])
    assert [e.stream.name for e in objects.dependents("uid-of-shop-a")] == ["b"]
    assert objects.resources() == ["configmaps", "secrets"]


async def test_what_is_written_while_state_loads_is_not_lost_and_not_undone(objects: Objects) -> None:
    pages = [[event(1, "a", parsed=False)], [event(2, "b", parsed=False)]]
    late = iter([[event(3, "c"), event(4, "b", Change.DELETED)], []])
    log = Pages(pages, lambda: objects.fold(next(late)))
    await objects.load(cast(EventLog, log))
    assert (objects.revision, names(objects)) == (4, [("shop", "a"), ("shop", "c")])


def test_a_fold_wakes_who_waits() -> None:
    async def main(clock: VirtualClock) -> None:
        import asyncio

        objects = Objects(clock)
        waiting = asyncio.create_task(objects.changed.wait())
        await clock.sleep(1)
        assert not waiting.done()
        objects.fold([event(1, "a")])
        await waiting
        begun = clock.monotonic()
        await objects.changed.wait(5)
        assert clock.monotonic() - begun == pytest.approx(5)

    run_virtual(main)
