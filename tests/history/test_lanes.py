"""Lanes: bars cover a life without gap or overlap, and children follow what owns them."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ksql.history.lanes import Beat, Key, MarkKind, bars, marks, ordered
from ksql.history.states import Condition, State
from ksql.log.event import Actor, Stream
from ksql.log.protocol import Life

ALICE = Actor("alice")
RUNNING, FAILED = Condition(State.RUNNING, "1/1"), Condition(State.FAILED, "0/1")


def beat(revision: int, time: int, condition: Condition = RUNNING) -> Beat:
    return Beat(revision, time, "u", MarkKind.STATUS, ALICE, condition, "", "", False)


def life(ended: int | None = None) -> Life:
    return Life(1, Stream("pods", "shop", "a", "u"), ended)


def test_neighbours_in_one_state_are_one_bar() -> None:
    found = bars(life(), [beat(1, 10), beat(2, 20), beat(3, 30, FAILED)], 0, 100)
    assert [(bar.start, bar.end, bar.revision, bar.condition) for bar in found] == [
        (10, 30, 1, RUNNING), (30, 100, 3, FAILED),
    ]  # fmt: skip


def test_what_began_before_the_range_begins_with_it() -> None:
    (bar,) = bars(life(), [beat(1, 10)], 50, 100)
    assert (bar.start, bar.end, bar.revision) == (50, 100, 1)


def test_a_life_that_ended_has_no_bar_after_its_end() -> None:
    (bar,) = bars(life(ended=9), [beat(1, 10), beat(9, 40)], 0, 40)
    assert (bar.start, bar.end) == (10, 40)


def test_marks_are_what_came_after_the_beginning() -> None:
    found = marks([(beat(1, 10), 1), (beat(2, 20), 5)], low=1)
    assert [(mark.revision, mark.count) for mark in found] == [(2, 5)]


TIMES = st.lists(st.tuples(st.integers(0, 100), st.sampled_from([RUNNING, FAILED])), min_size=1, max_size=20)


@given(TIMES, st.integers(0, 50), st.integers(51, 120))
def test_bars_leave_no_gap_and_never_overlap(times: list[tuple[int, Condition]], start: int, end: int) -> None:
    beats = [beat(n + 1, time, condition) for n, (time, condition) in enumerate(sorted(times, key=lambda t: t[0]))]
    found = bars(life(), [one for one in beats if one.time < end], start, end)
    for earlier, later in pairwise(found):
        assert earlier.end == later.start and earlier.condition != later.condition
    if found:
        assert found[0].start == max(start, beats[0].time) or found[0].start >= start
        assert found[-1].end == end
    assert all(start <= bar.start <= bar.end <= end for bar in found)


KEYS = [("pods", "shop", name) for name in "abcdefgh"]
OWNERS = st.dictionaries(st.sampled_from(KEYS), st.sampled_from([*KEYS, ("pods", "shop", "gone")]))


@given(st.sets(st.sampled_from(KEYS)), OWNERS)
def test_every_lane_has_one_place_below_its_owner(keys: set[Key], owners: dict[Key, Key]) -> None:
    rows = ordered(keys, owners, lambda key: key)
    assert sorted(key for key, _, _ in rows) == sorted(keys)
    for place, (key, parent, depth) in enumerate(rows):
        if parent >= 0:
            assert parent < place and rows[parent][0] == owners[key] and depth == rows[parent][2] + 1
        else:
            assert depth == 0


def test_lanes_are_sorted_among_their_like() -> None:
    rows = ordered(KEYS[:4], {KEYS[1]: KEYS[3]}, lambda key: key)
    assert [key[2] for key, _, _ in rows] == ["a", "c", "d", "b"]
