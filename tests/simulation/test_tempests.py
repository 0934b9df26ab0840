"""Hundreds of small clusters under everything that can go wrong, with the invariants held after every event.

`make simulate` plays thousands of them (`KSQL_SEEDS`). A seed that fails fails again: `played(SEED)` is all of it.
"""

import os

import pytest

from tests.simulation.tempest import played

SEEDS = int(os.environ.get("KSQL_SEEDS", "200"))
FIRST = int(os.environ.get("KSQL_FIRST_SEED", "0"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_a_cluster_holds_its_invariants_through_a_tempest(seed):
    played(seed)
