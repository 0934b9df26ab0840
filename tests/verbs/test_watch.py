"""Watches: each change once and in order, for any selection; bookmarks; ends."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from ksql.auth.identity import User
from ksql.schema.errors import BadRequestError, ForbiddenError, GoneError, InvalidError
from ksql.state.entry import Frame, bookmark
from ksql.state.window import WINDOW_SECONDS
from ksql.verbs.request import Selection
from ksql.verbs.watching import BOOKMARK_SECONDS
from tests.verbs.room import Room, config, inside, pod


def told(frames: Sequence[Frame]) -> list[tuple[str, str]]:
    return [
        (frame.change.value, frame.entry.stream.name)
        if frame.change is not None and frame.entry is not None
        else ("BOOKMARK", str(frame.revision))
        for frame in frames
    ]


async def some(feed: AsyncIterator[Sequence[Frame]], count: int) -> list[tuple[str, str]]:
    """At least `count` frames."""
    found: list[tuple[str, str]] = []
    while len(found) < count:
        found += told(await anext(feed))
    return found


async def test_a_watch_from_a_revision_sees_each_change_after_it(room: Room) -> None:
    await room.create("configmaps", config("a"))
    after = str(room.log.head)
    await room.create("configmaps", config("b"))
    feed = room.watch("configmaps", resource_version=after)
    assert await some(feed, 1) == [("ADDED", "b")]
    await room.patch("configmaps", "shop", "a", {"data": {"x": "1"}})
    await room.create("configmaps", config("elsewhere", "default"))
    await room.delete("configmaps", "shop", "b")
    assert await some(feed, 3) == [("MODIFIED", "a"), ("ADDED", "elsewhere"), ("DELETED", "b")]


@pytest.mark.parametrize("version", ["", "0"])
async def test_a_watch_from_nowhere_begins_with_the_state(room: Room, version: str) -> None:
    await room.create("configmaps", config("b"))
    await room.create("configmaps", config("a"))
    feed = room.watch("configmaps", resource_version=version)
    assert await some(feed, 2) == [("ADDED", "a"), ("ADDED", "b")]
    await room.delete("configmaps", "shop", "a")
    assert await some(feed, 1) == [("DELETED", "a")]


async def test_a_streamed_list_ends_its_state_with_a_bookmark(room: Room) -> None:
    await room.create("configmaps", config("a"))
    feed = room.watch(
        "configmaps", send_initial_events=True, resource_version_match="NotOlderThan", allow_bookmarks=True
    )
    (added, end) = await anext(feed)
    assert told([added, end]) == [("ADDED", "a"), ("BOOKMARK", str(room.log.head))]
    assert end.initial_end
    assert bookmark("v1", "ConfigMap", end) == (
        b'{"type":"BOOKMARK","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"resourceVersion":"%d",'
        b'"creationTimestamp":null,"annotations":{"k8s.io/initial-events-end":"true"}}}}\n' % room.log.head
    )


async def test_a_streamed_list_of_nothing_is_the_bookmark_alone(room: Room) -> None:
    feed = room.watch(
        "secrets", send_initial_events=True, resource_version_match="NotOlderThan", allow_bookmarks=True,
        resource_version="1",
    )  # fmt: skip
    assert told(await anext(feed)) == [("BOOKMARK", str(room.log.head))]


async def test_without_initial_events_the_watch_begins_now(room: Room) -> None:
    await room.create("configmaps", config("a"))
    feed = room.watch("configmaps", send_initial_events=False, resource_version_match="NotOlderThan")
    await room.create("configmaps", config("b"))
    assert await some(feed, 1) == [("ADDED", "b")]


async def test_a_label_that_changes_lets_the_object_come_and_go(room: Room) -> None:
    feed = room.watch("configmaps", resource_version=str(room.log.head), label_selector="app=web")
    await room.create("configmaps", config("a"))
    await room.patch("configmaps", "shop", "a", {"metadata": {"labels": {"app": "web"}}})
    await room.patch("configmaps", "shop", "a", {"data": {"x": "1"}})
    await room.patch("configmaps", "shop", "a", {"metadata": {"labels": {"app": "db"}}})
    await room.patch("configmaps", "shop", "a", {"data": {"x": "2"}})
    await room.delete("configmaps", "shop", "a")
    await room.create(
        "configmaps", {**config("end"), "metadata": {**config("end")["metadata"], "labels": {"app": "web"}}}
    )
    assert await some(feed, 4) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a"), ("ADDED", "end")]


async def test_what_leaves_a_selection_is_shown_as_it_last_matched(room: Room) -> None:
    body = config("a")
    body["metadata"]["labels"] = {"app": "web"}
    await room.create("configmaps", body)
    feed = room.watch("configmaps", resource_version=str(room.log.head), label_selector="app=web")
    await room.patch("configmaps", "shop", "a", {"metadata": {"labels": None}, "data": {"colour": "red"}})
    (frame,) = await anext(feed)
    assert frame.entry is not None
    assert frame.entry.document["metadata"]["labels"] == {"app": "web"}
    assert frame.entry.document["data"] == {"colour": "blue"}
    assert frame.entry.document["metadata"]["resourceVersion"] == str(room.log.head) == str(frame.revision)
    assert f'"resourceVersion":"{room.log.head}"'.encode() in frame.line


async def test_a_node_watches_the_pods_that_are_bound_to_it(room: Room) -> None:
    feed = room.watch("pods", resource_version=str(room.log.head), field_selector="spec.nodeName=node-1")
    other = room.watch("pods", resource_version=str(room.log.head), field_selector="spec.nodeName=node-2")
    await room.create("pods", pod("a"))
    target = {"target": {"name": "node-1"}}
    await room.perform("create", "pods", "shop", "a", subresource="binding", body=target)
    await room.create("pods", pod("b", node="node-2"))
    await room.create("pods", pod("c", node="node-1"))
    await room.delete("pods", "shop", "a", grace_period_seconds=0)
    assert await some(feed, 3) == [("ADDED", "a"), ("ADDED", "c"), ("DELETED", "a")]
    assert await some(other, 1) == [("ADDED", "b")]


async def test_one_object_can_be_watched_by_its_name(room: Room) -> None:
    feed = room.watch(
        "configmaps", "shop", resource_version=str(room.log.head), field_selector="metadata.name=b"
    )
    for name in "abc":
        await room.create("configmaps", config(name))
    await room.create("configmaps", config("b", "default"))
    await room.delete("configmaps", "shop", "b")
    assert await some(feed, 2) == [("ADDED", "b"), ("DELETED", "b")]


async def test_a_slice_that_is_joined_late_holds_what_the_window_holds(room: Room) -> None:
    after = str(room.log.head)
    await room.create("pods", pod("a", node="node-1"))
    await room.create("pods", pod("b", node="node-2"))
    feed = room.watch("pods", resource_version=after, field_selector="spec.nodeName=node-1")
    assert await some(feed, 1) == [("ADDED", "a")]
    await room.create("pods", pod("c", node="node-1"))
    again = room.watch("pods", resource_version=after, field_selector="spec.nodeName=node-1")
    assert await some(again, 2) == [("ADDED", "a"), ("ADDED", "c")]
    await feed.aclose()  # type: ignore[attr-defined]
    await room.create("pods", pod("d", node="node-1"))
    assert await some(again, 1) == [("ADDED", "d")]


async def test_all_watchers_share_the_bytes_of_a_line(room: Room) -> None:
    after = str(room.log.head)
    feeds = [room.watch("configmaps", resource_version=after) for _ in range(3)]
    await room.create("configmaps", config("a"))
    lines = [(await anext(feed))[0].line for feed in feeds]
    assert lines[0].startswith(b'{"type":"ADDED","object":{"apiVersion":"v1"') and lines[0].endswith(b"}\n")
    assert lines[0] is lines[1] is lines[2]


def test_bookmarks_tell_how_far_the_watch_is_although_nothing_happened_to_it() -> None:
    async def test(room: Room) -> None:
        feed = room.watch("secrets", resource_version=str(room.log.head), allow_bookmarks=True)
        waiting = asyncio.ensure_future(anext(feed))
        await room.clock.sleep(BOOKMARK_SECONDS / 2)
        await room.create("configmaps", config())
        before = room.clock.monotonic()
        (frame,) = await waiting
        assert told([frame]) == [("BOOKMARK", str(room.log.head))]
        assert room.clock.monotonic() - before == pytest.approx(BOOKMARK_SECONDS / 2)

    inside(test)


def test_a_watch_ends_when_its_time_is_up() -> None:
    async def test(room: Room) -> None:
        begun = room.clock.monotonic()
        feed = room.watch("secrets", resource_version=str(room.log.head), timeout_seconds=7)
        assert [batch async for batch in feed] == []
        assert room.clock.monotonic() - begun == pytest.approx(7)

    inside(test)


def test_a_watch_that_is_ending_says_how_far_it_came() -> None:
    async def test(room: Room) -> None:
        feed = room.watch(
            "secrets", resource_version=str(room.log.head), timeout_seconds=7, allow_bookmarks=True
        )
        await room.create("configmaps", config())
        batches = [told(batch) async for batch in feed]
        assert batches == [[("BOOKMARK", str(room.log.head))]]

    inside(test)


def test_a_revision_older_than_the_window_is_gone() -> None:
    async def test(room: Room) -> None:
        old = str(room.log.head)
        for index in range(4):
            await room.create("configmaps", config(f"c{index}"))
            await room.clock.sleep(WINDOW_SECONDS)
        await room.create("configmaps", config("last"))
        with pytest.raises(GoneError, match=rf"too old resource version: {old} \("):
            room.watch("configmaps", resource_version=old)

    inside(test)


def test_a_quiet_resource_does_not_expire() -> None:
    async def test(room: Room) -> None:
        await room.create("secrets", {"metadata": {"name": "a", "namespace": "shop"}})
        old = str(room.log.head)
        for index in range(4):
            await room.create("configmaps", config(f"c{index}"))
            await room.clock.sleep(WINDOW_SECONDS)
        feed = room.watch("secrets", resource_version=old)
        await room.delete("secrets", "shop", "a")
        assert await some(feed, 1) == [("DELETED", "a")]

    inside(test)


async def test_a_watcher_that_falls_behind_is_told_to_list_again(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ksql.state.window.WINDOW_FRAMES_MAX", 8)
    monkeypatch.setattr("ksql.state.window.DROP_FRAMES", 4)
    feed = room.watch("configmaps", resource_version=str(room.log.head))
    for index in range(20):
        await room.create("configmaps", config(f"c{index}"))
    with pytest.raises(GoneError, match="too old resource version"):
        await anext(feed)


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"resource_version_match": "NotOlderThan"}, "for watch unless sendInitialEvents is provided"),
        ({"send_initial_events": True}, "requires setting resourceVersionMatch to NotOlderThan"),
        ({"send_initial_events": True, "resource_version_match": "Exact"}, 'Unsupported value: "Exact"'),
    ],
)  # fmt: skip
async def test_options_that_contradict_each_other_are_refused_before_the_first_frame(
    room: Room, selection: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidError, match=message):
        room.watch("configmaps", **selection)


async def test_bad_selectors_and_strangers_are_refused_before_the_first_frame(room: Room) -> None:
    with pytest.raises(BadRequestError):
        room.watch("configmaps", label_selector="a==b==c")
    with pytest.raises(ForbiddenError):
        room.pipeline.watch(room.request("watch", "secrets", user=User("bob")), Selection())
