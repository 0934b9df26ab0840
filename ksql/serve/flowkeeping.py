"""FlowSchemas and PriorityLevelConfigurations kept: those every cluster has, and each schema's condition."""

from collections.abc import Sequence

from ksql.base.clock import Clock, rfc3339
from ksql.base.documents import Document
from ksql.flow.objects import LEVEL_OBJECTS, LEVELS, SCHEMA_OBJECTS, SCHEMAS, is_kept
from ksql.serve.upkeep import Keeper, Wish
from ksql.state.objects import Objects
from ksql.verbs.pipeline import Pipeline


def keeper(pipeline: Pipeline, clock: Clock) -> Keeper:
    """Keeps them in a cluster."""
    objects = pipeline.objects
    return Keeper(
        "flow schemas", pipeline, clock, (SCHEMAS, LEVELS), lambda: plan(objects, rfc3339(clock.now()))
    )


def plan(objects: Objects, now: str) -> Sequence[Wish]:
    """What is missing, what is not as it should be, which conditions do not stand."""
    wishes = [wish for key, wanted in _all() if (wish := _kept(key, wanted, objects.document(key, "", _name(wanted))))]
    levels = {entry.stream.name for entry in objects.list(LEVELS)}
    for entry in objects.list(SCHEMAS):
        if wish := _judged(entry.document, levels, now):
            wishes.append(wish)
    return wishes


def _all() -> Sequence[tuple[str, Document]]:
    return [*((LEVELS, one) for one in LEVEL_OBJECTS), *((SCHEMAS, one) for one in SCHEMA_OBJECTS)]


def _name(document: Document) -> str:
    return str(document["metadata"]["name"])


def _kept(key: str, wanted: Document, current: Document | None) -> Wish | None:
    if current is None:
        return Wish("create", key, wanted)
    if not is_kept(current) or current["spec"] == wanted["spec"]:
        return None
    return Wish("update", key, {**current, "spec": wanted["spec"]})


def _judged(schema: Document, levels: set[str], now: str) -> Wish | None:
    """The condition Dangling as it should be, unless it is."""
    level = schema["spec"]["priorityLevelConfiguration"]["name"]
    about = f'This FlowSchema references the PriorityLevelConfiguration object named "{level}"'
    wanted = {"type": "Dangling", "status": "False", "reason": "Found", "message": f"{about} and it exists"}
    if level not in levels:
        wanted |= {"status": "True", "reason": "NotFound", "message": f"{about} but there is no such object"}
    conditions = (schema.get("status") or {}).get("conditions") or []
    old: Document = next((one for one in conditions if one["type"] == "Dangling"), {})
    if all(old.get(key) == value for key, value in wanted.items()):
        return None
    since = old["lastTransitionTime"] if old.get("status") == wanted["status"] else now
    others = [one for one in conditions if one["type"] != "Dangling"]
    condition = {**wanted, "lastTransitionTime": since}
    status = {**(schema.get("status") or {}), "conditions": [*others, condition]}
    return Wish("update", SCHEMAS, {**schema, "status": status}, "status")
