"""How fast nodes are given up, by zone."""

from ksql.control.nodezones import State, Zones


def zones(**silent_and_ready):
    made = Zones()
    for zone, (silent, ready) in silent_and_ready.items():
        for number in range(silent + ready):
            made.note(f"{zone}-{number}", zone, number >= silent)
    return made


def test_a_zone_is_disrupted_when_most_of_its_nodes_are_silent():
    found = zones(well=(0, 3), one=(1, 3), two=(2, 1), most=(6, 4), all=(2, 0))
    states = {name: found.state(name) for name in ("well", "one", "two", "most", "all", "unknown")}
    assert states == {
        "well": State.NORMAL, "one": State.NORMAL, "two": State.NORMAL, "most": State.PARTIAL, "all": State.FULL,
        "unknown": State.NORMAL,
    }  # fmt: skip
    assert not found.is_cut_off


def test_grants_come_at_the_zones_rate():
    found = zones(a=(2, 8), b=(1, 8))
    assert (found.grant("a", 0.0), found.grant("a", 4.0), found.grant("b", 4.0)) == (0.0, 6.0, 0.0)
    assert found.grant("a", 10.0) == 0.0


def test_a_disrupted_zone_is_given_up_slowly_when_large_and_not_at_all_when_small():
    assert zones(small=(6, 4), other=(0, 1)).grant("small", 0.0) > 0.0
    large = zones(large=(60, 20), other=(0, 1))
    assert large.grant("large", 0.0) == 0.0
    assert large.grant("large", 1.0) == 99.0


def test_without_any_ready_node_nobody_is_given_up():
    found = zones(a=(2, 0), b=(1, 0))
    assert found.is_cut_off and found.grant("a", 0.0) > 0.0
    found.note("b-0", "b", True)
    assert not found.is_cut_off and found.grant("a", 0.0) == 0.0
    found.forget("b-0")
    assert found.is_cut_off


def test_a_node_that_moves_counts_in_its_new_zone_alone():
    found = zones(a=(1, 1))
    found.note("a-0", "b", True)
    assert (found.state("a"), found.state("b")) == (State.NORMAL, State.NORMAL)
