"""Play an incident on a cluster: the scene, the innocent, the culprit, and the wait until something suffers."""

from collections.abc import Sequence
from dataclasses import dataclass

from ksql.base.documents import Document
from ksql.history import health
from ksql.log.protocol import EventFilter
from ksql.simulation.cluster import Simulation
from ksql.simulation.incidents import Act, Incident, Key
from ksql.simulation.scene import EARLIER, LATER, NODE_LABEL, SCENE

# How long a symptom may take to show: a node is doubted after 40 s, its pods leave five minutes later.
SYMPTOM_SECONDS_MAX = 900.0
# How long is waited after it shows, as people take to look.
NOTICED_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Played:
    """`culprit`: the revision that is to blame; `seen`: the head when somebody looks."""

    incident: Incident
    culprit: int
    seen: int


async def play(cluster: Simulation, incident: Incident) -> Played:
    """The whole story; `LateError` when nothing suffers in time."""
    await perform(cluster, NODE_LABEL)
    for document in SCENE:
        await cluster.apply(document, "admin")
    await cluster.settle()
    await _all(cluster, EARLIER)
    before = cluster.log.head
    await perform(cluster, incident.culprit)
    culprit = await _culprit(cluster, incident, before)
    await _all(cluster, LATER)
    await _all(cluster, incident.trigger)
    await cluster.until(lambda: incident.complaint in complaint(cluster, incident.sufferer), SYMPTOM_SECONDS_MAX)
    await cluster.clock.sleep(NOTICED_SECONDS)
    return Played(incident, culprit or await _blamed(cluster, incident, before), cluster.log.head)


async def _all(cluster: Simulation, acts: Sequence[Act]) -> None:
    for act in acts:
        await perform(cluster, act)


async def perform(cluster: Simulation, act: Act) -> None:
    """Do what an act says, as whoever does it."""
    client = cluster.user(act.who) if act.who else None
    match act.verb:
        case "wait":
            await cluster.clock.sleep(act.seconds)
        case "fail":
            cluster.fail_node(act.key[2])
        case "apply":
            assert act.document is not None
            await cluster.apply(act.document, act.who)
        case "patch":
            assert client is not None
            kind = "strategic" if cluster.catalogue.by_key(act.key[0]).custom is None else "merge"
            await client.patch(*act.key, act.document, kind=kind)
        case "delete":
            assert client is not None
            await client.delete(*act.key)
        case _:
            raise ValueError(f"nobody knows how to {act.verb}")


async def _culprit(cluster: Simulation, incident: Incident, before: int) -> int:
    """The revision of the culprit's own write; 0 where there is none."""
    if not incident.culprit.who:
        return 0
    found = await cluster.log.read(before, 10, EventFilter(user=incident.culprit.who))
    return found[0].revision


async def _blamed(cluster: Simulation, incident: Incident, before: int) -> int:
    """The first event that says that the blamed object is ill."""
    assert incident.blamed is not None
    resource, namespace, name = incident.blamed
    where = EventFilter(resources=(resource,), namespace=namespace, name=name)
    for event in await cluster.log.read(before, 1000, where):
        if health.complaint(event.document):
            return event.revision
    raise ValueError(f"nothing befell {name}")


def complaint(cluster: Simulation, key: Key) -> str:
    """What is wrong with an object, with what it owns, and with where it leads."""
    found = [_document(cluster, key)]
    if key[0] == "services":
        found.append(_document(cluster, ("endpoints", key[1], key[2])))
    else:
        found += _owned(cluster, found[0])
    return "; ".join(filter(None, map(health.complaint, found)))


def _document(cluster: Simulation, key: Key) -> Document | None:
    return cluster.get(*key)


def _owned(cluster: Simulation, document: Document | None) -> list[Document]:
    if document is None:
        return []
    entries = cluster.objects.dependents(document["metadata"]["uid"])
    return [inner for entry in entries for inner in (entry.document, *_owned(cluster, entry.document))]
