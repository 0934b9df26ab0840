"""Field management: what an update takes over, what an apply lays down, and who stands in its way.

An update that changes a field takes it from whoever had it. An apply says which fields its manager wants to
hold: it takes no field that another holds with another value unless it is forced to, shares those on which
both agree, and gives up those it names no longer, which go with it unless somebody else holds them. Pure: the
object as it is and what is wanted come in, the object and its managers go out.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from ksql.base.documents import Document, lookup
from ksql.schema.errors import BadRequestError, Cause, ConflictError
from ksql.schema.managed import fieldsets, managers, typed, walks
from ksql.schema.managed.fieldsets import EMPTY, FieldPath, FieldSet, difference, intersection, union
from ksql.schema.managed.managers import APPLY, UPDATE, Managed, Manager, Share
from ksql.schema.managed.typed import Type
from ksql.schema.metadata import ANNOTATIONS_BYTES_MAX
from ksql.schema.resources import GroupVersionKind

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# Who client-side and server-side apply know as one: its first server-side apply takes over what its last
# client-side one left in the annotation.
KUBECTL = "kubectl"
_SELF = Manager("current-operation", UPDATE, "", "")

# What no manager ever holds: identity, and what the server counts.
STRIPPED = fieldsets.of_fields(
    "apiVersion", "kind", "metadata", "metadata.name", "metadata.namespace", "metadata.creationTimestamp",
    "metadata.selfLink", "metadata.uid", "metadata.clusterName", "metadata.generation",
    "metadata.managedFields", "metadata.resourceVersion",
)  # fmt: skip

_SPEC = "f:spec"
# Specifications whose sets are kept with them: as many as are remembered on their way in, and some.
BIRTHS_MAX = 1_024

# Sets that were found to fit their type; they are kept here so that their identity stays theirs.
CHECKED_MAX = 16_384


@dataclass(frozen=True, slots=True)
class Domain:
    """Where fields are managed: objects of one kind in one version, through one of their doors.

    `type_of` answers the type in another version, None for one that is served no longer; `convert` brings a
    document there. `zero` is an object in which nothing is set, `filter` answers what of a set of fields this
    door writes.
    """

    gvk: GroupVersionKind
    type: Type
    type_of: Callable[[str], Type | None]
    convert: Callable[[Document, str], Document]
    zero: Document
    subresource: str = ""
    filter: Callable[[FieldSet], FieldSet] | None = None
    # The sets of specifications that came as the same document before (see `verbs/shaping.accepted`).
    births: dict[int, tuple[Document, FieldSet]] = field(default_factory=dict)

    @property
    def api_version(self) -> str:
        return self.gvk.api_version


class Conflicts(Exception):
    """Fields that others hold with other values."""

    def __init__(self, found: list[tuple[Manager, FieldPath]]) -> None:
        super().__init__("conflict")
        self.found = found

    def error(self) -> ConflictError:
        causes = [
            Cause("FieldManagerConflict", f"conflict with {manager}", fieldsets.shown(path))
            for manager, path in self.found
        ]
        return ConflictError(f"Apply failed with {self._words()}", causes=causes)

    def _words(self) -> str:
        if len(self.found) == 1:
            manager, path = self.found[0]
            return f"1 conflict: conflict with {manager}: {fieldsets.shown(path)}"
        lines = []
        for manager in dict.fromkeys(manager for manager, _ in self.found):
            lines.append(f"conflicts with {manager}:")
            lines += [f"- {fieldsets.shown(path)}" for holder, path in self.found if holder == manager]
        return f"{len(self.found)} conflicts: " + "\n".join(lines)


# --- updates


def updated(domain: Domain, live: Document | None, new: Document, manager: str, time: str) -> Document:
    """`new` with its managers after an update by `manager`; `live` is None for an object made now.

    What `new` itself says of its managers counts only where it is written as a whole and says something:
    clients that know nothing of them leave them out.
    """
    managed = _managed_of(domain, live, new)
    bare = _bare(new)
    if live is None:
        live = domain.zero
    elif not managed.shares and live["metadata"].get("uid"):
        # An object whose managers were all forgotten stays without until somebody applies.
        return bare
    try:
        _update(domain, _bare(live), bare, managed, manager, time)
    except typed.ItemError:
        # A list whose items cannot be told apart has no managers; the object is as good as before.
        return _with(bare, managers.read(lookup(live, "metadata", "managedFields")))
    managed.capped()
    return _with(bare, managed)


def _managed_of(domain: Domain, live: Document | None, new: Document) -> Managed:
    was = None if live is None else live["metadata"].get("managedFields")
    if domain.subresource:
        return managers.read(was)
    said = new["metadata"].get("managedFields")
    if said is was or said == was:
        return managers.read(was)
    if managers.is_reset(said):
        return Managed()
    try:
        given = managers.sent(said)
    except fieldsets.FieldSetError:
        return managers.read(was)
    return given if given.shares else managers.read(was)


def _update(domain: Domain, live: Document, new: Document, managed: Managed, name: str, time: str) -> None:
    manager = Manager(name or managers.UNKNOWN, UPDATE, domain.api_version, domain.subresource)
    _reconcile(domain, managed)
    if live is domain.zero and not managed.shares:
        fields = _born(domain, new)
    else:
        changed = _settle(domain, live, new, managed, _SELF, force=True)
        fields = union(changed.modified, changed.added)
    if domain.filter is not None:
        fields = domain.filter(fields)
    fields = difference(fields, STRIPPED)
    if fields:
        before = managed.shares.get(manager)
        both = fields if before is None else union(before.fields, fields)
        managed.shares[manager] = Share(both, domain.api_version)
        managed.times[manager] = time


def _born(domain: Domain, new: Document) -> FieldSet:
    """The fields that a new object sets. A specification that is the very document of an earlier one has its
    set already."""
    spec = new.get("spec")
    known = domain.births.get(id(spec))
    if known is not None and known[0] is spec:
        zero = {key: value for key, value in domain.zero.items() if key != "spec"}
        rest = {key: value for key, value in new.items() if key != "spec"}
        changed = _written(domain, walks.compare(domain.type, zero, rest))
        return fieldsets.ordered({**union(changed.modified, changed.added), _SPEC: known[1]})
    changed = _written(domain, walks.compare(domain.type, domain.zero, new))
    fields = union(changed.modified, changed.added)
    if _SPEC in fields and spec.__class__ is dict:
        if len(domain.births) >= BIRTHS_MAX:
            domain.births.clear()
        domain.births[id(spec)] = (spec, fields[_SPEC])
    return fields


def _bare(document: Document) -> Document:
    """The document without its managers: they manage all but themselves."""
    metadata = document.get("metadata") or {}
    if "managedFields" not in metadata:
        return document
    kept = {key: value for key, value in metadata.items() if key != "managedFields"}
    return {**document, "metadata": kept}


def _with(document: Document, managed: Managed) -> Document:
    entries = managed.entries()
    if not entries:
        return document
    return {**document, "metadata": {**(document.get("metadata") or {}), "managedFields": entries}}


# --- what both do


def _reconcile(domain: Domain, managed: Managed) -> None:
    """Bring sets that were written under other schemas to today's; what no version serves is dropped."""
    for manager, share in list(managed.shares.items()):
        type = domain.type if share.api_version == domain.api_version else domain.type_of(share.api_version)
        if type is None:
            del managed.shares[manager]
            continue
        if _CHECKED.knows(type, share.fields):
            continue
        fields = walks.reconciled(type, share.fields)
        if fields is not share.fields:
            managed.shares[manager] = Share(fields, share.api_version)
        _CHECKED.add(type, fields)


class _Checked:
    """Sets known to fit their type. They are held, so that no other can take their identity."""

    def __init__(self) -> None:
        self._held: dict[tuple[int, int], tuple[Type, FieldSet]] = {}

    def knows(self, type: Type, fields: FieldSet) -> bool:
        return (id(type), id(fields)) in self._held

    def add(self, type: Type, fields: FieldSet) -> None:
        if len(self._held) >= CHECKED_MAX:
            self._held.clear()
        self._held[id(type), id(fields)] = (type, fields)


_CHECKED = _Checked()


def _settle(
    domain: Domain, live: Document, new: Document, managed: Managed, worker: Manager, *, force: bool
) -> walks.Comparison:
    """Take from all others what changes or goes; `Conflicts` where that needs force."""
    changed = _written(domain, walks.compare(domain.type, live, new))
    by_version: dict[str, walks.Comparison | None] = {domain.api_version: changed}
    conflicts: dict[Manager, FieldSet] = {}
    removed: dict[Manager, FieldSet] = {}
    for manager, share in list(managed.shares.items()):
        if manager == worker:
            continue
        if share.api_version not in by_version:
            by_version[share.api_version] = _compared(domain, live, new, share.api_version)
        found = by_version[share.api_version]
        if found is None:
            del managed.shares[manager]
            continue
        taken = intersection(share.fields, union(found.modified, found.added))
        if taken:
            conflicts[manager] = taken
        if found.removed:
            removed[manager] = found.removed
    if conflicts and not force:
        raise Conflicts([
            (manager, path)
            for manager in sorted(conflicts, key=lambda one: one.identifier)
            for path in fieldsets.paths(conflicts[manager])
        ])
    for manager in {**conflicts, **removed}:
        fields = difference(managed.shares[manager].fields, conflicts.get(manager, EMPTY))
        managed.replace(manager, difference(fields, removed.get(manager, EMPTY)))
    for manager, share in list(managed.shares.items()):
        if not share.fields:
            del managed.shares[manager]
    return changed


def _written(domain: Domain, found: walks.Comparison) -> walks.Comparison:
    if domain.filter is None:
        return found
    return walks.Comparison(*map(domain.filter, (found.removed, found.modified, found.added)))


def _compared(domain: Domain, live: Document, new: Document, version: str) -> walks.Comparison | None:
    """The same change as another version sees it."""
    type = domain.type_of(version)
    if type is None:
        return None
    before, after = domain.convert(live, version), domain.convert(new, version)
    for document in (before, after):
        if found := typed.complaints(type, document):
            raise typed.ItemError(typed.told(found))
    return _written(domain, walks.compare(type, before, after))


# --- apply


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply came to: the object in the request's version, and whether it is as it was."""

    document: Document
    unchanged: bool


def applied(
    domain: Domain, live: Document | None, config: Any, manager: str, time: str, *, force: bool
) -> Applied:
    """The object with `config` applied to it; `live` is None where there is none yet.

    The document is not yet complete: defaults and checks follow as for any other change.
    """
    _check_config(domain, config)
    try:
        return _apply(domain, live, config, manager, time, force)
    except typed.ItemError as error:
        found = typed.complaints(domain.type, live, duplicates=True)
        words = typed.told(found) if found else str(error)
        raise BadRequestError(f"failed to create typed live object ({_named(domain, live)}): {words}") from None


def _apply(
    domain: Domain, live: Document | None, config: Document, manager: str, time: str, force: bool
) -> Applied:
    managed = managers.read(None if live is None else live["metadata"].get("managedFields"))
    bare = domain.zero if live is None else _bare(live)
    if live is not None and not managed.shares:
        _update(domain, domain.zero, bare, managed, managers.BEFORE_FIRST_APPLY, time)
    worker = Manager(manager or managers.UNKNOWN, APPLY, "", domain.subresource)
    result = _applied(domain, bare, config, managed, worker, force=force, last_applied=manager == KUBECTL)
    unchanged = live is not None and (result is bare or walks.equal(result, bare))
    if unchanged:
        result = bare
    else:
        managed.times[worker] = time
    if manager == KUBECTL:
        result = _with_last_applied(result, config)
    document = _with(result, managed)
    return Applied(document, unchanged and result is bare)


def _check_config(domain: Domain, config: Any) -> None:
    # What is no text says nothing.
    given = (config.get("kind"), config.get("apiVersion"))
    kind, version = (one if isinstance(one, str) else "" for one in given)
    if (version, kind) != (domain.api_version, domain.gvk.kind):
        raise BadRequestError(f"invalid object type: {_shown_gvk(version, kind)}")
    metadata = config.get("metadata")
    if isinstance(metadata, dict) and metadata.get("managedFields") is not None:
        raise BadRequestError("metadata.managedFields must be nil")
    found = typed.complaints(domain.type, config)
    if found:
        # kube-apiserver says the same with code 500; the mistake is the client's all the same.
        raise BadRequestError(
            f"failed to create typed patch object ({_named(domain, config)}): {typed.told(found)}"
        )


def _named(domain: Domain, document: Any) -> str:
    namespace, name = (lookup(document, "metadata", key, default="") for key in ("namespace", "name"))
    return f"{namespace}/{name}; {_shown_gvk(domain.api_version, domain.gvk.kind)}"


def _shown_gvk(api_version: str, kind: str) -> str:
    group_version = api_version if "/" in api_version else f"/{api_version}"
    return f"{group_version}, Kind={kind}"


def _applied(
    domain: Domain, live: Document, config: Document, managed: Managed, worker: Manager, *, force: bool,
    last_applied: bool,
) -> Document:  # fmt: skip
    """The merged and pruned object; `managed` then says who holds what."""
    before = dict(managed.shares)
    try:
        return _laid(domain, live, config, managed, worker, force=force)
    except Conflicts as conflicts:
        allowed = _allowed(domain, live) if last_applied else None
        if allowed is None:
            raise conflicts.error() from None
        left = [(holder, path) for holder, path in conflicts.found if not fieldsets.has(allowed, path)]
        if left:
            raise Conflicts(left).error() from None
    managed.shares.clear()
    managed.shares.update(before)
    return _laid(domain, live, config, managed, worker, force=True)


def _laid(
    domain: Domain, live: Document, config: Document, managed: Managed, worker: Manager, *, force: bool
) -> Document:
    _reconcile(domain, managed)
    try:
        merged: Document = walks.merge(domain.type, live, config)
    except ValueError as error:
        raise BadRequestError(f"failed to merge config: {error}") from None
    last = managed.shares.get(worker)
    fields = walks.field_set(domain.type, config)
    if domain.filter is not None:
        fields = domain.filter(fields)
    managed.shares[worker] = Share(fields, domain.api_version)
    if last is not None and last.fields:
        merged = _pruned(domain, merged, managed, worker, last)
    _settle(domain, live, merged, managed, worker, force=force)
    if worker in managed.shares:
        kept = difference(managed.shares[worker].fields, STRIPPED)
        # The same fields as before are the same set, so that the entry stays the same entry.
        same = last is not None and last.api_version == domain.api_version and kept == last.fields
        managed.replace(worker, last.fields if same and last is not None else kept)
    return merged


def _pruned(domain: Domain, merged: Document, managed: Managed, worker: Manager, last: Share) -> Document:
    """The merged object without what its manager held, names no longer, and nobody else holds."""
    fields = managed.shares[worker].fields
    if last.api_version == domain.api_version and not difference(last.fields, fields):
        return merged
    type = domain.type_of(last.api_version)
    if type is None:
        return merged
    whole = domain.convert(merged, last.api_version)
    pruned = walks.without(type, whole, walks.with_named_fields(type, last.fields))
    pruned = _with_owned(domain, whole, pruned, last.api_version, managed)
    pruned = _with_dangling(domain, type, whole, pruned, last)
    back: Document = domain.convert(pruned, domain.api_version)
    return back


def _with_owned(domain: Domain, merged: Document, pruned: Document, version: str, managed: Managed) -> Document:
    """Back comes what any manager holds, this one's new configuration included."""
    held: dict[str, FieldSet] = {}
    for share in managed.shares.values():
        held[share.api_version] = union(held.get(share.api_version, EMPTY), share.fields)
    # First in the version at hand: others may need what was pruned to be converted to at all.
    for at in sorted(held, key=lambda one: one != version):
        type = domain.type_of(at)
        if type is None:
            continue
        merged = domain.convert(merged, at)
        pruned = domain.convert(_identified(pruned, merged), at)
        named = walks.with_named_fields
        there = named(type, walks.field_set(type, merged))
        kept = union(
            named(type, walks.field_set(type, pruned)), named(type, held[at])
        )
        pruned = walks.without(type, merged, difference(there, kept)) or {}
    return pruned


def _identified(document: Document | None, of: Document) -> Document:
    """A document that lost its identity on the way cannot be converted."""
    document = document or {}
    return {"apiVersion": of["apiVersion"], "kind": of["kind"], **document}


def _with_dangling(domain: Domain, type: Type, merged: Document, pruned: Document, last: Share) -> Document:
    """Back comes what the manager never held itself."""
    at = domain.convert(_identified(pruned, merged), last.api_version)
    there = walks.with_named_fields(type, walks.field_set(type, merged))
    kept = walks.with_named_fields(type, walks.field_set(type, at))
    gone = intersection(difference(there, kept), walks.with_named_fields(type, last.fields))
    left: Document = walks.without(type, merged, gone) or {}
    return left


# --- client-side apply


def _allowed(domain: Domain, live: Document) -> FieldSet | None:
    """The fields that kubectl's last client-side apply set and nobody changed since; None without one."""
    text = lookup(live, "metadata", "annotations", LAST_APPLIED)
    if not text:
        return None
    try:
        before = orjson.loads(text)
    except ValueError:
        return None
    if not isinstance(before, dict) or before.get("apiVersion") != domain.api_version:
        return None
    if typed.complaints(domain.type, before):
        return None
    found = walks.compare(domain.type, before, live)
    fields = walks.field_set(domain.type, before)
    return difference(difference(difference(fields, found.modified), found.added), found.removed)


_HTML = re.compile("[<>&\u2028\u2029]")
_HTML_NAMES: Mapping[str, str] = {
    "<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"
}  # fmt: skip


def _with_last_applied(document: Document, config: Document) -> Document:
    """The annotation of client-side apply kept up to date, where the object has one."""
    annotations = lookup(document, "metadata", "annotations", default=None) or {}
    if not annotations.get(LAST_APPLIED):
        return document
    metadata = config.get("metadata") or {}
    if LAST_APPLIED in (metadata.get("annotations") or {}):
        kept = {key: value for key, value in metadata["annotations"].items() if key != LAST_APPLIED}
        config = {**config, "metadata": {**metadata, "annotations": kept}}
    text = orjson.dumps(config, option=orjson.OPT_SORT_KEYS).decode()
    text = _HTML.sub(lambda found: _HTML_NAMES[found[0]], text) + "\n"
    if annotations[LAST_APPLIED] == text:
        return document
    changed = {**annotations, LAST_APPLIED: text}
    if sum(len(key.encode()) + len(value.encode()) for key, value in changed.items()) > ANNOTATIONS_BYTES_MAX:
        del changed[LAST_APPLIED]
    return {**document, "metadata": {**document["metadata"], "annotations": changed}}


