"""Requests that wait for an authorizer elsewhere: looked at again from the beginning once its answer is there.

What raises `UndecidedError` has done nothing yet, and a request's body is kept, so that the second look sees the same.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from ksql.auth.consulted import UndecidedError
from ksql.serve.exchange import Exchange

# Answers from elsewhere that one request may need: its own, and of what it asks beside (an apply that creates).
CONSULTATIONS_MAX = 16

T = TypeVar("T")


async def decided(exchange: Exchange, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work of a request, asking for each answer that has to be there first."""
    for _ in range(CONSULTATIONS_MAX):
        try:
            await work()
            return
        except UndecidedError as undecided:
            if exchange.started:
                raise
            await undecided.asked()
            exchange.notes = ()
    await work()


async def decisively(call: Callable[[], T]) -> T:
    """The same of a call that waits for nothing else."""
    for _ in range(CONSULTATIONS_MAX):
        try:
            return call()
        except UndecidedError as undecided:
            await undecided.asked()
    return call()
