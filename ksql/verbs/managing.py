"""Field managers in the write path: every write says whose fields it leaves behind.

`ksql/schema/managed/applying.py` knows the rules; here they meet a request: its version, its door, its manager and the
object as it is. Managers are settled on the document as its author wrote it, with the schema's defaults and
before admission adds what is the cluster's, so nobody manages what he never said.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ksql.base.clock import rfc3339
from ksql.base.documents import Document
from ksql.schema import versions
from ksql.schema.catalogue import Catalogue
from ksql.schema.golang import printing
from ksql.schema.managed import applying, managers, resets, typed
from ksql.schema.managed.applying import Applied, Domain
from ksql.schema.managed.fieldsets import FieldPath, difference, has, of, union
from ksql.schema.managed.managers import Managed, Share
from ksql.schema.resources import GroupVersionKind, ResourceType
from ksql.verbs import subresources
from ksql.verbs.request import Request
from ksql.verbs.view import View

# Brings a document to another apiVersion of its kind.
Convert = Callable[[Document, str], Document]
# Where an object keeps what its Scale calls spec.replicas, by the versions that are known; None in one that
# has no scale.
Paths = Mapping[str, FieldPath | None]

REPLICAS: FieldPath = ("f:spec", "f:replicas")
_REPLICAS = of(REPLICAS)


def domain_of(catalogue: Catalogue, type: ResourceType, subresource: str = "") -> Domain:
    """Where the fields of a built-in kind are managed; made once per door."""
    key = ("domain", type.group, type.version, type.kind, subresource)
    found = catalogue.compiled.get(key)
    if found is None:
        found = catalogue.compiled[key] = _domain(catalogue, type, subresource)
    assert isinstance(found, Domain)
    return found


def _domain(catalogue: Catalogue, type: ResourceType, subresource: str) -> Domain:
    kind = type.kind

    def type_of(api_version: str) -> typed.Type | None:
        group, _, version = api_version.rpartition("/")
        # Events have two groups; who manages them in one is not known in the other, as in Kubernetes.
        return typed.type_of(catalogue, GroupVersionKind(group, version, kind)) if group == type.group else None

    of = typed.type_of(catalogue, type.gvk)
    assert of is not None, f"no definition of {type.gvk}"
    return Domain(
        type.gvk,
        of,
        type_of,
        _converted,
        _zero(type.gvk),
        subresource,
        resets.filter_of(type, subresource),
    )


def _converted(document: Document, api_version: str) -> Document:
    """The document in another version, as Go prints it there: its types lie on the way."""
    converted = versions.convert(document, api_version)
    if converted is document:
        return document
    group, _, version = api_version.rpartition("/")
    return printing.printed(GroupVersionKind(group, version, document["kind"]), converted)


def _zero(gvk: GroupVersionKind) -> Document:
    """An object in which nothing is set, as Go prints it: what a new one is compared with.

    What is there in every object, `spec` or the template of a workload, belongs to nobody.
    """
    return printing.printed(gvk, {"apiVersion": gvk.api_version, "kind": gvk.kind})


def custom_domain(catalogue: Catalogue, type: ResourceType, subresource: str, convert: Convert) -> Domain:
    """Where the fields of a custom kind are managed, in one write: only that knows its conversions."""
    custom = type.custom
    assert custom is not None

    def type_of(api_version: str) -> typed.Type | None:
        group, _, version = api_version.rpartition("/")
        sibling = custom.siblings.get(version)
        if group != custom.group or sibling is None:
            return None
        if "typed" not in sibling.printed:
            sibling.printed["typed"] = typed.type_of_schema(catalogue, sibling.schema)
        found: typed.Type = sibling.printed["typed"]
        return found

    of = type_of(type.api_version)
    assert of is not None, f"{type.api_version} is no version of {custom.definition}"
    zero = {"apiVersion": type.api_version, "kind": type.kind}
    taken = resets.filter_of_custom(custom.has_status, subresource, catalogue.minor)
    return Domain(type.gvk, of, type_of, convert, zero, subresource, taken)


def scale_domain(catalogue: Catalogue) -> Domain:
    """Scales are managed as objects of their own, whatever they scale."""
    gvk = subresources.SCALE
    type = typed.type_of(catalogue, gvk)
    assert type is not None, "the catalogue lacks autoscaling/v1 Scale"
    return Domain(gvk, type, lambda _: None, _converted, _zero(gvk), "scale")


def manager_of(request: Request) -> str:
    """Kubernetes' rule: who names no manager manages under the first word of its agent."""
    return request.options.field_manager or request.user_agent.partition("/")[0]


def updated(
    domain: Domain, request: Request, live: Document | None, new: Document, view: View
) -> Document:
    """`new` with the managers that it has after this write; `live` is the object before, in the same version."""
    return applying.updated(domain, live, new, manager_of(request), rfc3339(view.time))


def applied(domain: Domain, request: Request, live: Document | None, view: View) -> Applied:
    """The object after the request's configuration was applied to it."""
    options = request.options
    return applying.applied(
        domain, live, request.body, options.field_manager, rfc3339(view.time), force=options.force
    )


def with_managers(document: Document, entries: Any) -> Document:
    """The document with these entries of managedFields, or without any."""
    metadata: Mapping[str, Any] = document["metadata"]
    if metadata.get("managedFields") is entries:
        return document
    kept = {key: value for key, value in metadata.items() if key != "managedFields"}
    if entries:
        kept["managedFields"] = entries
    return {**document, "metadata": kept}


def settled(document: Document, current: Document) -> Document:
    """The current object itself, where a write changes nothing but the times at which its managers wrote."""
    new, old = document["metadata"].get("managedFields"), current["metadata"].get("managedFields")
    if new == old or not new or not old or len(new) != len(old):
        return document
    if managers.timeless(new) != managers.timeless(old):
        return document
    return current if with_managers(document, old) == current else document


# --- scale


def to_scale(entries: Any, paths: Paths) -> list[Document]:
    """The managers of an object's replicas as the managers of its Scale."""
    scale = Managed()
    api_version = subresources.SCALE.api_version
    for manager, share in managers.read(entries).shares.items():
        path = paths.get(share.api_version)
        if path is not None and has(share.fields, path):
            version = "" if manager.operation == managers.APPLY else api_version
            scale.shares[manager._replace(api_version=version)] = Share(_REPLICAS, api_version)
    return scale.entries()


def from_scale(entries: Any, scale_entries: Any, api_version: str, paths: Paths) -> list[Document]:
    """The object's managers after its Scale was written: who lost the replicas there has lost them here."""
    parent, scale = managers.read(entries), managers.read(scale_entries)
    left = {manager for manager, share in scale.shares.items() if has(share.fields, REPLICAS)}
    for manager, share in list(parent.shares.items()):
        if share.api_version not in paths:
            del parent.shares[manager]
            continue
        path = paths[share.api_version]
        if path is None or not has(share.fields, path):
            continue
        if manager in left:
            # Who applies goes by one name in both.
            left.remove(manager)
            continue
        parent.shares[manager] = share._replace(fields=difference(share.fields, of(path)))
        if not parent.shares[manager].fields:
            del parent.shares[manager]
    path = paths.get(api_version)
    if path is None:
        return parent.entries()
    for manager in left:
        version = "" if manager.operation == managers.APPLY else api_version
        named = manager._replace(api_version=version)
        known = parent.shares.get(named)
        held = of(path) if known is None else union(known.fields, of(path))
        parent.shares[named] = Share(held, api_version)
    return parent.entries()
