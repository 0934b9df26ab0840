"""The plans that write custom resources: like those of other kinds, but for schema, versions and status.

A custom resource is judged in the version its writer speaks, against what it was in that same version, and
then brought into the version it is kept in. What takes long (rules in CEL, webhooks) never happens with the
head held: when the object has moved meanwhile, the plan asks to be prepared once more instead.
"""

from collections.abc import Iterator
from typing import Any

from ksql.base.documents import Document, lookup, replaced
from ksql.schema import faults, structure
from ksql.schema.custom import bodies as custom_bodies
from ksql.schema.custom import values as custom_values
from ksql.schema.custom.definitions import CustomVersion
from ksql.schema.errors import Cause, InternalError, MethodNotAllowedError
from ksql.schema.managed.applying import Domain
from ksql.schema.metadata import STANDARD_FINALIZERS, validate_metadata
from ksql.schema.resources import ResourceType
from ksql.verbs import managing, refusals, shaping, subresources
from ksql.verbs.admission import check_namespace
from ksql.verbs.conversion import Table, UnpreparedError
from ksql.verbs.decider import Author, Outcome, with_metadata
from ksql.verbs.guards import forms
from ksql.verbs.guards.review import Form
from ksql.verbs.request import Request
from ksql.verbs.view import Current, View
from ksql.verbs.writes import Apply, Change, Create, Ground, Plan, check_name
from ksql.verbs.writes import plan_of as builtin_plan_of

# How often a write that finds its object moved is prepared anew outside the lock; after that it is done
# under it, so that a busy object cannot keep a writer away for ever.
PREPARED_ANEW_MAX = 5


def plan_of(request: Request, ground: Ground) -> Plan:
    """The plan of a request, whatever kind it is about."""
    if request.type.custom is None:
        return builtin_plan_of(request, ground)
    if request.verb == "create" and request.type.custom.is_terminating:
        raise MethodNotAllowedError(
            f"{request.verb} not allowed while custom resource definition is terminating",
            group=request.type.group, kind=request.type.resource,
        )  # fmt: skip
    if request.verb == "create" and not request.subresource:
        return CustomCreate(request, ground)
    if request.verb in ("update", "patch"):
        if request.patch_type == "apply":
            return Apply(request, ground, CustomApplyNew, CustomApplyOver)
        return CustomChange(request, ground)
    return builtin_plan_of(request, ground)


def _custom(request: Request) -> CustomVersion:
    assert request.type.custom is not None
    return request.type.custom


def _accepted(ground: Ground, request: Request, body: Any, validation: str = "") -> Document:
    try:
        document, warnings = custom_bodies.accepted(
            ground.catalogue,
            request.type,
            body,
            validation or request.options.field_validation,
            request.repeats,
        )
    except structure.UndecodableError as error:
        raise shaping.undecodable(request, error) from error
    request.warnings.extend(one for one in warnings if one not in request.warnings)
    return shaping.owners_once(request, document)


def _check(request: Request, document: Document, old: Document | None) -> None:
    causes: list[Cause] = []
    if request.subresource != "status":
        validate_metadata(request.type, document, old, causes)
    causes += custom_values.validate(_custom(request), document, old, request.subresource)
    if causes:
        raise faults.invalid(request.type, document["metadata"].get("name", ""), causes)
    if request.subresource != "status":
        request.warnings.extend(one for one in _cautions(document, old) if one not in request.warnings)


def _cautions(document: Document, old: Document | None) -> Iterator[str]:
    """Finalizers that others could use for something else, told when they come."""
    known = ((old or {}).get("metadata") or {}).get("finalizers") or ()
    for name in document["metadata"].get("finalizers") or ():
        if "/" not in name and name not in STANDARD_FINALIZERS and name not in known:
            yield (
                f"metadata.finalizers: {faults.quoted(name)}: prefer a domain-qualified finalizer name to avoid "
                "accidental conflicts with other finalizer writers"
            )


def _without(document: Document, key: str) -> Document:
    return {name: value for name, value in document.items() if name != key} if key in document else document


class CustomCreate(Create):
    """A new custom resource from a body."""

    def __init__(self, request: Request, ground: Ground) -> None:
        super().__init__(request, ground)
        self._table = Table()
        # Judged once, however often it takes until it is converted.
        self._judged: Document | None = None

    def prepare(self, view: View) -> None:
        # Made once: it is the same object with the same uid, until all webhooks have answered.
        if self._born is None:
            self._born = self._newborn(view)
        if self._judged is None:
            document = self._mutated(self._born, view) if self._review.concerns else self._born
            _check(self._request, document, None)
            if self._review.concerns:
                self._review.validated(view, self._form(), document, None)
            self._judged = document
        self._document = self._table.stored(_custom(self._request), self._judged)

    def _admitted(self, document: Document, view: View) -> Document:
        return document

    def _form(self, is_nameless: bool = False) -> Form:
        return _form(self._ground, self._request, self._table, "CREATE", is_nameless=is_nameless)

    def _newborn(self, view: View) -> Document:
        request, ground, custom = self._request, self._ground, _custom(self._request)
        document = self._asked(view)
        self._generated = not document["metadata"].get("name")
        document = shaping.newborn(request, document, ground.clock)
        if custom.has_status:
            document = _without(document, "status")
        check_namespace(request.type, request.namespace, document["metadata"].get("name", ""), view)
        return document

    def _asked(self, view: View) -> Document:
        document = _accepted(self._ground, self._request, self._request.body)
        return managing.updated(self._domain(), self._request, None, document, view)

    def _domain(self) -> Domain:
        return _domain_of(self._ground, self._request, self._table)


class CustomApplyNew(CustomCreate):
    """A new custom resource from an applied configuration."""

    def _asked(self, view: View) -> Document:
        request = self._request
        if uid := lookup(request.body, "metadata", "uid"):
            raise refusals.uid_without_object(request.type, request.name, uid)
        document = managing.applied(self._domain(), request, None, view).document
        check_name(request, document)
        document = with_metadata(document, resourceVersion=None)
        return _accepted(self._ground, request, document, "Ignore")


def _form(
    ground: Ground, request: Request, table: Table, operation: str, current: Current | None = None, *,
    is_nameless: bool = False,
) -> Form:  # fmt: skip
    """How guards see the resource; its other versions are reached by way of the one it is kept in."""

    def convert(given: ResourceType, wanted: ResourceType, document: Document) -> Document:
        assert given.custom is not None and wanted.custom is not None
        return table.shown(wanted.custom, table.stored(given.custom, document))

    def accept(asked: Request, document: Document) -> Document:
        return _accepted(ground, asked, document, "Ignore")

    return forms.of_custom(request, operation, convert, accept, current, is_nameless=is_nameless)


def _domain_of(ground: Ground, request: Request, table: Table) -> Domain:
    """Where the object's fields are managed; other versions are reached by way of the one it is kept in."""
    custom = _custom(request)

    def convert(document: Document, api_version: str) -> Document:
        given = document["apiVersion"]
        if given == api_version:
            return document
        kept = table.stored(custom.siblings[given.rpartition("/")[2]], document)
        return table.shown(custom.siblings[api_version.rpartition("/")[2]], kept)

    return managing.custom_domain(ground.catalogue, request.type, request.subresource, convert)


class CustomChange(Change):
    """An existing custom resource changed: by a body or a patch, of itself, its status or its scale."""

    def __init__(self, request: Request, ground: Ground) -> None:
        super().__init__(request, ground)
        self._table = Table()
        self._anew = 0

    def decide(self, view: View, author: Author) -> Outcome:
        current = self._current(view)
        before = self._from
        is_moved = before is None or current.entry is None or current.entry is not before.entry
        # A draft of the same transaction has no entry to come back to: it is decided here.
        if is_moved and current.entry is not None and self._anew < PREPARED_ANEW_MAX:
            self._anew += 1
            raise UnpreparedError(_custom(self._request))
        return super().decide(view, author)

    def _base(self, current: Current) -> Document:
        shown = self._table.shown(_custom(self._request), current.document)
        return shown if current.entry is None else with_metadata(shown, resourceVersion=current.revision)

    def _wanted(self, current: Current, view: View) -> Document:
        request, custom = self._request, _custom(self._request)
        old = self._table.shown(custom, current.document)
        if request.subresource == "scale":
            document = self._rescaled(current, old, view)
        else:
            document = self._wish(current, old, view)
            self._expect(document, current)
            document = shaping.grown(request, document, old)
            document = _blended(request, document, old)
        is_guarded = self._review.concerns and request.subresource != "scale"
        if is_guarded:
            document = self._mutated_from(document, old, view, current)
        _check(request, document, old)
        if is_guarded:
            self._review.validated(view, self._form(current), document, old)
        if _wanted_of(custom, document) != _wanted_of(custom, old):
            generation = (old["metadata"].get("generation") or 0) + 1
            document = with_metadata(document, generation=generation)
        document = managing.settled(document, old)
        if document == old:
            # Nothing was asked for: what is stored stays as it is, in whatever version.
            return current.document
        return self._table.stored(custom, document)

    def _mutated_from(self, document: Document, old: Document, view: View, current: Current) -> Document:
        """The object after all mutating guards, who may change no more than this door may."""
        made = self._review.mutated(view, self._form(current), document, old, lambda document: document)
        assert made is not None
        return document if made is document else _blended(self._request, made, old)

    def _form(self, current: Current) -> Form:
        return _form(self._ground, self._request, self._table, "UPDATE", current)

    def _wish(self, current: Current, old: Document, view: View) -> Document:
        """The object as its writer wants it, with its managers; `old` is what it was in the same version."""
        document = _accepted(self._ground, self._request, self._body(current))
        return managing.updated(self._domain(), self._request, old, document, view)

    def _domain(self) -> Domain:
        return _domain_of(self._ground, self._request, self._table)

    def _rescaled(self, current: Current, old: Document, view: View) -> Document:
        custom = _custom(self._request)
        entries = old["metadata"].get("managedFields")
        paths = {one.api_version: _replicas_path(one) for one in custom.siblings.values()}
        shown = scale_of(custom, old, current.revision)
        shown = managing.with_managers(shown, managing.to_scale(entries, paths))
        scale = self._reviewed_scale(self._scale(shown, view), shown, view)
        self._expect(scale, current)
        replicas = subresources.replicas_of(old, scale)
        assert custom.scale is not None
        document = replaced(old, _steps(custom.scale["specReplicasPath"]), replicas)
        held = scale["metadata"].get("managedFields")
        kept = managing.from_scale(entries, held, custom.api_version, paths)
        return managing.with_managers(document, kept)


class CustomApplyOver(CustomChange):
    """An applied configuration laid over a custom resource."""

    def _wish(self, current: Current, old: Document, view: View) -> Document:
        request = self._request
        result = managing.applied(self._domain(), request, old, view)
        if result.unchanged:
            # Who manages what may have changed all the same.
            return managing.with_managers(old, result.document["metadata"].get("managedFields"))
        check_name(request, result.document)
        return _accepted(self._ground, request, result.document, "Ignore")


def _wanted_of(custom: CustomVersion, document: Document) -> Document:
    """All that a generation counts."""
    left_out = ("metadata", "status") if custom.has_status else ("metadata",)
    return {key: value for key, value in document.items() if key not in left_out}


def _blended(request: Request, document: Document, old: Document) -> Document:
    """What remains of a wanted object when only a part of it may be changed that way."""
    custom = _custom(request)
    if request.subresource == "status":
        kept = managing.with_managers(_without(old, "status"), document["metadata"].get("managedFields"))
        return {**kept, "status": document["status"]} if "status" in document else kept
    if custom.has_status:
        document = _without(document, "status")
        return {**document, "status": old["status"]} if "status" in old else document
    return document


# --- scale


def _steps(path: str) -> list[str]:
    return path.strip(".").split(".")


def _replicas_path(custom: CustomVersion) -> tuple[str, ...] | None:
    if custom.scale is None:
        return None
    return tuple(f"f:{step}" for step in _steps(custom.scale["specReplicasPath"]))


def scale_of(custom: CustomVersion, document: Document, revision: str) -> Document:
    """The autoscaling/v1 Scale of a custom resource, from where its CRD says that its parts are."""
    paths = custom.scale
    assert paths is not None
    before = document["metadata"]
    kept = ("name", "namespace", "uid", "creationTimestamp")
    metadata = {key: before[key] for key in kept if key in before}
    if revision:
        metadata["resourceVersion"] = revision
    replicas = lookup(document, *_steps(paths["specReplicasPath"]))
    if not isinstance(replicas, int):
        raise InternalError(
            f'Internal error occurred: the spec replicas field "{paths["specReplicasPath"]}" does not exist'
        )
    running = lookup(document, *_steps(paths["statusReplicasPath"]), default=0)
    status: Document = {"replicas": running}
    selector = paths.get("labelSelectorPath")
    if selector and (said := lookup(document, *_steps(selector))):
        status["selector"] = said
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }
