"""Laws of the verbs: what a client pieces together from answers is what is; the log says the same."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from ksql.base.clock import VirtualClock, run_virtual
from ksql.base.documents import Document
from ksql.log.event import Change
from ksql.log.verify import verify
from ksql.schema.errors import ApiError
from ksql.state.entry import Frame
from tests.verbs.room import Room, opened

NAMES, LABELS = ("a", "b", "c", "d"), ("web", "db", None)
SELECTORS = ("", "app=web", "app", "!app", "app notin (web)")

action = st.tuples(
    st.sampled_from(["create", "patch", "update", "delete", "stale", "dry", "nothing", "finalize", "collection"]),
    st.sampled_from(NAMES),
    st.sampled_from(LABELS),
    st.integers(0, 2),
)
actions = st.lists(action, max_size=25)


def body(name: str, label: str | None, value: int) -> Document:
    metadata: Document = {"name": name, "namespace": "shop"}
    if label:
        metadata["labels"] = {"app": label}
    return {"metadata": metadata, "data": {"v": str(value)}}


async def act(room: Room, verb: str, name: str, label: str | None, value: int) -> bool:
    """Try one thing; whether it was let through."""
    labels = {"labels": {"app": label}}
    try:
        if verb == "create":
            await room.create("configmaps", body(name, label, value))
        elif verb == "update":
            await room.update("configmaps", body(name, label, value))
        elif verb == "delete":
            await room.delete("configmaps", "shop", name)
        elif verb == "stale":
            await room.patch("configmaps", "shop", name, {"metadata": {"resourceVersion": "1", **labels}})
        elif verb == "finalize":
            finalizers = ["example.com/a"] if value else None
            await room.patch("configmaps", "shop", name, {"metadata": {"finalizers": finalizers}})
        elif verb == "collection":
            from ksql.verbs.request import Selection

            request = room.request("deletecollection", "configmaps", "shop")
            await room.pipeline.delete_collection(request, Selection(label_selector=SELECTORS[value]))
        elif verb == "nothing":
            await room.patch("configmaps", "shop", name, {})
        else:
            patch = {"metadata": labels, "data": {"v": str(value)}}
            await room.patch("configmaps", "shop", name, patch, options={"dry_run": verb == "dry"})
    except ApiError:
        return False
    return True


def absorb(seen: dict[str, int], frames: Sequence[Frame]) -> None:
    """Take frames in as a client would; each must make sense to it."""
    for frame in frames:
        if frame.entry is None:
            continue
        name = frame.entry.stream.name
        if frame.change is Change.DELETED:
            assert name in seen
            del seen[name]
        else:
            assert (frame.change is Change.ADDED) == (name not in seen), (frame, seen)
            seen[name] = frame.entry.revision


async def following(feed: AsyncIterator[Sequence[Frame]], seen: dict[str, int]) -> None:
    async for frames in feed:
        absorb(seen, frames)


@settings(max_examples=40, deadline=None)
@given(actions, st.sampled_from(SELECTORS), st.integers(0, 25))
def test_a_list_and_the_watch_after_it_make_the_list_of_now_for_any_selection_and_reconnect(
    actions: list[tuple[str, str, str | None, int]], selector: str, begin: int
) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(clock) as room:
            for one in actions[:begin]:
                await act(room, *one)
            page = await room.page("configmaps", "shop", label_selector=selector)
            seen = {e.stream.name: e.revision for e in page.entries}
            revision = page.revision
            for first in range(begin, len(actions), 5):
                feed = room.watch("configmaps", "shop", label_selector=selector, resource_version=str(revision))
                task = asyncio.create_task(following(feed, seen))
                for one in actions[first : first + 5]:
                    await act(room, *one)
                revision = room.objects.revision
                await clock.sleep(1)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                assert task.cancelled(), task.exception()
            now = await room.page("configmaps", "shop", label_selector=selector)
            assert seen == {e.stream.name: e.revision for e in now.entries}

    run_virtual(main)


@settings(max_examples=40, deadline=None)
@given(actions)
def test_each_revision_is_a_change_that_was_let_through_and_state_is_their_fold(
    actions: list[tuple[str, str, str | None, int]],
) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(clock) as room:
            for one in actions:
                head = room.log.head
                passed = await act(room, *one)
                if not passed or one[0] in ("dry", "nothing"):
                    assert room.log.head == head, "refused, rehearsed and empty writes use no revision"
                assert room.objects.revision == room.log.head
            assert await verify(room.log) is None
            past = {e.stream.uid: e.document for e in await room.log.at(room.log.head)}
            for uid, document in past.items():
                entry = room.objects.by_uid(uid)
                assert entry is not None
                metadata = {k: v for k, v in entry.document["metadata"].items() if k != "resourceVersion"}
                assert {**entry.document, "metadata": metadata} == document
            assert len(past) == sum(room.objects.count(resource) for resource in room.objects.resources())

    run_virtual(main)


@settings(max_examples=20, deadline=None)
@given(actions, st.integers(1, 3))
def test_pages_make_the_list_of_the_first_page_whatever_happens_between(
    actions: list[tuple[str, str, str | None, int]], limit: int
) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(clock) as room:
            for name in NAMES:
                await room.create("configmaps", body(name, "web", 0))
            whole = [(e.stream.name, e.revision) for e in (await room.page("configmaps", "shop")).entries]
            found: list[tuple[str, int]] = []
            token, todo = "", iter(actions)
            while True:
                page = await room.page("configmaps", "shop", limit=limit, continue_token=token)
                found += [(e.stream.name, e.revision) for e in page.entries]
                token = page.continue_token
                if not token:
                    break
                for one in (next(todo, None), next(todo, None)):
                    if one is not None:
                        await act(room, *one)
            assert found == whole

    run_virtual(main)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(["p0", "p1", "p2", "p3", "p4"]), min_size=1, max_size=30))
def test_concurrent_patches_all_land_once(keys: list[str]) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(clock) as room:
            await room.create("configmaps", body("a", None, 0))
            steps = [
                room.patch("configmaps", "shop", "a", {"data": {f"{key}-{index}": "x"}})
                for index, key in enumerate(keys)
            ]
            head = room.log.head
            await asyncio.gather(*steps)
            found = await room.get("configmaps", "shop", "a")
            assert set(found["data"]) == {"v", *(f"{key}-{index}" for index, key in enumerate(keys))}
            assert room.log.head == head + len(keys)

    run_virtual(main)


@settings(max_examples=5, deadline=None)
@given(actions, st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_events_byte_for_byte(
    actions: list[tuple[str, str, str | None, int]], seed: int
) -> None:
    async def main(clock: VirtualClock) -> list[tuple[int, str, bytes, str]]:
        async with opened(clock) as room:
            await asyncio.gather(*(act(room, *one) for one in actions))
            events = await room.log.read(0, 10_000)
            return [(e.revision, e.change.value, e.payload, e.correlation) for e in events]

    assert run_virtual(main, seed) == run_virtual(main, seed)
