"""The documents by which clients learn what is served, as kube-apiserver prints them.

The legacy ones (/api, /apis, /apis/{group}, /apis/{group}/{version}) and the aggregated ones, which tell
everything in two answers. All are pure functions of the catalogue; doors may keep the bytes.
"""

import base64
import hashlib
from collections.abc import Iterator

from ksql.base.documents import Document
from ksql.schema.catalogue import Catalogue
from ksql.schema.custom.definitions import VERBS_TERMINATING
from ksql.schema.errors import NotFoundError
from ksql.schema.resources import GroupVersionKind, ResourceType, Subresource

AGGREGATED_VERSIONS = ("v2", "v2beta1")
# Where kube-apiserver's hash names another version than that of the objects it serves.
HASHED_AS = {"customresourcedefinitions.apiextensions.k8s.io": "apiextensions.k8s.io/v1beta1"}


def api_versions(address: str = "") -> Document:
    """/api: the versions of the core group. `address` is host:port as clients reach the server."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def api_group_list(catalogue: Catalogue) -> Document:
    """/apis: every group but the core one."""
    groups = [_group(catalogue, name) for name in catalogue.groups() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def api_group(catalogue: Catalogue, group: str) -> Document:
    """/apis/{group}; `NotFoundError` when nothing of it is served."""
    if not group or group not in catalogue.groups():
        raise NotFoundError("the server could not find the requested resource")
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(catalogue, group)}


def api_resource_list(catalogue: Catalogue, group: str, version: str) -> Document:
    """/api/v1 or /apis/{group}/{version}, subresources as rows of their own."""
    if version not in catalogue.groups().get(group, ()):
        raise NotFoundError("the server could not find the requested resource")
    rows = [row for found in _of(catalogue, group, version) for row in _rows(found)]
    # Only the core group's document is written without its own apiVersion.
    head: Document = (
        {"kind": "APIResourceList"} if not group else {"kind": "APIResourceList", "apiVersion": "v1"}
    )
    return {**head, "groupVersion": f"{group}/{version}" if group else version, "resources": rows}


def aggregated(catalogue: Catalogue, core: bool, apidiscovery_version: str) -> Document:
    """/api (core) or /apis as APIGroupDiscoveryList; the version is one of `AGGREGATED_VERSIONS`."""
    items = [
        {
            "metadata": {"name": name} if name else {},
            "versions": [
                {
                    "version": version,
                    "resources": [_discovered(found) for found in _of(catalogue, name, version)],
                    "freshness": "Current",
                }
                for version in versions
            ],
        }
        for name, versions in catalogue.groups().items()
        if (name == "") == core
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{apidiscovery_version}",
        "metadata": {},
        "items": items,
    }


def storage_version_hash(group: str, version: str, kind: str) -> str:
    """What tells a client that an object's stored form changed: the first bytes of a digest of its name."""
    return base64.b64encode(hashlib.sha256(f"{group}/{version}/{kind}".encode()).digest()[:8]).decode()


def _of(catalogue: Catalogue, group: str, version: str) -> Iterator[ResourceType]:
    return (found for found in catalogue.types if found.group == group and found.version == version)


def _group(catalogue: Catalogue, name: str) -> Document:
    versions = [{"groupVersion": f"{name}/{v}", "version": v} for v in catalogue.groups()[name]]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def _verbs(found: ResourceType) -> list[str]:
    """What is told of a resource; one whose CRD ends is not advertised for writing any more."""
    ends = found.custom is not None and found.custom.is_terminating
    return list(VERBS_TERMINATING if ends else found.verbs)


def _rows(found: ResourceType) -> Iterator[Document]:
    row: Document = {
        "name": found.resource,
        "singularName": found.singular,
        "namespaced": found.namespaced,
        "kind": found.kind,
        "verbs": _verbs(found),
    }
    if found.short_names:
        row["shortNames"] = list(found.short_names)
    if found.categories:
        row["categories"] = list(found.categories)
    if "update" in found.verbs:
        row["storageVersionHash"] = _stored_hash(found)
    yield row
    for sub in found.subresources.values():
        yield _subresource_row(found, sub)


def _subresource_row(found: ResourceType, sub: Subresource) -> Document:
    row: Document = {
        "name": f"{found.resource}/{sub.name}",
        "singularName": "",
        "namespaced": found.namespaced,
    }
    # Named only where the body is of another group-version than the path.
    if (sub.kind.group, sub.kind.version) != (found.group, found.version):
        row |= {"group": sub.kind.group, "version": sub.kind.version}
    return {**row, "kind": sub.kind.kind, "verbs": list(sub.verbs)}


def _stored_hash(found: ResourceType) -> str:
    # Definitions of custom resources have been stored in their first version ever since.
    stored = HASHED_AS.get(found.key) or found.storage_version or found.api_version
    group, _, version = stored.rpartition("/")
    return storage_version_hash(group, version, found.kind)


def _discovered(found: ResourceType) -> Document:
    out: Document = {
        "resource": found.resource,
        "responseKind": _response_kind(found, found.gvk),
        "scope": "Namespaced" if found.namespaced else "Cluster",
        "singularResource": found.singular,
        "verbs": _verbs(found),
    }
    if found.short_names:
        out["shortNames"] = list(found.short_names)
    if found.categories:
        out["categories"] = list(found.categories)
    if found.subresources:
        out["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": _response_kind(found, sub.kind),
                "verbs": list(sub.verbs),
            }
            for sub in found.subresources.values()
        ]
    return out


def _response_kind(found: ResourceType, kind: GroupVersionKind) -> Document:
    """The kind answered; group and version only where they differ from the path's, as kube-apiserver says it."""
    if (kind.group, kind.version) == (found.group, found.version):
        return {"group": "", "version": "", "kind": kind.kind}
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}
