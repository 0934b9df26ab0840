"""A chain of causes never breaks inside the cluster: each event has a cause, or came from outside.

Whole clusters with every kind of controller at work, under chance and faults. From outside are people and their
tools, a machine that joins, and the API server's own first objects; nothing else may have no cause.
"""

from random import Random

import pytest

from ksql.history import actors, causes
from ksql.history.actors import ActorKind
from ksql.log.event import Change, Event
from ksql.simulation import Simulation
from ksql.simulation.incidents import SHOP, WEB, container, patch, restart, wait
from ksql.simulation.playing import perform
from ksql.simulation.scene import EARLIER, LATER, NODE_LABEL, SCENE
from tests.simulation.stories import told

POD = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i:1"}]}
BATCH = {"metadata": {"labels": {"kind": "batch"}}, "spec": POD}
RUNS = {"metadata": {"labels": {"kind": "runs"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}


def made(api_version, kind, name, **spec):
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": SHOP}, "spec": spec}


WORK = (
    made("batch/v1", "Job", "once", completions=3, parallelism=2, ttlSecondsAfterFinished=60, template=BATCH),
    made("batch/v1", "CronJob", "tick", schedule="*/2 * * * *", jobTemplate={"spec": {"template": BATCH}}),
    made("apps/v1", "DaemonSet", "agent", selector={"matchLabels": {"kind": "runs"}}, template=RUNS),
    made("policy/v1", "PodDisruptionBudget", "web", minAvailable=1, selector={"matchLabels": {"app": "web"}}),
    made("v1", "ResourceQuota", "limits", hard={"pods": "40"}),
    made("v1", "ReplicationController", "old", replicas=2, selector={"kind": "runs"}, template=RUNS),
    made("v1", "PersistentVolumeClaim", "disk", accessModes=["ReadWriteOnce"],
         resources={"requests": {"storage": "1Gi"}}),
)  # fmt: skip

PEOPLE = (
    restart("alice"),
    patch("bob", WEB, {"spec": {"replicas": 5}}),
    patch("bob", WEB, {"spec": {"replicas": 1}}),
    patch("alice", WEB, container(image="example.com/shop/web:1.1")),
    patch("carol", WEB, container(annotations={"lifecycle": "crash-loop"})),
    patch("carol", ("nodes", "", "node-1"), {"spec": {"unschedulable": True}}),
    patch("dave", ("statefulsets.apps", SHOP, "db"), {"spec": {"replicas": 3}}),
    patch("dave", ("resourcequotas", SHOP, "limits"), {"spec": {"hard": {"pods": "9"}}}),
    *EARLIER,
    *LATER[:3],
)


async def lived(cluster: Simulation, random: Random) -> None:
    """An afternoon of a cluster: all controllers have work, things break, everything ends."""
    await perform(cluster, NODE_LABEL)
    for document in SCENE:
        await cluster.apply(document)
    for document in random.sample(WORK, len(WORK)):
        await cluster.apply(document)
        await cluster.clock.sleep(random.uniform(0, 20))
    for act in random.sample(PEOPLE, len(PEOPLE)):
        await perform(cluster, act)
        await perform(cluster, wait(random.choice((0, 1, 30, 130))))
    cluster.fail_node("node-2")
    await cluster.clock.sleep(random.choice((60, 400)))
    await cluster.recover_node("node-2")
    await cluster.user("bob").delete("nodes", "", "node-3")
    for resource, name in (("deployments.apps", "web"), ("statefulsets.apps", "db")):
        policy = random.choice(("Foreground", "Orphan"))
        await cluster.user("bob").delete(resource, SHOP, name, propagation_policy=policy)
    await cluster.clock.sleep(60)
    await cluster.user("bob").delete("namespaces", "", SHOP)
    await cluster.clock.sleep(300)


def is_from_outside(event: Event) -> bool:
    kind = actors.kind_of(event.actor.user)
    if actors.is_outside(event.actor):
        return True
    if kind is ActorKind.NODE:
        return event.stream.resource == "nodes" and event.change is Change.ADDED
    return event.actor.user == "system:apiserver"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_event_has_a_cause_or_came_from_outside(seed: int) -> None:
    async def story(cluster: Simulation) -> None:
        await lived(cluster, Random(seed))
        events = await cluster.events(transient=True)
        writers = {event.actor.user for event in events}
        assert len([user for user in writers if ":kube-system:" in user]) >= 12, "enough controllers were at work"
        known = {event.revision for event in events}
        for event in events:
            if event.cause is None:
                assert is_from_outside(event), event
            else:
                # A heartbeat's own cause may be a heartbeat of which only the number is left.
                assert event.cause < event.revision, event
                assert event.cause in known or event.transient, event

    told(story, seed)


def test_each_chain_ends_at_somebody_outside() -> None:
    async def story(cluster: Simulation) -> None:
        await lived(cluster, Random(7))
        for event in (await cluster.events())[::7]:
            chain = await causes.causes(cluster.log, event)
            assert chain.root is not causes.Root.HORIZON, event
            last = chain.events[-1]
            assert is_from_outside(last) or chain.root is causes.Root.LIMIT, (event, last)

    told(story, 7)
