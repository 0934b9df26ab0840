"""Admission policies: rules in CEL that operators bind to requests, validating and mutating ones.

Pure. A policy says what it is for and what must hold or be changed; its bindings say where, with which parameters
and what a failure leads to. A policy nobody bound does nothing. Words are kube-apiserver's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ksql.base.documents import Document
from ksql.schema.cel import objects
from ksql.schema.errors import ApiError, Cause
from ksql.schema.resources import GroupVersionKind, ResourceType
from ksql.schema.selectors import LabelSelector, from_document
from ksql.verbs.guards.conditions import Conditions
from ksql.verbs.guards.evaluation import Evaluation, Expression, variables_of
from ksql.verbs.guards.questions import Match, Question, match_of

# How long a message that an expression makes may be; what is longer counts as none.
MESSAGE_CHARACTERS_MAX = 5 * 1024
# How long an audit annotation may be.
ANNOTATION_CHARACTERS_MAX = 10 * 1024

_CODES = {"Forbidden": 403, "Unauthorized": 401, "RequestEntityTooLarge": 413, "Invalid": 422}


@dataclass(frozen=True, slots=True)
class Validation:
    """One thing that must hold."""

    expression: Expression
    message: str
    message_expression: Expression | None
    reason: str


@dataclass(frozen=True, slots=True)
class Mutation:
    """One thing to be changed: an applied configuration, or the steps of a JSON patch."""

    kind: str
    expression: Expression


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a policy holds, with which parameters, and what a failure leads to."""

    name: str
    policy: str
    match: Match
    params: Document | None
    actions: Sequence[str]

    @property
    def selector(self) -> LabelSelector | None:
        selector = (self.params or {}).get("selector")
        return None if selector is None else from_document(selector)


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy, compiled, with its bindings."""

    name: str
    mutates: bool
    match: Match
    conditions: Conditions
    validations: Sequence[Validation]
    annotations: Mapping[str, Expression]
    mutations: Sequence[Mutation]
    param_kind: GroupVersionKind | None
    ignores_failure: bool
    reinvoked: bool
    bindings: Sequence[Binding] = ()


def policy_of(document: Document, bindings: Sequence[Binding]) -> Policy:
    spec = document.get("spec") or {}
    kind, variables = spec.get("paramKind"), variables_of(spec.get("variables"))
    return Policy(
        document["metadata"]["name"], document["kind"] == "MutatingAdmissionPolicy",
        match_of(spec.get("matchConstraints") or {}), Conditions(spec.get("matchConditions") or ()),
        [_validation(one, variables) for one in spec.get("validations") or ()],
        {one["key"]: Expression(one["valueExpression"], variables) for one in spec.get("auditAnnotations") or ()},
        [_mutation(one, variables) for one in spec.get("mutations") or ()],
        None if kind is None else _kind(kind), spec.get("failurePolicy") == "Ignore",
        spec.get("reinvocationPolicy") == "IfNeeded", bindings,
    )  # fmt: skip


def _kind(document: Document) -> GroupVersionKind:
    group, _, version = document["apiVersion"].rpartition("/")
    return GroupVersionKind(group, version, document["kind"])


def _validation(document: Document, variables: Mapping[str, Expression]) -> Validation:
    said = document.get("messageExpression")
    return Validation(
        Expression(document["expression"], variables), (document.get("message") or "").strip(),
        Expression(said, variables) if said else None, document.get("reason") or "Invalid",
    )  # fmt: skip


def _mutation(document: Document, variables: Mapping[str, Expression]) -> Mutation:
    kind = document["patchType"]
    field = "applyConfiguration" if kind == "ApplyConfiguration" else "jsonPatch"
    return Mutation(kind, Expression(objects.as_maps((document.get(field) or {}).get("expression") or ""), variables))


def binding_of(document: Document) -> Binding:
    spec = document.get("spec") or {}
    return Binding(
        document["metadata"]["name"], spec.get("policyName") or "", match_of(spec.get("matchResources") or {}),
        spec.get("paramRef"), tuple(spec.get("validationActions") or ("Deny",)),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Invocation:
    """A policy bound with one set of parameters, about one question."""

    policy: Policy
    binding: Binding
    type: ResourceType
    params: Document | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        metadata = (self.params or {}).get("metadata") or {}
        return self.policy.name, self.binding.name, metadata.get("namespace", ""), metadata.get("name", "")


@dataclass(frozen=True, slots=True)
class Denial:
    """One reason why a request shall not be."""

    policy: str
    binding: str
    message: str
    reason: str = "Invalid"
    index: int = 0
    actions: Sequence[str] = ("Deny",)


class DeniedError(ApiError):
    """A policy said no; the reason is the policy's own."""

    def __init__(self, question: Question, message: str, reason: str, causes: Sequence[str]) -> None:
        type = question.type
        super().__init__(
            message, group=type.group, kind=type.resource, name=question.name,
            causes=[Cause("", one) for one in causes],
        )  # fmt: skip
        self.__dict__["reason"], self.__dict__["code"] = reason, _CODES.get(reason, 422)

    def status(self) -> Document:
        status = super().status()
        if "causes" in status.get("details", {}):
            status["details"]["causes"] = [{"message": cause.message} for cause in self.causes]
        return status


def denied(question: Question, denials: Sequence[Denial]) -> DeniedError:
    """What the caller of a validating policy is told: the first denial in the message, all among the causes."""
    said = [_denial(one) for one in denials]
    named = f'{question.type.qualified} "{question.name}"' if question.name else question.type.qualified
    return DeniedError(question, f"{named} is forbidden: {said[0]}", denials[0].reason, said)


def _denial(one: Denial) -> str:
    bound = f" with binding '{one.binding}'" if one.binding else ""
    return f"ValidatingAdmissionPolicy '{one.policy}'{bound} denied request: {one.message}"


def unchanged(question: Question, denials: Sequence[Denial]) -> DeniedError:
    """What the caller of a mutating policy that failed is told."""
    said = [f"policy '{one.policy}' with binding '{one.binding}' denied request: {one.message}" for one in denials]
    return DeniedError(question, said[0], denials[0].reason, said)


def validate(policy: Policy, evaluation: Evaluation, binding: Binding) -> tuple[list[Denial], dict[str, str]]:
    """What one bound policy finds wrong, and what it wants in the audit trail."""
    denials: list[Denial] = []
    for index, validation in enumerate(policy.validations):
        found = evaluation.run(validation.expression)
        if found.is_true:
            continue
        if found.error:
            if not policy.ignores_failure:
                said = f"expression '{validation.expression.text}' resulted in error: {found.error}"
                denials.append(Denial(policy.name, binding.name, said, "Invalid", index, binding.actions))
        else:
            said = _message(validation, evaluation)
            denials.append(Denial(policy.name, binding.name, said, validation.reason, index, binding.actions))
    annotations: dict[str, str] = {}
    for key, expression in policy.annotations.items():
        found = evaluation.run(expression)
        if found.error:
            if not policy.ignores_failure:
                said = f"expression '{expression.text}' resulted in error: {found.error}"
                denials.append(Denial(policy.name, binding.name, said, "Invalid", 0, binding.actions))
        elif isinstance(found.value, str) and found.value.strip():
            annotations[key] = found.value.strip()[:ANNOTATION_CHARACTERS_MAX]
    return denials, annotations


def _message(validation: Validation, evaluation: Evaluation) -> str:
    """What a failed validation says: what its expression makes, else its own words, else itself."""
    if validation.message_expression is not None:
        found = evaluation.run(validation.message_expression).value
        if isinstance(found, str):
            text = found.strip()
            if text and "\n" not in text and len(text) <= MESSAGE_CHARACTERS_MAX:
                return text
    return validation.message or f"failed expression: {validation.expression.text}"


def steps_of(value: Any) -> Sequence[Document]:
    """The steps of a patch that an expression made; `ValueError` when they are none."""
    if not isinstance(value, list) or not all(isinstance(one, dict) and "op" in one for one in value):
        raise ValueError("the expression must make a list of JSONPatch")
    return [{("from" if key == "from" else key): part for key, part in one.items()} for one in value]
