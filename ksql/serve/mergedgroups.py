"""Groups of remote APIs as discovery tells them, beside our own. Pure.

A remote API tells its kinds as an APIResourceList; aggregated discovery wants them grouped by resource.
One that does not answer is told as stale, so that clients know that there is something they cannot see.
"""

from collections.abc import Callable, Mapping, Sequence

from ksql.base.documents import Document
from ksql.serve.aggregation import Remote

Remotes = Mapping[tuple[str, str], Remote]


def by_group(remotes: Remotes) -> dict[str, list[Remote]]:
    """Each group's versions, the most wanted first."""
    found: dict[str, list[Remote]] = {}

    def order(remote: Remote) -> tuple[int, str]:
        return -int(remote.document["spec"].get("versionPriority") or 0), remote.version

    for remote in sorted(remotes.values(), key=order):
        found.setdefault(remote.group, []).append(remote)
    return found


def group(name: str, versions: Sequence[Remote]) -> Document:
    """An entry of the APIGroupList."""
    listed = [{"groupVersion": f"{name}/{one.version}", "version": one.version} for one in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def with_groups(document: Document, remotes: Remotes) -> Document:
    """An APIGroupList with the remote groups."""
    return {**document, "groups": _merged(document["groups"], remotes, lambda one: one["name"], group)}


def with_discovery(document: Document, remotes: Remotes) -> Document:
    """An APIGroupDiscoveryList with the remote groups."""
    return {
        **document,
        "items": _merged(document["items"], remotes, lambda one: one["metadata"]["name"], discovered),
    }


def _merged(
    own: Sequence[Document],
    remotes: Remotes,
    name: Callable[[Document], str],
    make: Callable[[str, Sequence[Remote]], Document],
) -> list[Document]:
    groups = by_group(remotes)
    merged = []
    for one in own:
        versions = groups.pop(name(one), None)
        if versions:
            one = {**one, "versions": [*one["versions"], *make(name(one), versions)["versions"]]}
        merged.append(one)
    return [*merged, *(make(key, versions) for key, versions in groups.items())]


def discovered(name: str, versions: Sequence[Remote]) -> Document:
    """An entry of the aggregated discovery."""
    return {"metadata": {"name": name, "creationTimestamp": None}, "versions": [_version(one) for one in versions]}


def _version(remote: Remote) -> Document:
    if not remote.is_available:
        return {"version": remote.version, "freshness": "Stale"}
    rows = [row for row in remote.resources if isinstance(row, dict) and "name" in row]
    subs = [row for row in rows if "/" in row["name"]]
    resources = []
    for row in rows:
        if "/" in row["name"]:
            continue
        entry: Document = {
            "resource": row["name"],
            "responseKind": _kind(remote, row),
            "scope": "Namespaced" if row.get("namespaced") else "Cluster",
            "singularResource": row.get("singularName", ""),
            "verbs": row.get("verbs") or [],
        }
        for key in ("shortNames", "categories"):
            if row.get(key):
                entry[key] = row[key]
        below = [
            {
                "subresource": sub["name"].partition("/")[2],
                "responseKind": _kind(remote, sub),
                "verbs": sub.get("verbs") or [],
            }
            for sub in subs
            if sub["name"].partition("/")[0] == row["name"]
        ]
        resources.append({**entry, "subresources": below} if below else entry)
    return {"version": remote.version, "resources": resources, "freshness": "Current"}


def _kind(remote: Remote, row: Document) -> Document:
    return {
        "group": row.get("group") or remote.group,
        "version": row.get("version") or remote.version,
        "kind": row.get("kind", ""),
    }
