"""The whole log looked at once, on every processor: is all of it as it must be?

The log is cut into as many stretches as there are processors, where seals end and so no transaction goes on. Each is
swept by a process of its own (`sweep.py`), which hashes what was sealed and makes the index anew along the way. Joined,
they must begin as the one before ended. The answer is what the log comes to, or None; why it is None is found by those
who can say it in words, one after another and slowly. Rejected: threads, which share one interpreter (hashing is a
third of the work), and a pass over the log for each question (three times the time of one for all).
"""

import gc
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import orjson
import sqlalchemy as sa

from ksql.log import queries
from ksql.log.codec import Codec
from ksql.log.database import dialect_of, is_memory
from ksql.log.evidence import seals
from ksql.log.hashing import Hashing, Sealed
from ksql.log.images import Images, portions
from ksql.log.index import Library
from ksql.log.queries import Rows, living_at
from ksql.log.registry import Registry
from ksql.log.schema import streams
from ksql.log.sweep import Beats, Irregular, Sweep, Swept
from ksql.log.tracing import Tracing
from ksql.log.vault import Vault

# A process takes most of a second to begin: a stretch of fewer events is not worth one.
STRETCH_EVENTS = 100_000
# Each holds as many bases as the appender does.
PROCESSES_MAX = 16
_END = 1 << 62


class Survey(NamedTuple):
    """What a log comes to in which nothing is wrong."""

    living: dict[int, int]  # newest revision by stream
    durable: int
    time: int
    blocks: frozenset[int]  # of the index: those that were looked at


class Stretch(NamedTuple):
    """A part of the log, and what is to be looked at in it."""

    after: int
    up_to: int
    beats: Beats
    sealed: Sequence[Sealed]


def survey(rows: Rows, sealed: Sequence[Sealed], beats: Beats) -> Survey | None:
    """What the log comes to; None when anything is wrong with it. `sealed` are the blocks that are to be hashed."""
    stretches = cut(rows, sealed, beats)
    try:
        return _joined(_walked(rows, stretches))
    except Irregular:
        return None


def cut(rows: Rows, sealed: Sequence[Sealed], beats: Beats) -> list[Stretch]:
    """The log in stretches of about one length."""
    head = rows.head().revision
    count = 1
    if not is_memory(rows.connection.engine.url):
        count = max(1, min(len(os.sched_getaffinity(0)), PROCESSES_MAX, head // STRETCH_EVENTS))
    ends: list[int] = []
    for number in range(1, count):
        query = sa.select(sa.func.min(seals.c.last)).where(seals.c.last >= head * number // count)
        found = rows.connection.execute(query).scalar_one_or_none()
        if found is not None and found < head and found > (ends[-1] if ends else 0):
            ends.append(found)
    bounds = [0, *ends, _END]
    return [
        Stretch(
            after, up_to, [beat for beat in beats if after < beat[0] <= up_to],
            [block for block in sealed if after < block.last <= up_to],
        )
        for after, up_to in pairwise(bounds)
    ]  # fmt: skip


def _walked(rows: Rows, stretches: Sequence[Stretch]) -> list[tuple[Swept, range]]:
    """What each stretch comes to: the first in this process, the others each in one of its own."""
    first, *others = stretches
    url = rows.connection.engine.url.render_as_string(hide_password=False)
    vault = rows.images.vault
    keys = vault.wrapping(rows.connection) if others and vault is not None else {}
    helpers: list[subprocess.Popen[bytes]] = []
    try:
        helpers += [_helper(url, stretch, keys) for stretch in others]
        found = [walk(rows, first)]
        for helper in helpers:
            answer, _ = helper.communicate()
            if helper.returncode:
                raise Irregular
            found.append(_told(answer))
        return found
    finally:
        for helper in helpers:
            helper.kill()
            helper.wait()


def _helper(url: str, stretch: Stretch, keys: Mapping[int, bytes]) -> "subprocess.Popen[bytes]":
    """A process on its way through a stretch."""
    # A program of its own, which knows its task from its standard input: a fork would inherit locks that other threads
    # of this process hold, and what `multiprocessing` starts runs this process's main module once more.
    helper = subprocess.Popen(
        [sys.executable, "-c", f"from {__name__} import assist; assist()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert helper.stdin is not None
    helper.stdin.write(_task(url, stretch, keys))
    helper.stdin.close()
    helper.stdin = None
    return helper


def assist() -> None:
    """What a helping process does: walk the stretch that it is told of. Exit code 1: something is wrong in it."""
    gc.disable()
    url, stretch, keys = _understood(sys.stdin.buffer.read())
    vault = Vault.of(keys) if keys else None
    parsed = sa.make_url(url)
    with dialect_of(parsed).create_engine(parsed).connect() as connection:
        codec = Codec(lambda number: queries.dictionary(connection, number))
        rows = Rows(connection, Registry(), Images(codec, vault))
        rows.learn()
        try:
            found = walk(rows, stretch)
        except Irregular:
            raise SystemExit(1) from None
    sys.stdout.buffer.write(_answer(found))


def _task(url: str, stretch: Stretch, keys: Mapping[int, bytes]) -> bytes:
    """What a helping process is told; over its standard input, so that keys are on no command line."""
    sealed = [[block.last, block.events, block.root, block.secret.hex()] for block in stretch.sealed]
    shown = [[number, key.hex()] for number, key in keys.items()]
    return orjson.dumps([url, stretch.after, stretch.up_to, stretch.beats, sealed, shown])


def _understood(task: bytes) -> tuple[str, Stretch, dict[int, bytes]]:
    """The inverse of `_task`."""
    url, after, up_to, beats, sealed, shown = orjson.loads(task)
    keys = {number: bytes.fromhex(key) for number, key in shown}
    blocks = [Sealed(last, events, root, bytes.fromhex(secret)) for last, events, root, secret in sealed]
    return url, Stretch(after, up_to, [(revision, time) for revision, time in beats], blocks), keys


def _answer(found: tuple[Swept, range]) -> bytes:
    """What it says."""
    swept, good = found
    began, living = ([*lived.items()] for lived in (swept.began, swept.living))
    return orjson.dumps([swept.after, began, living, *swept[3:], good.start, good.stop])


def _told(answer: bytes) -> tuple[Swept, range]:
    """The inverse of `_answer`."""
    after, began, living, durable, first, last, start, stop = orjson.loads(answer)
    return Swept(after, dict(began), dict(living), durable, first, last), range(start, stop)


def walk(rows: Rows, stretch: Stretch) -> tuple[Swept, range]:
    """What a stretch comes to, and the blocks of the index that were looked at; `Irregular` when something is wrong."""
    living = living_before(rows, stretch.after) if stretch.after else {}
    sweep = Sweep(rows, stretch.after, living, stretch.beats)
    tracing = Tracing(rows, stretch.after, stretch.up_to, list(living), sweep.names)
    hashing = [Hashing(rows, stretch.sealed, sweep.names)] if stretch.sealed else []
    swept = sweep.run(stretch.up_to, [tracing, *hashing])
    return swept, tracing.good


def living_before(rows: Rows, revision: int) -> dict[int, int]:
    """The newest revision of each stream that lived at a revision, as far as the index knows."""
    places = [number for number, place in rows.registry.place_by_id.items() if not place.transient]
    found: dict[int, int] = {}
    for portion in portions(Library().lived(rows.connection, places, revision)):
        query = living_at(revision).where(streams.c.id.in_(portion))
        found.update((stream, newest) for stream, newest in rows.connection.execute(query))
    return found


def _joined(parts: Sequence[tuple[Swept, range]]) -> Survey:
    """The parts as one."""
    living: dict[int, int] = {}
    durable = time = 0
    blocks: set[int] = set()
    for swept, looked_at in parts:
        if swept.after != durable or swept.began != living or swept.first_time < time:
            raise Irregular
        living, durable, time = swept.living, swept.durable, swept.time
        blocks.update(looked_at)
    return Survey(living, durable, time, frozenset(blocks))
