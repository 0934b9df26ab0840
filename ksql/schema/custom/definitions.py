"""What a CustomResourceDefinition defines: its kinds as the catalogue serves them.

`kinds_of` reads a CRD as stored and answers one `ResourceType` for each served version, each with a
`CustomVersion`: everything that is known of that version alone (schema, columns, subresources), compiled
when it is first needed. A version that did not change keeps its `CustomVersion` over changes of its CRD
(`Kinds`), and with it what was compiled.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from ksql.base.documents import Document, lookup
from ksql.schema.columns.column import Printer
from ksql.schema.custom import columns as custom_columns
from ksql.schema.custom import openapi as custom_openapi
from ksql.schema.custom.structural import Node
from ksql.schema.fields_selectable import SelectableFields, custom_fields
from ksql.schema.resources import GroupVersionKind, ResourceType, Subresource, group_resource

logger = logging.getLogger(__name__)

DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
# In the order kube-apiserver prints them.
_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
VERBS_TERMINATING = ("delete", "deletecollection", "get", "list", "watch")
_SUBRESOURCE_VERBS = ("get", "patch", "update")


class CustomVersion:
    """One version of a custom kind. `spec` is the CRD's, `version` the entry of `spec.versions`.

    `storage` is the apiVersion objects are kept in. Two of them that are equal stand for the same service.
    """

    def __init__(self, spec: Document, version: Document, names: Document) -> None:
        self._version = version
        self.group: str = spec["group"]
        self.version: str = version["name"]
        self.resource: str = names["plural"]
        self.kind: str = names["kind"]
        self.list_kind: str = names.get("listKind") or f"{self.kind}List"
        self.namespaced: bool = spec["scope"] == "Namespaced"
        stored = next((one["name"] for one in spec["versions"] if one.get("storage")), self.version)
        self.storage = f"{self.group}/{stored}"
        self.api_version = f"{self.group}/{self.version}"
        self.definition = f"{spec['names']['plural']}.{self.group}"
        conversion = spec.get("conversion") or {}
        self.conversion: Document | None = conversion if conversion.get("strategy") == "Webhook" else None
        subresources = version.get("subresources") or {}
        self.has_status = "status" in subresources
        self.scale: Document | None = subresources.get("scale")
        self.schema: Document = lookup(version, "schema", "openAPIV3Schema", default=None) or {}
        # All versions of the CRD by name, those included that are not served: objects are kept in them.
        self.siblings: Mapping[str, CustomVersion] = {}
        # When its CRD was made, as an instant's text: of two that want one name the older has it.
        self.since = ""
        # What was printed of it alone.
        self.printed: dict[Any, Any] = {}
        # Its CRD is being deleted: nothing new can be made.
        self.is_terminating = False
        # Set when the version is served no more, or otherwise than before: its watches end then.
        self.is_over = False

    @cached_property
    def structure(self) -> Node:
        """The schema's root."""
        return Node(self.schema, is_root=True)

    @cached_property
    def printer(self) -> Printer:
        """The columns of its tables."""
        return custom_columns.printer_of(self._version.get("additionalPrinterColumns") or ())

    @cached_property
    def fields(self) -> SelectableFields:
        """What field selectors may ask."""
        paths = [one["jsonPath"] for one in self._version.get("selectableFields") or ()]
        return custom_fields(paths)

    @property
    def deprecation(self) -> str:
        """What whoever uses the version is warned of; empty when it is not deprecated."""
        if not self._version.get("deprecated"):
            return ""
        said = self._version.get("deprecationWarning")
        return said if said is not None else f"{self.api_version} {self.kind} is deprecated"

    @property
    def definition_name(self) -> str:
        """What OpenAPI calls its objects: the group's words turned round, as Go names packages."""
        return ".".join([*reversed(self.group.split(".")), self.version, self.kind])

    def definitions(self) -> Mapping[str, Document]:
        """Its definitions in OpenAPI: the object and the list."""
        return self._published

    @cached_property
    def _published(self) -> Mapping[str, Document]:
        gvk = GroupVersionKind(self.group, self.version, self.kind)
        return custom_openapi.definitions(self.definition_name, gvk, self.list_kind, self.schema)


class Kinds:
    """The custom kinds of a cluster, followed from its CRDs."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Document, Document, list[ResourceType]]] = {}

    def of(self, definitions: Sequence[Document]) -> list[ResourceType]:
        """What these CRDs serve, by group, version and name; what is served no more is over."""
        served: dict[str, tuple[Document, Document, list[ResourceType]]] = {}
        for definition in definitions:
            name = definition["metadata"]["name"]
            spec, standing = definition.get("spec") or {}, _standing(definition)
            before = self._known.get(name)
            if before is not None and before[0] == spec and before[1] == standing:
                served[name] = before
            else:
                served[name] = spec, standing, _kinds_or_none(definition)
        for name, (_, _, kinds) in self._known.items():
            if served.get(name, (None, None, None))[2] is not kinds:
                for kind in kinds:
                    assert kind.custom is not None
                    kind.custom.is_over = True
        self._known = served
        found = [kind for _, _, kinds in served.values() for kind in kinds]
        return sorted(found, key=_place)


def _kinds_or_none(definition: Document) -> list[ResourceType]:
    """What a CRD serves; nothing when it is not whole. Rules keep such ones out, but a log may hold one that
    was let in before there were any, and must be read all the same."""
    try:
        return kinds_of(definition)
    except (AttributeError, KeyError, TypeError):
        logger.exception("the definition %s cannot be read and is not served", definition["metadata"]["name"])
        return []


def _standing(definition: Document) -> Document:
    """What of a CRD's status decides how it is served."""
    status = definition.get("status") or {}
    return {
        "names": status.get("acceptedNames"),
        "established": is_true(definition, "Established"),
        "terminating": is_true(definition, "Terminating"),
    }


def is_true(definition: Document, type: str) -> bool:
    """Whether a CRD has this condition."""
    conditions = lookup(definition, "status", "conditions", default=None) or ()
    return any(one.get("type") == type and one.get("status") == "True" for one in conditions)


def kinds_of(definition: Document) -> list[ResourceType]:
    """The kinds a CRD serves now: none before it is established."""
    if not is_true(definition, "Established"):
        return []
    spec, names = definition["spec"], lookup(definition, "status", "acceptedNames", default=None) or {}
    if not names.get("plural") or not names.get("kind"):
        return []
    ends = is_true(definition, "Terminating")
    versions = {version["name"]: CustomVersion(spec, version, names) for version in spec["versions"]}
    for custom in versions.values():
        custom.siblings, custom.is_terminating = versions, ends
        custom.since = definition["metadata"].get("creationTimestamp") or ""
    # One that ends shows at least the version its objects are kept in, so that they can be deleted.
    served = [v["name"] for v in spec["versions"] if v.get("served") or (ends and v.get("storage"))]
    return [_kind(versions[name], names) for name in served]


def _kind(custom: CustomVersion, names: Document) -> ResourceType:
    subresources = {}
    gvk = GroupVersionKind(custom.group, custom.version, custom.kind)
    if custom.has_status:
        subresources["status"] = Subresource("status", gvk, _SUBRESOURCE_VERBS)
    if custom.scale is not None:
        scale = GroupVersionKind("autoscaling", "v1", "Scale")
        subresources["scale"] = Subresource("scale", scale, _SUBRESOURCE_VERBS)
    return ResourceType(
        group=custom.group,
        version=custom.version,
        resource=custom.resource,
        singular=names.get("singular") or custom.kind.lower(),
        kind=custom.kind,
        namespaced=custom.namespaced,
        verbs=_VERBS,
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=subresources,
        storage_key=group_resource(custom.group, custom.resource),
        storage_version=custom.storage,
        deprecated=custom.deprecation,
        custom=custom,
    )


_VERSION = re.compile(r"v([0-9]+)(?:(alpha|beta)([0-9]+))?", re.ASCII)


def version_place(version: str) -> tuple[Any, ...]:
    """Sorts versions as Kubernetes does: stable before beta before alpha, newest first, then all others."""
    found = _VERSION.fullmatch(version)
    if found is None:
        return (3, 0, 0, version)
    stage = {None: 0, "beta": 1, "alpha": 2}[found[2]]
    return (stage, -int(found[1]), -int(found[3] or 0), version)


def _place(type: ResourceType) -> tuple[Any, ...]:
    return (type.group, version_place(type.version), type.resource)
