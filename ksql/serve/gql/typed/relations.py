"""Which kinds lead to which: one table, each line good for both directions, and the fields that are made of it.

A relation to one object is that object, or null where there is none or the user may not get it. A relation to many is
a connection with the same filters, orders and pages as the root's; it hides what the user may not list and says how
many that are. All rows of a level are answered together (`ways.py`), at the moment that they are seen from.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphql import GraphQLArgument, GraphQLField, GraphQLNonNull, GraphQLObjectType
from strawberry.dataloader import DataLoader

from ksql.auth.nodes import named_by as named_by_pod
from ksql.base.documents import Document, lookup
from ksql.schema.resources import ResourceType
from ksql.schema.selectors import LabelSelector, from_document, from_labels
from ksql.serve.gql.context import Context, Seen
from ksql.serve.gql.nodes import Object, as_object
from ksql.serve.gql.pages import OBJECTS_PAGE_MAX, asked
from ksql.serve.gql.typed.choosing import choice_of
from ksql.serve.gql.typed.lists import cut
from ksql.serve.gql.typed.names import Kind
from ksql.serve.gql.typed.pages import Page
from ksql.serve.gql.typed.types import Resolving
from ksql.serve.gql.typed.ways import (
    Key,
    Reader,
    Way,
    named_by,
    naming,
    owned_by,
    owning,
    selected_by,
    selecting,
)  # fmt: skip
from ksql.state.entry import Entry

PODS, NODES, SERVICES = "pods", "nodes", "services"
ACCOUNTS, CLAIMS, VOLUMES = "serviceaccounts", "persistentvolumeclaims", "persistentvolumes"
CLASSES = "storageclasses.storage.k8s.io"
DEPLOYMENTS, SETS, STATEFUL = "deployments.apps", "replicasets.apps", "statefulsets.apps"
DAEMONS, JOBS, CRONJOBS = "daemonsets.apps", "jobs.batch", "cronjobs.batch"
SLICES, INGRESSES = "endpointslices.discovery.k8s.io", "ingresses.networking.k8s.io"
SCALERS = "horizontalpodautoscalers.autoscaling"
RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True)
class Relation:
    """A field of one kind that leads to another. `is_many`: to a connection."""

    source: str
    name: str
    target: str
    is_many: bool
    told: str
    way: Way


def _home(document: Document) -> str:
    return str(lookup(document, "metadata", "namespace") or "")


def _at(*path: str) -> Callable[[Document], Iterable[Key]]:
    """The name at a place, of an object of the whole cluster."""

    def names(document: Document) -> Iterable[Key]:
        if found := lookup(document, *path):
            yield ("", str(found))

    return names


def _near(*path: str) -> Callable[[Document], Iterable[Key]]:
    """The name at a place, of an object of the same namespace."""

    def names(document: Document) -> Iterable[Key]:
        if found := lookup(document, *path):
            yield (_home(document), str(found))

    return names


def _of_pod(resource: str) -> Callable[[Document], Iterable[Key]]:
    def names(document: Document) -> Iterable[Key]:
        for found, namespace, name in named_by_pod(document):
            if found == resource:
                yield (namespace, name)

    return names


def _claim(volume: Document) -> Iterable[Key]:
    if found := lookup(volume, "spec", "claimRef"):
        yield (str(found.get("namespace", "")), str(found.get("name", "")))


def _service_of(slice: Document) -> Iterable[Key]:
    if found := lookup(slice, "metadata", "labels", "kubernetes.io/service-name"):
        yield (_home(slice), str(found))


def _endpoints(slice: Document) -> Iterable[Key]:
    for endpoint in lookup(slice, "endpoints") or ():
        if (target := endpoint.get("targetRef")) and target.get("kind") == "Pod":
            yield (str(target.get("namespace") or _home(slice)), str(target.get("name", "")))


def _backends(ingress: Document) -> Iterable[Key]:
    spec = lookup(ingress, "spec") or {}
    rules = [path for rule in spec.get("rules") or () for path in lookup(rule, "http", "paths") or ()]
    for backend in (spec.get("defaultBackend"), *(path.get("backend") for path in rules)):
        if name := lookup(backend, "service", "name"):
            yield (_home(ingress), str(name))


def _certificates(ingress: Document) -> Iterable[Key]:
    for one in lookup(ingress, "spec", "tls") or ():
        if one.get("secretName"):
            yield (_home(ingress), str(one["secretName"]))


def _scaled(kind: str) -> Callable[[Document], Iterable[Key]]:
    def names(scaler: Document) -> Iterable[Key]:
        target = lookup(scaler, "spec", "scaleTargetRef") or {}
        if target.get("kind") == kind:
            yield (_home(scaler), str(target.get("name", "")))

    return names


def _role(kind: str) -> Callable[[Document], Iterable[Key]]:
    def names(binding: Document) -> Iterable[Key]:
        role = lookup(binding, "roleRef") or {}
        if role.get("kind") == kind:
            yield (_home(binding) if kind == "Role" else "", str(role.get("name", "")))

    return names


def _subjects(binding: Document) -> Iterable[Key]:
    for one in lookup(binding, "subjects") or ():
        if one.get("kind") == "ServiceAccount":
            yield (str(one.get("namespace") or _home(binding)), str(one.get("name", "")))


def _of_service(service: Document) -> LabelSelector:
    found = lookup(service, "spec", "selector")
    # A service without a selector has its endpoints from elsewhere: it means no pods.
    return from_labels(found) if found else LabelSelector(nothing=True)


def _selector(*path: str) -> Callable[[Document], LabelSelector]:
    def found(document: Document) -> LabelSelector:
        return from_document(lookup(document, *path))

    return found


def _both(
    source: str, name: str, target: str, back: str, names: Callable[[Document], Iterable[Key]],
    *, many: bool = False, anywhere: bool = False,
) -> list[Relation]:  # fmt: skip
    """Objects that name others, and the way back."""
    return [
        Relation(source, name, target, many, "What it names.", naming(target, names)),
        Relation(target, back, source, True, "What names it.", named_by(source, names, anywhere=anywhere)),
    ]


def _choice(
    source: str, name: str, target: str, back: str, selector: Callable[[Document], LabelSelector]
) -> list[Relation]:
    """Objects that select others by their labels, and the way back."""
    return [
        Relation(source, name, target, True, "What its selector means now.", selecting(target, selector)),
        Relation(target, back, source, True, "Whose selector means it now.", selected_by(source, selector)),
    ]


def _tree(source: str, name: str, back: str, *chain: str) -> list[Relation]:
    """What an object owns, by way of others, and the way back up."""
    up = (*reversed(chain[:-1]), source)
    return [
        Relation(source, name, chain[-1], True, "What it owns, by way of others too.", owning(*chain)),
        Relation(chain[-1], back, source, False, "What owns it, by way of others too.", owned_by(*up)),
    ]


RELATIONS: Sequence[Relation] = (
    *_both(PODS, "node", NODES, "pods", _at("spec", "nodeName")),
    *_both(PODS, "serviceAccount", ACCOUNTS, "pods", _near("spec", "serviceAccountName")),
    *_both(PODS, "configMaps", "configmaps", "pods", _of_pod("configmaps"), many=True),
    *_both(PODS, "secrets", "secrets", "pods", _of_pod("secrets"), many=True),
    *_both(PODS, "persistentVolumeClaims", CLAIMS, "pods", _of_pod(CLAIMS), many=True),
    *_both(PODS, "priorityClass", "priorityclasses.scheduling.k8s.io", "pods", _at("spec", "priorityClassName")),
    *_both(PODS, "runtimeClass", "runtimeclasses.node.k8s.io", "pods", _at("spec", "runtimeClassName")),
    *_both(CLAIMS, "volume", VOLUMES, "claims", _at("spec", "volumeName")),
    *_both(VOLUMES, "claim", CLAIMS, "volumes", _claim),
    *_both(CLAIMS, "storageClass", CLASSES, "claims", _at("spec", "storageClassName")),
    *_both(VOLUMES, "storageClass", CLASSES, "volumes", _at("spec", "storageClassName")),
    *_both(SLICES, "service", SERVICES, "endpointSlices", _service_of),
    *_both(SLICES, "pods", PODS, "endpointSlices", _endpoints, many=True),
    *_both(INGRESSES, "services", SERVICES, "ingresses", _backends, many=True),
    *_both(INGRESSES, "secrets", "secrets", "ingresses", _certificates, many=True),
    *_both(INGRESSES, "ingressClass", "ingressclasses.networking.k8s.io", "ingresses",
           _at("spec", "ingressClassName")),
    *_both(SCALERS, "deployment", DEPLOYMENTS, "autoscalers", _scaled("Deployment")),
    *_both(SCALERS, "replicaSet", SETS, "autoscalers", _scaled("ReplicaSet")),
    *_both(SCALERS, "statefulSet", STATEFUL, "autoscalers", _scaled("StatefulSet")),
    *_both(f"rolebindings.{RBAC}", "role", f"roles.{RBAC}", "bindings", _role("Role")),
    *_both(f"rolebindings.{RBAC}", "clusterRole", f"clusterroles.{RBAC}", "roleBindings", _role("ClusterRole")),
    *_both(f"clusterrolebindings.{RBAC}", "clusterRole", f"clusterroles.{RBAC}", "clusterRoleBindings",
           _role("ClusterRole")),
    *_both(f"rolebindings.{RBAC}", "serviceAccounts", ACCOUNTS, "roleBindings", _subjects, many=True, anywhere=True),
    *_both(f"clusterrolebindings.{RBAC}", "serviceAccounts", ACCOUNTS, "clusterRoleBindings", _subjects, many=True,
           anywhere=True),
    *_choice(SERVICES, "pods", PODS, "services", _of_service),
    *_choice("networkpolicies.networking.k8s.io", "pods", PODS, "networkPolicies", _selector("spec", "podSelector")),
    *_choice("poddisruptionbudgets.policy", "pods", PODS, "podDisruptionBudgets", _selector("spec", "selector")),
    *_tree(DEPLOYMENTS, "replicaSets", "deployment", SETS),
    *_tree(DEPLOYMENTS, "pods", "deployment", SETS, PODS),
    *_tree(SETS, "pods", "replicaSet", PODS),
    *_tree(STATEFUL, "pods", "statefulSet", PODS),
    *_tree(DAEMONS, "pods", "daemonSet", PODS),
    *_tree(JOBS, "pods", "job", PODS),
    *_tree(CRONJOBS, "jobs", "cronJob", JOBS),
    *_tree(CRONJOBS, "pods", "cronJob", JOBS, PODS),
    *_tree("replicationcontrollers", "pods", "replicationController", PODS),
)


def relations_of(key: str) -> Sequence[Relation]:
    """The relations of a kind."""
    return [found for found in RELATIONS if found.source == key]


def fields(
    kind: Kind, kinds: Mapping[str, Kind], nodes: Mapping[str, GraphQLObjectType],
    pages: Mapping[str, GraphQLObjectType], arguments: Callable[[Kind], Mapping[str, GraphQLArgument]],
) -> dict[str, GraphQLField]:  # fmt: skip
    """The fields that a kind's relations are; those to kinds that the minor has not are left out."""
    found: dict[str, GraphQLField] = {}
    for relation in relations_of(kind.type.key):
        target = kinds.get(relation.target)
        if target is None:
            continue
        if relation.is_many:
            found[relation.name] = _many(relation, target, pages[relation.target], arguments(target))
        else:
            found[relation.name] = _one(relation, target, nodes[relation.target])
    return found


def _one(relation: Relation, target: Kind, node: GraphQLObjectType) -> GraphQLField:
    async def resolve(source: Object, info: Resolving) -> Object | None:
        ctx: Context = info.context
        for entry in await _led(ctx, relation, source.seen):
            stream = entry.stream
            if ctx.may("get", target.type.key, stream.namespace, stream.name):
                return as_object(Seen(entry, source.seen.moment))
        return None

    return GraphQLField(node, resolve=resolve, description=relation.told)


def _many(
    relation: Relation, target: Kind, pages: GraphQLObjectType, arguments: Mapping[str, GraphQLArgument]
) -> GraphQLField:
    async def resolve(
        source: Object, info: Resolving, first: int | None = None, after: str | None = None, last: int | None = None,
        before: str | None = None, **chosen: Any,
    ) -> Page:  # fmt: skip
        ctx: Context = info.context
        ask, choice = asked(first, after, last, before, OBJECTS_PAGE_MAX), choice_of(ctx, target, **chosen)
        # In the order that cursors are of: a document may name things in another.
        entries = sorted(await _led(ctx, relation, source.seen), key=lambda entry: entry.key)
        shown = [entry for entry in entries if ctx.may("list", target.type.key, entry.stream.namespace)]
        state = ctx.state(source.seen.moment)
        return cut(choice, choice.of(shown), len(entries) - len(shown), state, ask)

    return GraphQLField(GraphQLNonNull(pages), dict(arguments), resolve, description=relation.told)


async def _led(ctx: Context, relation: Relation, seen: Seen) -> Sequence[Entry]:
    """Where a row leads to; all rows that ask at once are answered together."""
    key = (relation.source, relation.name, seen.moment)
    loader = ctx.loaders.get(key)
    if loader is None:
        loader = ctx.loaders[key] = DataLoader(_loading(ctx, relation, seen.moment), cache=False)
    found: Sequence[Entry] = await loader.load(seen.entry)
    return found


def _loading(ctx: Context, relation: Relation, moment: int | None) -> Callable[[list[Entry]], Any]:
    def type_of(key: str) -> ResourceType:
        return ctx.rooms.catalogue.by_key(key)

    async def load(rows: list[Entry]) -> list[list[Entry]]:
        return await relation.way(Reader(ctx.state(moment), type_of, ctx.rooms.indexes), rows)

    return load
