"""Laws of priority and fairness."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ksql.flow.queues import Queues, Refused, Ticket
from ksql.flow.seats import Demand, Share, dealt

ACTIONS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(1, 4), st.floats(0, 0.2), st.booleans()), max_size=120
)


@given(ACTIONS, st.integers(1, 8), st.integers(1, 6), st.integers(1, 10))
@settings(max_examples=80, deadline=None)
def test_seats_are_never_exceeded_and_queues_keep_their_order(actions, limit, count, length) -> None:
    queues, now, inside, waiting = Queues(limit, count, length), 0.0, [], []
    begun: dict[int, list[Ticket]] = {}

    def begin(ticket: Ticket) -> None:
        inside.append(ticket)
        begun.setdefault(ticket.queue.index, []).append(ticket)

    def settle() -> None:
        for ticket in queues.admitted(now):
            waiting.remove(ticket)
            begin(ticket)

    came: dict[int, list[Ticket]] = {}
    for flow, width, passed, leaves in actions:
        now += passed
        if leaves and inside:
            queues.leave(inside.pop(flow % len(inside)), now)
        elif leaves and waiting:
            gone = waiting.pop(flow % len(waiting))
            came[gone.queue.index].remove(gone)
            queues.give_up(gone, now)
        else:
            try:
                ticket = queues.arrive(flow, [flow % count, (flow + 1) % count], width, now)
            except Refused as refused:
                assert refused.reason == "queue-full"
                continue
            came.setdefault(ticket.queue.index, []).append(ticket)
            if ticket.is_in:
                assert not waiting, "nobody overtakes those who wait"
                begin(ticket)
            else:
                waiting.append(ticket)
        settle()
        used = sum(ticket.width for ticket in inside)
        assert used == queues.in_use and (used <= limit or len(inside) == 1)
        assert len(waiting) == queues.waiting
        # Work conserving: whoever is next does not fit.
        if waiting:
            assert queues.in_use
    for index, tickets in begun.items():
        assert tickets == [ticket for ticket in came[index] if ticket in tickets]


@given(st.integers(2, 6), st.integers(1, 3), st.floats(0.001, 0.05))
@settings(max_examples=30, deadline=None)
def test_flows_that_always_want_get_alike(flows, limit, seconds) -> None:
    """Each with a queue of its own, one asking ten times as eagerly: served alike to within a few."""
    queues, now, served = Queues(limit, flows, 50), 0.0, [0] * flows
    inside: list[Ticket] = []
    for _ in range(200):
        for flow in range(flows):
            for _ in range(10 if flow == 0 else limit):
                if len(queues.queues[flow].waiting) < (50 if flow == 0 else limit):
                    ticket = queues.arrive(flow, [flow], 1, now)
                    if ticket.is_in:
                        inside.append(ticket)
        inside += queues.admitted(now)
        now += seconds
        for ticket in inside:
            served[ticket.flow] += 1
            queues.leave(ticket, now)
        inside = queues.admitted(now)
    assert max(served) - min(served) <= max(6, 0.1 * max(served)), served


ROW = st.tuples(st.integers(1, 50), st.integers(0, 100), st.integers(0, 200), st.floats(0, 500))
SHARES = st.lists(ROW, min_size=1, max_size=8)


@given(SHARES)
@settings(max_examples=100, deadline=None)
def test_seats_are_dealt_within_each_levels_right_and_no_more_than_there_are(rows) -> None:
    shares, demands = {}, {}
    for number, (nominal, lends, borrows, wants) in enumerate(rows):
        least = nominal - nominal * lends // 100
        shares[str(number)] = Share(nominal, least, nominal + nominal * borrows // 100)
        demands[str(number)] = Demand(high=int(wants), smooth=wants)
    total = sum(share.nominal for share in shares.values())
    seats = dealt(shares, demands, total)
    assert sum(seats.values()) <= total + len(rows)
    for name, share in shares.items():
        assert min(share.least, 1) <= seats[name] <= max(1, share.most)
        # A level that wants no more than its own gets what it wants.
        if demands[name].smooth <= share.nominal and demands[name].high <= share.nominal:
            assert seats[name] >= min(share.least, demands[name].high) - 1
