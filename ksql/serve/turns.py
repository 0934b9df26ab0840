"""A request takes its turn: let in by `ksql.flow`, told so in its headers, and out again whatever happens."""

from collections.abc import Awaitable, Callable
from functools import partial

from ksql.flow.admission import Admission, Flow
from ksql.serve.exchange import Exchange


async def in_turn(
    admission: Admission, flow: Flow | None, width: int, exchange: Exchange, work: Callable[[], Awaitable[None]]
) -> None:
    """Do the work of a request once it is its flow's turn; at once where no flow is known."""
    if flow is None:
        await work()
        return
    exchange.notes = (*exchange.notes, *flow.headers)
    ticket = admission.enter(flow, width)
    # A watch goes on for long: its turn is over once it has begun.
    exchange.begun = partial(admission.leave, ticket)
    try:
        if ticket.is_waiting:
            await admission.wait(ticket)
        await work()
    finally:
        admission.leave(ticket)
