"""Objects for tests of reconcilers, and a world of plain documents in which plans are carried out."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from ksql.base.clock import rfc3339
from ksql.base.documents import Document, merged
from ksql.control.plan import Amend, Change, Create, Remove, Replace

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
_SERIAL = itertools.count(1)


def at(seconds: float) -> str:
    return rfc3339(NOW + timedelta(seconds=seconds))


def metadata(name: str, owner: Document | None = None, **more: Any) -> Document:
    out = {"name": name, "namespace": "default", "uid": f"uid-{name}", "creationTimestamp": at(-3600), **more}
    out.setdefault("resourceVersion", str(next(_SERIAL)))
    if owner is not None:
        out["ownerReferences"] = [reference(owner)]
    return out


def reference(owner: Document, controller: bool = True) -> Document:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": controller,
        "blockOwnerDeletion": True,
    }


def template(image: str = "web:1", **labels: str) -> Document:
    return {
        "metadata": {"labels": {"app": "web", **labels}},
        "spec": {"containers": [{"name": "c", "image": image}]},
    }


def deployment(replicas: int = 3, image: str = "web:1", **spec: Any) -> Document:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata("web", generation=1),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template(image),
            "strategy": rolling,
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
            **spec,
        },
    }


def replicaset(replicas: int = 3, name: str = "web-abc", **spec: Any) -> Document:
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": metadata(name, generation=1),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template(),
            **spec,
        },
    }


def pod(
    name: str,
    owner: Document | None = None,
    *,
    phase: str = "Running",
    ready_since: float | None = -60,
    node: str = "node-1",
    created: float = -600,
    cost: int | None = None,
    restarts: int = 0,
    labels: Document | None = None,
    address: str = "",
    ending: bool = False,
    ports: Sequence[Document] = (),
) -> Document:
    ready = ready_since is not None
    out: Document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(
            name, owner, labels={"app": "web"} if labels is None else labels, creationTimestamp=at(created)
        ),
        "spec": {"containers": [{"name": "c", "image": "web:1", "ports": list(ports)}]},
        "status": {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [{"name": "c", "restartCount": restarts}],
        },
    }
    if ready_since is not None:
        out["status"]["conditions"][0]["lastTransitionTime"] = at(ready_since)
    if node:
        out["spec"]["nodeName"] = node
    if cost is not None:
        out["metadata"]["annotations"] = {"controller.kubernetes.io/pod-deletion-cost": str(cost)}
    if address:
        out["status"] |= {"podIP": address, "podIPs": [{"ip": address}]}
    if ending:
        out["metadata"]["deletionTimestamp"] = at(30)
    return out


class World:
    """Objects by resource and name; executes changes as the API server would, without its rules."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Document] = {}

    def put(self, resource: str, document: Document) -> Document:
        stamped = {
            **document,
            "metadata": {**document["metadata"], "resourceVersion": str(next(_SERIAL))},
        }
        self.objects[(resource, document["metadata"]["name"])] = stamped
        return stamped

    def get(self, resource: str, name: str) -> Document | None:
        return self.objects.get((resource, name))

    def all(self, resource: str) -> list[Document]:
        return [document for (kind, _), document in self.objects.items() if kind == resource]

    def execute(self, change: Change) -> None:
        match change:
            case Create():
                self._create(change)
            case Replace():
                self._replace(change)
            case Amend():
                old = self.objects[(change.resource, change.name)]
                self._bumped(change.resource, old, merged(old, change.patch))
            case Remove():
                old = self.objects[(change.resource, change.name)]
                assert old["metadata"]["uid"] == change.uid
                del self.objects[(change.resource, change.name)]

    def _create(self, change: Create) -> None:
        given = change.document["metadata"]
        name = given.get("name") or f"{given['generateName']}{next(_SERIAL):05d}"
        assert (change.resource, name) not in self.objects
        filled = {"uid": f"uid-{name}-{next(_SERIAL)}", "creationTimestamp": rfc3339(NOW), "generation": 1}
        self.put(change.resource, {**change.document, "metadata": {**filled, **given, "name": name}})

    def _replace(self, change: Replace) -> None:
        name = change.document["metadata"]["name"]
        old = self.objects[(change.resource, name)]
        if change.subresource == "status":
            self.put(change.resource, {**old, "status": change.document["status"]})
        else:
            self._bumped(change.resource, old, change.document)

    def _bumped(self, resource: str, old: Document, new: Document) -> None:
        generation = old["metadata"].get("generation", 0) + (new.get("spec") != old.get("spec"))
        self.put(resource, {**new, "metadata": {**new["metadata"], "generation": generation}})
