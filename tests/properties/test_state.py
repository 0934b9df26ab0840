"""Laws of the state: it is the fold of the log, and a list with its watch loses nothing."""

import itertools
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from ksql.base.clock import SystemClock
from ksql.log.event import Change, Event
from ksql.state.objects import Objects
from tests.state.events import event

NAMESPACES, NAMES, OWNERS = ("a", "a-b", "b"), ("x", "x-1", "x1", "y"), ("o1", "o2")

# A life of objects: who, in whose hands, and whether it goes.
steps = st.lists(
    st.tuples(
        st.sampled_from(NAMESPACES),
        st.sampled_from(NAMES),
        st.lists(st.sampled_from(OWNERS), max_size=2, unique=True),
        st.booleans(),
        st.booleans(),
    ),
    max_size=40,
)


def history(steps: Sequence[tuple[str, str, list[str], bool, bool]]) -> list[Event]:
    """Events that a real log could hold: nothing is deleted that is not there."""
    alive: dict[tuple[str, str], str] = {}
    events: list[Event] = []
    for revision, (namespace, name, owners, goes, parsed) in enumerate(steps, 1):
        known = alive.get((namespace, name))
        uid = known or f"uid-{revision}"
        if goes and known is None:
            goes = False
        change = Change.DELETED if goes else Change.ADDED if known is None else Change.MODIFIED
        events.append(
            event(
                revision, name, change, namespace=namespace, uid=uid, owners=tuple(owners), parsed=parsed,
                data={"r": str(revision)},
            )
        )  # fmt: skip
        if goes:
            del alive[(namespace, name)]
        else:
            alive[(namespace, name)] = uid
    return events


@settings(max_examples=150, deadline=None)
@given(steps, st.lists(st.integers(0, 40), max_size=6))
def test_objects_equal_a_fold_from_zero_with_all_their_indexes(
    steps: Sequence[tuple[str, str, list[str], bool, bool]], cuts: list[int]
) -> None:
    events = history(steps)
    objects = Objects(SystemClock(seed=1))
    expected: dict[tuple[str, str], Event] = {}
    edges = sorted({0, len(events), *(cut for cut in cuts if cut < len(events))})
    for first, last in itertools.pairwise(edges):
        objects.fold(events[first:last])
        for one in events[first:last]:
            key = (one.stream.namespace, one.stream.name)
            expected.pop(key, None)
            if one.change is not Change.DELETED:
                expected[key] = one
        # The order is asked for in between, so that it is kept and not only made at the end.
        assert [e.revision for e in objects.list("configmaps")] == [expected[k].revision for k in sorted(expected)]
    for namespace in NAMESPACES:
        names = [e.stream.name for e in objects.list("configmaps", namespace)]
        assert names == sorted(name for ns, name in expected if ns == namespace)
    for key, one in expected.items():
        entry = objects.get("configmaps", *key)
        assert entry is not None and entry is objects.by_uid(one.stream.uid)
        assert entry.document == one.image()
    for owner in OWNERS:
        owned = [k for k in sorted(expected) if owner in uids(expected[k])]
        assert [(e.stream.namespace, e.stream.name) for e in objects.dependents(owner)] == owned
    assert objects.count("configmaps") == len(expected)


def uids(one: Event) -> list[str]:
    return [reference["uid"] for reference in one.document["metadata"].get("ownerReferences", ())]


@settings(max_examples=150, deadline=None)
@given(steps, st.integers(0, 40), st.sampled_from([None, *NAMESPACES]), st.lists(st.integers(0, 40), max_size=4))
def test_a_list_and_the_frames_after_it_make_the_list_of_now(
    steps: Sequence[tuple[str, str, list[str], bool, bool]],
    begin: int,
    namespace: str | None,
    reads: list[int],
) -> None:
    events = history(steps)
    begin = min(begin, len(events))
    objects = Objects(SystemClock(seed=1))
    objects.fold(events[:begin])
    seen = {e.stream.uid: e.revision for e in objects.list("configmaps", namespace or "")}
    part = ("metadata.namespace", namespace) if namespace else None
    watcher = objects.window.watch("configmaps", objects.revision, part)
    for index, one in enumerate(events[begin:]):
        objects.fold([one])
        if index in reads:
            # Reconnected: another watcher goes on from where this one was.
            absorb(seen, watcher.take())
            revision = watcher.revision
            watcher.close()
            watcher = objects.window.watch("configmaps", revision, part)
    absorb(seen, watcher.take())
    assert seen == {e.stream.uid: e.revision for e in objects.list("configmaps", namespace or "")}


def absorb(seen: dict[str, int], frames: Sequence[object]) -> None:
    for frame in frames:
        entry = frame.entry  # type: ignore[attr-defined]
        if frame.change is Change.DELETED:  # type: ignore[attr-defined]
            del seen[entry.stream.uid]
        else:
            seen[entry.stream.uid] = entry.revision
