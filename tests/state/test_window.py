"""The watch window: positions, slices, bounds by number and by age."""

import asyncio

import pytest

from ksql.base.clock import SystemClock, VirtualClock, run_virtual
from ksql.base.documents import encode
from ksql.log.event import Change, Event
from ksql.schema.errors import GoneError
from ksql.state import window
from ksql.state.objects import Objects
from tests.state.events import event


@pytest.fixture
def objects() -> Objects:
    return Objects(SystemClock(seed=1))


def on(revision: int, name: str, node: str, change: Change = Change.MODIFIED) -> Event:
    return event(revision, name, change, resource="pods", spec={"nodeName": node} if node else {})


def test_watchers_of_one_ring_go_each_at_its_own_pace(objects: Objects) -> None:
    objects.fold([event(1, "a")])
    early, late = objects.window.watch("configmaps", 0), objects.window.watch("configmaps", 1)
    assert [f.revision for f in early.take()] == [1]
    assert list(late.take()) == []
    objects.fold([event(2, "b"), event(3, "x", resource="secrets"), event(4, "c")])
    assert [f.revision for f in early.take()] == [f.revision for f in late.take()] == [2, 4]
    assert list(early.take()) == [] and early.revision == 4


def test_a_frame_knows_what_was_before(objects: Objects) -> None:
    watcher = objects.window.watch("configmaps", 0)
    objects.fold([event(1, "a"), event(2, "a", Change.MODIFIED), event(3, "a", Change.DELETED)])
    first, second, third = watcher.take()
    assert first.previous is None and second.previous is first.entry and third.previous is second.entry
    assert third.entry is not None and third.entry.revision == 3


def test_what_fell_out_of_the_window_is_gone(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "WINDOW_FRAMES_MAX", 4)
    monkeypatch.setattr(window, "DROP_FRAMES", 2)
    watcher = objects.window.watch("configmaps", 0)
    objects.fold([event(revision, f"c{revision}") for revision in range(1, 9)])
    with pytest.raises(GoneError, match=r"too old resource version: 0 \(4\)"):
        watcher.take()
    with pytest.raises(GoneError, match=r"too old resource version: 3 \(4\)"):
        objects.window.watch("configmaps", 3)
    assert [f.revision for f in objects.window.watch("configmaps", 4).take()] == [5, 6, 7, 8]


def test_frames_and_their_documents_leave_with_age() -> None:
    async def main(clock: VirtualClock) -> None:
        objects = Objects(clock)
        objects.fold([event(1, "a")])
        kept = objects.get("configmaps", "shop", "a")
        assert kept is not None and kept.document
        await clock.sleep(window.WINDOW_SECONDS)
        objects.fold([event(2, "b")])
        await clock.sleep(10)
        objects.fold([event(3, "c")])
        assert objects.window.expired == 1
        assert kept._document is None and kept.document["metadata"]["name"] == "a"
        with pytest.raises(GoneError):
            objects.window.watch("configmaps", 0)
        assert [f.revision for f in objects.window.watch("configmaps", 1).take()] == [2, 3]

    run_virtual(main)


def test_before_a_restart_nothing_can_be_resumed(objects: Objects) -> None:
    objects.window.start(40)
    with pytest.raises(GoneError, match=r"too old resource version: 39 \(40\)"):
        objects.window.watch("configmaps", 39)
    assert list(objects.window.watch("configmaps", 40).take()) == []


def test_a_slice_sees_what_comes_to_it_and_what_leaves_it(objects: Objects) -> None:
    watcher = objects.window.watch("pods", 0, ("spec.nodeName", "n1"))
    objects.fold([on(1, "a", "", Change.ADDED), on(2, "a", "n1"), on(3, "b", "n2", Change.ADDED)])
    objects.fold([on(4, "a", "n2"), on(5, "a", "n2"), on(6, "b", "n2", Change.DELETED)])
    assert [f.revision for f in watcher.take()] == [2, 4]


def test_a_slice_that_nobody_follows_is_dropped(objects: Objects) -> None:
    first = objects.window.watch("pods", 0, ("spec.nodeName", "n1"))
    second = objects.window.watch("pods", 0, ("spec.nodeName", "n1"))
    first.close()
    objects.fold([on(1, "a", "n1", Change.ADDED)])
    assert [f.revision for f in second.take()] == [1]
    second.close()
    assert objects.window._slices == {}


def test_only_those_are_woken_whom_a_change_concerns() -> None:
    async def main(clock: VirtualClock) -> None:
        objects = Objects(clock)
        ours = objects.window.watch("pods", 0, ("spec.nodeName", "n1"))
        theirs = objects.window.watch("pods", 0, ("spec.nodeName", "n2"))
        woken = [asyncio.create_task(watcher.next(30)) for watcher in (ours, theirs)]
        await clock.sleep(1)
        objects.fold([on(1, "a", "n2", Change.ADDED)])
        await clock.sleep(1)
        assert [task.done() for task in woken] == [False, True]
        assert list(await woken[0]) == [] and clock.monotonic() == pytest.approx(30)

    run_virtual(main)


def test_a_watcher_that_is_cancelled_leaves_the_others_waiting() -> None:
    async def main(clock: VirtualClock) -> None:
        objects = Objects(clock)
        tasks = [asyncio.create_task(objects.window.watch("pods", 0).next()) for _ in range(2)]
        await clock.sleep(1)
        tasks[0].cancel()
        await clock.sleep(1)
        objects.fold([on(1, "a", "", Change.ADDED)])
        assert [f.revision for f in await tasks[1]] == [1]
        assert tasks[0].cancelled()

    run_virtual(main)


def test_nothing_new_of_a_resource_is_certain_within_the_window(objects: Objects) -> None:
    objects.fold([event(1, "a"), event(2, "x", resource="secrets")])
    assert objects.window.unchanged_since("configmaps", 1)
    assert not objects.window.unchanged_since("configmaps", 0)
    assert objects.window.unchanged_since("leases", 0)
    objects.window.start(9)
    assert not objects.window.unchanged_since("configmaps", 8)
    assert objects.window.unchanged_since("configmaps", 9)


def test_bytes_of_an_unparsed_event_are_not_parsed_for_a_watch_of_everything(objects: Objects) -> None:
    broken = event(1, "a", parsed=False)
    broken.payload = encode({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}})[:-1] + b'"'
    watcher = objects.window.watch("configmaps", 0)
    objects.fold([broken])
    (frame,) = watcher.take()
    assert frame.line.startswith(b'{"type":"ADDED"')
