"""The past of a whole simulated cluster: every state is found again, every chain leads to who began it."""

from collections.abc import Mapping
from typing import Any

import pytest

from ksql.history import asof, causes
from ksql.history.timeline import Timeline
from ksql.log.event import Event
from ksql.log.protocol import EVERYTHING, EventLog
from ksql.simulation import Simulation
from tests.simulation.stories import deployment, images, is_complete, told

KEPT = ("deployments.apps", "replicasets.apps", "pods", "nodes", "endpointslices.discovery.k8s.io")


def state(cluster: Simulation) -> dict[str, list[Any]]:
    return {key: [entry.document for entry in cluster.objects.list(key)] for key in KEPT}


async def state_at(log: EventLog, revision: int) -> dict[str, list[Any]]:
    return {key: [e.image() for e in await asof.list_all(log, key, revision)] for key in KEPT}


async def rollout(cluster: Simulation) -> Mapping[int, Any]:
    """alice applies, scales and updates, bob deletes; the states seen on the way, by revision."""
    seen: dict[int, Any] = {}
    await cluster.apply(deployment(replicas=3), "alice")
    await cluster.until(lambda: is_complete(cluster))
    seen[cluster.objects.revision] = state(cluster)
    await cluster.apply(deployment(replicas=4), "alice")
    await cluster.until(lambda: is_complete(cluster))
    seen[cluster.objects.revision] = state(cluster)
    await cluster.apply(deployment(replicas=4, image="nginx:2"), "alice")
    await cluster.until(lambda: is_complete(cluster) and images(cluster) == {"nginx:2"})
    seen[cluster.objects.revision] = state(cluster)
    await cluster.user("bob").delete("deployments.apps", "default", "web")
    await cluster.until(lambda: not cluster.list("pods", "default"))
    await cluster.settle()
    seen[cluster.objects.revision] = state(cluster)
    return seen


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_state_that_was_seen_is_found_again(seed: int) -> None:
    async def story(cluster: Simulation) -> None:
        for revision, expected in (await rollout(cluster)).items():
            assert await state_at(cluster.log, revision) == expected

    told(story, seed)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_event_of_a_rollout_leads_back_to_whoever_began_it(seed: int) -> None:
    async def story(cluster: Simulation) -> None:
        await rollout(cluster)
        for event in await cluster.events():
            chain = await causes.causes(cluster.log, event)
            assert chain.root in (causes.Root.PERSON, causes.Root.COMPONENT), event
            if event.stream.name.startswith("web"):
                first = chain.events[-1]
                assert first.actor.user in ("alice", "bob"), _shown(chain.events)

    told(story, seed)


def _shown(events: Any) -> str:
    return "\n".join(f"{event} cause {event.cause}" for event in events)


def test_every_event_has_a_sentence_and_its_differences_lead_from_one_image_to_the_next() -> None:
    async def story(cluster: Simulation) -> list[str]:
        await rollout(cluster)
        versions = await Timeline(cluster.log).page(EVERYTHING, 0, 10_000)
        for version in versions:
            assert len(version.sentence) < 400, version.sentence
            assert "{" not in version.sentence
        return [version.sentence for version in versions if "web" in version.event.stream.name]

    text = "\n".join(told(story))
    assert "alice scaled deployment default/web from 3 to 4 replicas" in text
    assert "alice changed the image of c from nginx:1 to nginx:2 in deployment default/web" in text
    assert "Running and Ready because of r" in text
    assert "bob deleted deployment default/web" in text


def test_effects_of_an_apply_reach_the_last_pod() -> None:
    async def story(cluster: Simulation) -> None:
        await cluster.apply(deployment(replicas=3), "alice")
        await cluster.until(lambda: is_complete(cluster))
        await cluster.settle()
        applied: Event = next(e for e in await cluster.events() if e.actor.user == "alice")
        found = await causes.effects(cluster.log, applied.revision, depth=20)
        assert not found.cut
        reached = {effect.event.stream.uid for effect in found.found}
        pods = {entry.stream.uid for entry in cluster.objects.list("pods", "default")}
        assert len(pods) == 3
        assert pods <= reached

    told(story)
