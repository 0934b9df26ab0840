"""Keeping SQLite's write-ahead log short without stopping the writer.

A checkpoint copies pages from the WAL into the file; done by the writer it costs the p99 of every append.
Here a thread with a connection of its own copies while the writer goes on. Under steady load it never
quite catches up and the WAL would grow for ever, so when it is long the writer is asked to copy the few
pages that are left: then nothing is left, and SQLite begins the WAL anew.
"""

import logging

import sqlalchemy as sa

logger = logging.getLogger(__name__)

# Often enough that each checkpoint is short; a checkpoint with nothing to do costs some microseconds.
CHECKPOINT_SECONDS = 0.25
# 16 MiB of 4 KiB pages: above it the writer finishes what is left. Recovery after a crash reads this much.
WAL_PAGES_MAX = 4096


def checkpoint(engine: sa.Engine) -> int:
    """Copy what can be copied without waiting for anybody. How many pages the WAL has."""
    with engine.connect() as connection:
        busy, pages, copied = connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").one()
    logger.debug("checkpoint: %d of %d pages copied%s", copied, pages, ", busy" if busy else "")
    return int(pages)


def empty(engine: sa.Engine) -> bool:
    """Copy all of the WAL and cut it off. False where somebody still reads from it: the next one will."""
    with engine.connect() as connection:
        busy, _, _ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    return not busy
