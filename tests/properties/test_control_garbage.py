"""Laws of garbage collection over the real pipeline: no orphan outlives its owner, and nothing else dies."""

import asyncio

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ksql.base.documents import Document
from ksql.control.garbage import GarbageCollector
from ksql.schema import catalogue
from tests.control.bench import Bench, benched

OBJECTS = 8

# For each object: which others own it (circles and itself included), and whether it names somebody absent.
graphs = st.lists(
    st.tuples(st.lists(st.integers(0, OBJECTS - 1), max_size=3, unique=True), st.booleans()),
    min_size=OBJECTS, max_size=OBJECTS,
)  # fmt: skip
deletions = st.lists(
    st.tuples(st.integers(0, OBJECTS - 1), st.sampled_from(["Background", "Foreground"])),
    min_size=1, max_size=3,
)  # fmt: skip


def reference(name: str, uid: str) -> Document:
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "blockOwnerDeletion": True}


# Each example is a cluster: explaining a failure would run hundreds more.
@settings(deadline=None, max_examples=30, phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink])
@given(graph=graphs, deletions=deletions)
def test_what_remains_has_an_owner_that_is_there_and_what_went_had_none(
    graph: list[tuple[list[int], bool]], deletions: list[tuple[int, str]]
) -> None:
    async def story(bench: Bench) -> None:
        collector = GarbageCollector(bench.kit, [catalogue.load().by_key("configmaps")])
        bench.tasks.append(asyncio.create_task(collector.run()))
        uids = []
        for number in range(OBJECTS):
            made = await bench.client.create("configmaps", named(number))
            uids.append(made["metadata"]["uid"])
        for number, (owners, absent) in enumerate(graph):
            references = [reference(f"c{owner}", uids[owner]) for owner in owners]
            if absent and owners:
                references.append(reference("never", "no-such-uid"))
            if references:
                patch = {"metadata": {"ownerReferences": references}}
                await bench.client.patch("configmaps", "default", f"c{number}", patch)
        await bench.clock.sleep(30)
        everyone = alive(bench)
        assert len(everyone) == OBJECTS, "with living owners nobody goes"
        for number, policy in deletions:
            await delete(bench, number, policy)
        await bench.clock.sleep(60)
        left = alive(bench)
        assert set(left) == expected(graph, {number for number, _ in deletions})
        for each in left.values():
            assert "deletionTimestamp" not in each["metadata"]
        await collector.aclose()

    benched(story)


def named(number: int) -> Document:
    return {"metadata": {"name": f"c{number}", "namespace": "default"}}


def alive(bench: Bench) -> dict[int, Document]:
    found = bench.objects.list("configmaps", "default")
    return {int(entry.stream.name[1:]): entry.document for entry in found}


async def delete(bench: Bench, number: int, policy: str) -> None:
    if bench.objects.get("configmaps", "default", f"c{number}") is not None:
        await bench.client.delete("configmaps", "default", f"c{number}", propagation_policy=policy)


def expected(graph: list[tuple[list[int], bool]], deleted: set[int]) -> set[int]:
    """Who should be left: whoever has no owner, or one that is left; counted down until nothing changes."""
    left = {number: owners for number, (owners, _) in enumerate(graph) if number not in deleted}
    while True:
        doomed = [n for n, owners in left.items() if owners and not any(owner in left for owner in owners)]
        if not doomed:
            return set(left)
        for number in doomed:
            del left[number]
