"""Scripted incidents with their truths: the change that is to blame comes first."""

import pytest

from ksql.base.clock import run_virtual
from ksql.history.images import Images
from ksql.history.suspects import Detective, Verdict
from ksql.simulation import Simulation
from ksql.simulation.incidents import INCIDENTS, Incident
from ksql.simulation.playing import Played, play


def investigated(incident: Incident, seed: int = 1) -> tuple[Played, Verdict]:
    async def main(clock):
        async with Simulation(clock, nodes=3) as cluster:
            played = await play(cluster, incident)
            detective = Detective(cluster.log, Images(cluster.log))
            verdict = await detective.investigate(incident.sufferer, played.seen)
            assert verdict is not None
            return played, verdict

    return run_virtual(main, seed)


@pytest.mark.parametrize("incident", INCIDENTS, ids=lambda incident: incident.name)
def test_the_culprit_of_an_incident_comes_first(incident: Incident) -> None:
    played, verdict = investigated(incident)
    assert incident.complaint in verdict.complaint
    told = [(s.event.revision, s.event.actor.user, s.event.stream.resource, s.event.stream.name, round(s.score, 2),
             s.distance, s.reasons) for s in verdict.suspects[:5]]  # fmt: skip
    assert verdict.suspects[0].event.revision == played.culprit, (played.culprit, verdict.complaint, told)
