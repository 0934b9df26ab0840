"""What a resource is, as data: the vocabulary that the catalogue is written in.

A resource has one key, `deployments.apps` (plural, dot, group; the core group adds nothing: `pods`),
under which the log and the state know its objects whatever version a client speaks. `ResourceType` is
that resource as served in one version.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ksql.schema.custom.definitions import CustomVersion


class Retention(StrEnum):
    """How much of a resource's past the log keeps."""

    FULL = "full"
    LATEST = "latest"  # heartbeats: only the newest image and a short tail


@dataclass(frozen=True, slots=True)
class GroupVersionKind:
    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


@dataclass(frozen=True, slots=True)
class Subresource:
    """pods/status, deployments/scale: its own kind and verbs under its parent's path."""

    name: str
    kind: GroupVersionKind
    verbs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ResourceType:
    """One resource in one served version."""

    group: str
    version: str
    resource: str  # plural, as in the path
    singular: str
    kind: str
    namespaced: bool
    verbs: tuple[str, ...]
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: Mapping[str, Subresource] = field(default_factory=dict)
    retention: Retention = Retention.FULL
    storage_key: str = ""  # where its objects are kept when not under `key` (events.events.k8s.io: events)
    storage_version: str = ""  # the apiVersion objects are kept in; empty: this one's
    deprecated: str = ""  # what every answer about it warns of
    custom: "CustomVersion | None" = field(default=None, compare=False, repr=False)  # of a CRD, not built in

    @property
    def key(self) -> str:
        """plural.group: what the log calls a stream's resource."""
        return self.storage_key or group_resource(self.group, self.resource)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def list_kind(self) -> str:
        """What a list of them is called."""
        return self.custom.list_kind if self.custom is not None else f"{self.kind}List"

    @property
    def gvk(self) -> GroupVersionKind:
        return GroupVersionKind(self.group, self.version, self.kind)

    @property
    def qualified(self) -> str:
        """How messages name it: `pods`, `deployments.apps`."""
        return group_resource(self.group, self.resource)


def group_resource(group: str, resource: str) -> str:
    """plural.group, or the plural alone for the core group."""
    return f"{resource}.{group}" if group else resource
