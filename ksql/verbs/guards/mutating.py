"""What a mutating policy's expression makes of an object: an applied configuration merged in, or patched.

Pure. An applied configuration is merged as server-side apply would, lists by their keys; it may name no identity
and no list or map that is only replaced as a whole, since what others wrote there would be lost.
"""

from typing import Any

from ksql.base.documents import Document
from ksql.schema.catalogue import Catalogue
from ksql.schema.cel import admission
from ksql.schema.cel.programs import EvaluationError
from ksql.schema.errors import ApiError
from ksql.schema.managed import typed, walks
from ksql.schema.managed.typed import Type
from ksql.schema.patches import jsonpatch
from ksql.schema.resources import ResourceType
from ksql.verbs.guards.evaluation import Evaluation
from ksql.verbs.guards.policies import Mutation, steps_of
from ksql.verbs.guards.questions import Question

# What an applied configuration may not say.
_IDENTITY = ("apiVersion", "kind")
_IDENTITY_METADATA = ("name", "namespace", "uid", "generateName", "resourceVersion", "managedFields")


class MutationError(Exception):
    """The expression comes to nothing that can be made of the object."""


def mutated(
    catalogue: Catalogue, mutation: Mutation, evaluation: Evaluation, question: Question, type: ResourceType
) -> Document | None:
    """The object as the mutation makes it, in the version of `type`; None when there is no object."""
    document = question.in_version(type, False)
    if document is None:
        return None
    found = evaluation.run(mutation.expression)
    if found.error:
        raise MutationError(f"expression '{mutation.expression.text}' resulted in error: {found.error}")
    try:
        value = admission.plain(found.raw)
    except EvaluationError as error:
        raise MutationError(str(error)) from None
    if mutation.kind == "JSONPatch":
        try:
            return jsonpatch.apply(document, steps_of(value))
        except (ValueError, ApiError) as error:
            raise MutationError(f"JSON Patch: {getattr(error, 'message', error)}") from None
    return _applied(catalogue, document, value, type)


def _applied(catalogue: Catalogue, document: Document, config: Any, type: ResourceType) -> Document:
    if not isinstance(config, dict):
        raise MutationError("the expression must make an Object")
    named = [key for key in _IDENTITY if key in config]
    named += [f"metadata.{key}" for key in _IDENTITY_METADATA if key in (config.get("metadata") or {})]
    if named:
        raise MutationError(f"invalid ApplyConfiguration: may not mutate {named[0]}")
    of = _type_of(catalogue, type)
    wholes = _wholes(of, config, "")
    if wholes:
        raise MutationError(
            f"invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {', '.join(wholes)}"
        )
    try:
        merged: Document = walks.merge(of, document, config)
    except ValueError as error:
        raise MutationError(f"error applying patch: {error}") from None
    return {"apiVersion": document["apiVersion"], "kind": document["kind"], **merged}


def _type_of(catalogue: Catalogue, type: ResourceType) -> Type:
    if type.custom is not None:
        return typed.type_of_schema(catalogue, type.custom.schema)
    found = typed.type_of(catalogue, type.gvk)
    assert found is not None, f"no definition of {type.gvk}"
    return found


def _wholes(type: Type, value: Any, path: str) -> list[str]:
    """Where a configuration names a list or a map that is only replaced as a whole."""
    if isinstance(value, dict) and type.map is not None:
        if type.map.atomic and path:
            return [path]
        found: list[str] = []
        for key, inner in value.items():
            found += _wholes(type.map.of(key)[1], inner, f"{path}.{key}")
        return found
    if isinstance(value, list) and type.list is not None:
        if type.list.atomic:
            return [path]
        return [one for item in value for one in _wholes(type.list.element, item, f"{path}[]")]
    return []
