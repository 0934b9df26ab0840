"""The plans of the writing verbs: what to prepare before the lock, what to decide under it.

A `Plan` is prepared once against memory and decided against exact state. What was prepared stands only as
long as the object it was prepared from; when that has moved, `decide` prepares again from the exact one.
The parts are pure (`shaping`, `admission`, `patching`, `decider`, `deletion`, `subresources`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from ksql.auth.identity import Authorizer
from ksql.base.clock import Clock
from ksql.base.documents import Document, lookup
from ksql.schema import structure
from ksql.schema.catalogue import Catalogue
from ksql.schema.errors import BadRequestError, NotImplementedYetError
from ksql.schema.metadata import generated_name
from ksql.schema.resources import ResourceType
from ksql.schema.rules import cautions
from ksql.verbs import (
    decider,
    deletion,
    escalation,
    evictions,
    managing,
    noderestriction,
    podsecurity,
    quota,
    refusals,
    shaping,
    signers,
    strategies,
    subresources,
    topology,
)
from ksql.verbs.admission import Admission, admit, caution, check_namespace, judge
from ksql.verbs.allocation import Allocations, allocate
from ksql.verbs.decider import Author, Outcome
from ksql.verbs.guards import forms
from ksql.verbs.guards.review import Desk, Form, Review
from ksql.verbs.patching import patched
from ksql.verbs.podsecuritysettings import Standards
from ksql.verbs.request import Options, Request
from ksql.verbs.view import Current, View

# Attempts to find a free name for `generateName`: 27^5 names make a second one a rarity.
NAME_ATTEMPTS_MAX = 8


class Plan(Protocol):
    def prepare(self, view: View) -> None:
        """All that needs no lock; refuses early what cannot succeed."""

    def decide(self, view: View, author: Author) -> Outcome:
        """The drafts, under the head lock."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What every plan stands on."""

    catalogue: Catalogue
    clock: Clock
    allocations: Allocations
    authorize: Callable[[Request], None]
    desk: Desk
    standards: Standards
    authorizer: Authorizer

    def exact(
        self, type: ResourceType, document: Document, view: View, current: Current | None = None
    ) -> Document:
        """What only exact state can tell: a service's addresses and ports, a quota's counts."""
        if type.key == quota.KEY:
            return quota.measured(document, view, current)
        if type.key != "services":
            return document
        metadata = document["metadata"]
        taken = self.allocations.taken_in(view, (metadata["namespace"], metadata["name"]))
        return allocate(document, taken, self.allocations.network, self.clock.random)

    def delete(
        self, author: Author, type: ResourceType, current: Current, options: Options, view: View
    ) -> Outcome:
        return deletion.delete(author, shaping.storage_type(self.catalogue, type), current, options, view)


def _tell(request: Request, texts: Sequence[str]) -> None:
    """Warn the caller, once of each thing however often a plan is prepared."""
    if texts:
        request.warnings.extend(text for text in texts if text not in request.warnings)


class Create:
    """A new object from a body."""

    def __init__(self, request: Request, ground: Ground) -> None:
        self._request, self._ground = request, ground
        self._type = shaping.storage_type(ground.catalogue, request.type)
        self._document: Document = {}
        self._generated = False
        self._review = Review(ground.desk, request)
        # Made once, however often it takes until all guards have answered: the same object with the same uid.
        self._born: Document | None = None

    def prepare(self, view: View) -> None:
        request, born = self._request, self._born
        if born is None:
            born = self._born = self._newborn(view)
        name = born["metadata"].get("name", "")
        check_namespace(request.type, request.namespace, name, view)
        document = self._admitted(born, view) if name else born
        document = self._mutated(document, view) if name and self._review.concerns else document
        document = strategies.made(self._type, document, view.time)
        escalation.check(request, self._type, self._ground.authorizer, view, document, None)
        shaping.check(self._ground.catalogue, request, self._type, document, None)
        judge(self._type, "", document, None, view)
        if self._review.concerns:
            self._review.validated(view, self._form(), document, None)
        noderestriction.review(request, self._type, document, None, view)
        signers.review(request, self._type, document, None, self._ground.authorizer)
        podsecurity.review(request, self._type, document, None, view, self._ground.standards)
        _tell(request, cautions.of(self._type, document, None))
        self._document = document
        if told := caution(self._type):
            request.warnings.append(told)

    def _newborn(self, view: View) -> Document:
        document = shaping.stored(self._request.type, self._asked(view))
        self._generated = not document["metadata"].get("name")
        return shaping.newborn(self._request, document, self._ground.clock)

    def _admitted(self, document: Document, view: View) -> Document:
        made = admit(Admission(self._type, self._request.user, view), document)
        return topology.labelled(made, self._ground.catalogue.minor, view) if self._type.key == "pods" else made

    def _mutated(self, document: Document, view: View) -> Document:
        """The object after all mutating guards."""
        again = partial(self._admitted, view=view)
        made = self._review.mutated(view, self._form(self._generated), document, None, again)
        assert made is not None
        return made

    def _form(self, is_nameless: bool = False) -> Form:
        return forms.of_builtin(self._ground.catalogue, self._request, "CREATE", is_nameless=is_nameless)

    def _asked(self, view: View) -> Document:
        """The object as its author wants it, in the request's version, with its managers."""
        request, catalogue = self._request, self._ground.catalogue
        document = shaping.accepted(catalogue, request, request.body)
        return managing.updated(managing.domain_of(catalogue, request.type), request, None, document, view)

    def decide(self, view: View, author: Author) -> Outcome:
        request, type = self._request, self._type
        name = self._document["metadata"]["name"]
        check_namespace(request.type, request.namespace, name, view)
        document = self._renamed(view) if self._generated else self._document
        document = self._ground.exact(type, document, view)
        return decider.create(author, type, document, view)

    def _renamed(self, view: View) -> Document:
        """Another generated name as long as somebody has this one."""
        metadata = self._document["metadata"]
        for _ in range(NAME_ATTEMPTS_MAX):
            if not view.exists(self._type.key, self._request.namespace, metadata["name"]):
                break
            name = generated_name(metadata["generateName"], self._ground.clock.random)
            metadata = {**metadata, "name": name}
        return {**self._document, "metadata": metadata}


class Change:
    """An existing object changed: by a body that replaces it or by a patch."""

    def __init__(self, request: Request, ground: Ground) -> None:
        self._request, self._ground = request, ground
        self._type = shaping.storage_type(ground.catalogue, request.type)
        self._from: Current | None = None
        self._document: Document = {}
        self._review = Review(ground.desk, request)

    def prepare(self, view: View) -> None:
        self._from = self._current(view)
        self._document = self._wanted(self._from, view)

    def decide(self, view: View, author: Author) -> Outcome:
        current = self._current(view)
        before, document = self._from, self._document
        # A draft of this very transaction has no entry yet: whoever comes after it prepares again. What
        # was prepared first stays as it is, since a transaction that fails is decided once more.
        if before is None or current.entry is None or current.entry is not before.entry:
            document = self._wanted(current, view)
        document = self._ground.exact(self._type, document, view, current)
        return decider.update(author, self._type, current, document)

    def _current(self, view: View) -> Current:
        request = self._request
        current = view.get(request.type.key, request.namespace, request.name)
        if current is None:
            raise refusals.not_found(request.type, request.name)
        return current

    def _wanted(self, current: Current, view: View) -> Document:
        """The whole object as it shall be, complete and checked."""
        request, type = self._request, self._type
        if request.subresource == "scale":
            document = self._scaled(current, view)
        else:
            asked = self._asked(current, view)
            document = shaping.stored(request.type, asked)
            self._expect(document, current)
            document = shaping.grown(request, document, current.document)
            entries = document["metadata"].get("managedFields")
            document = subresources.blended(type, request.subresource, document, current.document)
            if type.key == subresources.SIGNING_REQUESTS and request.subresource:
                document = subresources.answered(document, current.document, request.subresource, view.time)
            document = managing.with_managers(document, entries)
        document = self._admitted(document, view=view, current=current)
        is_guarded = self._review.concerns and request.subresource != "scale"
        if is_guarded:
            document = self._mutated(document, view, current)
        document = strategies.changed(type, request.subresource, document, current.document, view.time)
        escalation.check(request, type, self._ground.authorizer, view, document, current.document)
        shaping.check(self._ground.catalogue, request, type, document, current.document)
        judge(type, request.subresource, document, current.document, view)
        if is_guarded:
            self._review.validated(view, self._form(current), document, current.document)
        noderestriction.review(request, type, document, current.document, view)
        signers.review(request, type, document, current.document, self._ground.authorizer)
        podsecurity.review(request, type, document, current.document, view, self._ground.standards)
        if request.subresource == "":
            _tell(request, cautions.of(type, document, current.document))
        return managing.settled(document, current.document)

    def _admitted(self, document: Document, view: View, current: Current) -> Document:
        if self._request.subresource != "":
            return document
        return admit(Admission(self._type, self._request.user, view, current.document), document)

    def _mutated(self, document: Document, view: View, current: Current) -> Document:
        """The object after all mutating guards, who may change no more than this door may."""
        again = partial(self._admitted, view=view, current=current)
        made = self._review.mutated(view, self._form(current), document, current.document, again)
        assert made is not None
        if made is document:
            return document
        entries = made["metadata"].get("managedFields")
        made = subresources.blended(self._type, self._request.subresource, made, current.document)
        return managing.with_managers(made, entries)

    def _form(self, current: Current) -> Form:
        return forms.of_builtin(self._ground.catalogue, self._request, "UPDATE", current)

    def _asked(self, current: Current, view: View) -> Document:
        """The object as its author wants it, in the request's version, with its managers."""
        request, catalogue = self._request, self._ground.catalogue
        document = shaping.accepted(catalogue, request, self._body(current))
        live = shaping.served(request.type, current.document)
        domain = managing.domain_of(catalogue, request.type, request.subresource)
        return managing.updated(domain, request, live, document, view)

    def _body(self, current: Current) -> Any:
        request = self._request
        if request.verb == "update":
            return request.body
        # A patch is written against what a client sees, resourceVersion included.
        base = self._base(current)
        document = patched(self._ground.catalogue, request.type, base, request.body, request.patch_type)
        check_name(request, document)
        return document

    def _base(self, current: Current) -> Document:
        base = current.document if current.entry is None else current.entry.document
        return shaping.served(self._request.type, base)

    def _expect(self, body: Document, current: Current) -> None:
        """A resourceVersion in the body must be the current one; "0" has always meant none."""
        wanted = lookup(body, "metadata", "resourceVersion")
        if wanted not in (None, "", "0") and not current.is_at(wanted):
            raise refusals.conflict(self._request.type, self._request.name)

    def _scaled(self, current: Current, view: View) -> Document:
        """The workload with the replicas that its Scale is to have, and their managers."""
        request = self._request
        entries = current.document["metadata"].get("managedFields")
        live = subresources.scale_of(current.document, current.revision)
        paths = {request.type.api_version: managing.REPLICAS}
        live = managing.with_managers(live, managing.to_scale(entries, paths))
        scale = self._reviewed_scale(self._scale(live, view), live, view)
        self._expect(scale, current)
        document = subresources.scaled(request.type, current, scale)
        held = scale["metadata"].get("managedFields")
        kept = managing.from_scale(entries, held, request.type.api_version, paths)
        return managing.with_managers(document, kept)

    def _reviewed_scale(self, scale: Document, live: Document, view: View) -> Document:
        """The Scale after its guards, who see that and not the workload."""
        if not self._review.concerns:
            return scale
        form = forms.of_body("UPDATE", subresources.SCALE)
        made = self._review.mutated(view, form, scale, live, lambda document: document)
        assert made is not None
        self._review.validated(view, form, made, live)
        return made

    def _scale(self, live: Document, view: View) -> Document:
        """The Scale that the request asks for, with its managers."""
        request, catalogue = self._request, self._ground.catalogue
        domain, body = managing.scale_domain(catalogue), request.body
        validation = request.options.field_validation
        if request.patch_type == "apply":
            body, validation = managing.applied(domain, request, live, view).document, "Ignore"
        elif request.verb == "patch":
            body = patched(catalogue, request.type, live, body, _scale_patch(request.patch_type))
            check_name(request, body)
        try:
            scale, _ = structure.check_kind(catalogue, subresources.SCALE, body, validation, request.repeats)
        except structure.UndecodableError as error:
            raise shaping.undecodable(request, error) from error
        scale = scale if scale.get("metadata") else {**scale, "metadata": {}}
        return scale if request.patch_type == "apply" else managing.updated(domain, request, live, scale, view)


def _scale_patch(kind: str) -> str:
    """A Scale has no lists: what a strategic patch says of it, a merge patch says too."""
    return "merge" if kind == "strategic" else kind


class ApplyNew(Create):
    """A new object from an applied configuration."""

    def _asked(self, view: View) -> Document:
        request, catalogue = self._request, self._ground.catalogue
        if uid := lookup(request.body, "metadata", "uid"):
            raise refusals.uid_without_object(request.type, request.name, uid)
        domain = managing.domain_of(catalogue, request.type)
        document = managing.applied(domain, request, None, view).document
        check_name(request, document)
        # Kubernetes takes a resourceVersion here and means nothing by it.
        document = decider.with_metadata(document, resourceVersion=None)
        return shaping.accepted(catalogue, request, document, "Ignore")


class ApplyOver(Change):
    """An applied configuration laid over an object."""

    def _wanted(self, current: Current, view: View) -> Document:
        request, catalogue = self._request, self._ground.catalogue
        if request.subresource == "scale":
            return super()._wanted(current, view)
        live = shaping.served(request.type, current.document)
        domain = managing.domain_of(catalogue, request.type, request.subresource)
        result = managing.applied(domain, request, live, view)
        if result.unchanged:
            # Who manages what may have changed all the same.
            entries = result.document["metadata"].get("managedFields")
            document = managing.with_managers(current.document, entries)
            return managing.settled(document, current.document)
        check_name(request, result.document)
        self._applied = result.document
        return super()._wanted(current, view)

    def _asked(self, current: Current, view: View) -> Document:
        return shaping.accepted(self._ground.catalogue, self._request, self._applied, "Ignore")


def check_name(request: Request, document: Document) -> None:
    """Refuses what a patch made of an object when it has lost its name or taken another."""
    given = lookup(document, "metadata", "name")
    if not given:
        raise BadRequestError(
            f"the name of the object ({request.name} based on URL) was undeterminable: name must be provided"
        )
    if given != request.name:
        raise BadRequestError(
            f"the name of the object ({given}) does not match the name on the URL ({request.name})"
        )


class Apply:
    """A configuration applied: to the object that is there, or to make it."""

    def __init__(
        self, request: Request, ground: Ground, new: type[Create] = ApplyNew, over: type[Change] = ApplyOver
    ) -> None:
        self._request, self._ground = request, ground
        self._new, self._over = new, over
        self._plan: Plan | None = None
        self._makes = False

    def prepare(self, view: View) -> None:
        request, makes = self._request, not self._exists(view) and not self._request.subresource
        # Only the object itself can come into being this way.
        if self._plan is None or makes != self._makes:
            self._makes = makes
            if makes:
                self._ground.authorize(replace(request, verb="create"))
            self._plan = (self._new if makes else self._over)(request, self._ground)
        self._plan.prepare(view)

    def decide(self, view: View, author: Author) -> Outcome:
        assert self._plan is not None
        if self._makes and self._exists(view):
            # Somebody else made it meanwhile.
            self.prepare(view)
        return self._plan.decide(view, author)

    def _exists(self, view: View) -> bool:
        request = self._request
        return view.exists(request.type.key, request.namespace, request.name)


class Delete:
    """An object asked to go."""

    def __init__(self, request: Request, ground: Ground) -> None:
        self._request, self._ground = request, ground
        self._review = Review(ground.desk, request)
        self._seen: Current | None = None

    def prepare(self, view: View) -> None:
        if self._review.concerns:
            self._reviewed(view, view.get(self._request.type.key, self._request.namespace, self._request.name))
        if told := deletion.caution(self._request.type, self._request.options):
            self._request.warnings.append(told)
        policy = self._request.options.propagation_policy
        if policy is not None and policy not in tuple(deletion.Policy):
            known = ", ".join(deletion.Policy)
            raise BadRequestError(f'invalid propagationPolicy "{policy}": must be one of {known}')

    def decide(self, view: View, author: Author) -> Outcome:
        request = self._request
        current = view.get(request.type.key, request.namespace, request.name)
        if current is None:
            raise refusals.not_found(request.type, request.name)
        if self._review.concerns and (self._seen is None or self._seen.entry is not current.entry):
            # What was reviewed is no longer what would go.
            self._reviewed(view, current)
        noderestriction.review(request, request.type, None, current.document, view)
        return self._ground.delete(author, request.type, current, request.options, view)


    def _reviewed(self, view: View, current: Current | None) -> None:
        """Let the guards see what is to go; there is nothing that they could change."""
        if current is None:
            return
        form = forms.of_builtin(self._ground.catalogue, self._request, "DELETE", current)
        self._review.mutated(view, form, None, current.document, lambda document: document)
        self._review.validated(view, form, None, current.document)
        self._seen = current


class Ask:
    """A POST to a subresource of a pod: bind it, or evict it."""

    def __init__(self, request: Request, ground: Ground, act: "Act") -> None:
        self._request, self._ground, self._act = request, ground, act
        self._review = Review(ground.desk, request)
        self._body: Document = {}

    def prepare(self, view: View) -> None:
        request = self._request
        kind = subresources.BINDING if request.subresource == "binding" else subresources.EVICTION
        body, warnings = structure.check_kind(
            self._ground.catalogue, kind, evictions.current(request.body), request.options.field_validation,
            request.repeats,
        )  # fmt: skip
        request.warnings.extend(warnings)
        given = lookup(body, "metadata", "name", default="")
        if given and given != request.name:
            raise BadRequestError(f"name in URL does not match name in {kind.kind} object")
        if self._review.concerns:
            form = forms.of_body("CREATE", kind)
            made = self._review.mutated(view, form, body, None, lambda document: document)
            assert made is not None
            self._review.validated(view, form, made, None)
            body = made
        self._body = body
        noderestriction.review(request, request.type, body, None, view)
        if kind == subresources.EVICTION:
            self._request = replace(request, options=evictions.options(request.options, body))

    @property
    def is_dry(self) -> bool:
        return self._request.options.dry_run

    def decide(self, view: View, author: Author) -> Outcome:
        request = self._request
        current = view.get(request.type.key, request.namespace, request.name)
        if current is None:
            raise refusals.not_found(request.type, request.name)
        return self._act(self._ground, request, author, current, self._body, view)


Act = Callable[[Ground, Request, Author, Current, Document, View], Outcome]


def _bind(
    ground: Ground, request: Request, author: Author, current: Current, body: Document, view: View
) -> Outcome:
    pod = topology.labelled(subresources.bound(request.type, current, body, view), ground.catalogue.minor, view)
    # Where a pod runs is no wish of its author's: nothing for its generation to count.
    return decider.update(author, request.type, current, pod, counts=False)


def _of_pod(request: Request, ground: Ground) -> Request:
    """The old way of binding, POST …/bindings: the pod is named in the body alone."""
    name = lookup(request.body, "metadata", "name", default="") if isinstance(request.body, dict) else ""
    if not name:
        raise BadRequestError("Name parameter required.")
    return replace(request, type=ground.catalogue.by_key("pods"), name=name, subresource="binding")


def _evict(
    ground: Ground, request: Request, author: Author, current: Current, body: Document, view: View
) -> Outcome:
    budgets = ground.catalogue.by_key("poddisruptionbudgets.policy")
    deletion.check_preconditions(request.type, current, request.options)
    return subresources.evicted(author, request.type, budgets, current, request.options, view)


def is_dry(plan: Plan) -> bool:
    """Whether the body alone asks for a rehearsal, as that of an eviction can."""
    return isinstance(plan, Ask) and plan.is_dry


def plan_of(request: Request, ground: Ground) -> Plan:
    """The plan of a request; what ksql cannot do yet says so here."""
    subresource = request.subresource
    if request.verb == "create":
        if request.type.key == "bindings":
            return Ask(_of_pod(request, ground), ground, _bind)
        if subresource == "binding":
            return Ask(request, ground, _bind)
        if subresource == "eviction":
            return Ask(request, ground, _evict)
        if not subresource and "get" in request.type.verbs:
            return Create(request, ground)
    elif request.verb in ("update", "patch"):
        if subresource in ("", "scale") or subresource in subresources.PARTIAL:
            return Apply(request, ground) if request.patch_type == "apply" else Change(request, ground)
    elif request.verb == "delete" and not subresource:
        return Delete(request, ground)
    what = f"{request.type.resource}/{subresource}" if subresource else request.type.qualified
    raise NotImplementedYetError(f"{request.verb} of {what} is not implemented yet")
