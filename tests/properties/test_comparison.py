"""Laws of comparing two moments: what differs, put onto the state at one, is the state at the other."""

from typing import Any

import pytest

from ksql.history import comparison, diff
from ksql.log.protocol import EVERYTHING, EventFilter
from tests.history import story

State = dict[comparison.Key, Any]


async def state(told: story.Story, revision: int) -> State:
    found = await told.log.at(revision) if revision else []
    return {(e.stream.resource, e.stream.namespace, e.stream.name): e.document for e in found}


def with_changes(older: State, pairs: list[comparison.Pair]) -> State:
    """The state after the differences, which are computed and put on field by field."""
    out = dict(older)
    for pair in pairs:
        before, after = (None if event is None else event.document for event in (pair.before, pair.after))
        assert older.get(pair.key) == before
        if after is None:
            del out[pair.key]
        else:
            out[pair.key] = diff.apply(before or {}, list(diff.compare(before or {}, after)))
    return out


@pytest.mark.parametrize("between_max", [comparison.EVENTS_BETWEEN_MAX, 0], ids=["few events", "many events"])
async def test_the_difference_of_a_and_b_put_onto_a_is_b(between_max: int) -> None:
    async with story.told() as told:
        states = [await state(told, revision) for revision in range(told.log.head + 1)]
        for a in range(1, told.log.head + 1):
            for b in range(a, told.log.head + 1):
                found = await comparison.pairs(told.log, a, b, EVERYTHING, between_max=between_max)
                assert with_changes(states[a], found) == states[b]
                assert [pair.key for pair in found] == sorted(pair.key for pair in found)


async def test_both_ways_of_comparing_say_the_same_of_a_selection() -> None:
    async with story.told() as told:
        where = EventFilter(resources=("configmaps", "pods"), namespace="default")
        for a in range(1, told.log.head + 1):
            few, many = [
                await comparison.pairs(told.log, a, told.log.head, where, between_max=limit)
                for limit in (comparison.EVENTS_BETWEEN_MAX, 0)
            ]
            assert [_numbers(pair) for pair in few if _differs(pair)] == [_numbers(pair) for pair in many]


def _numbers(pair: comparison.Pair) -> Any:
    return pair.key, pair.before and pair.before.revision, pair.after and pair.after.revision


def _differs(pair: comparison.Pair) -> bool:
    return _numbers(pair)[1] != _numbers(pair)[2]
