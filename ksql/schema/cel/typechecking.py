"""What the expressions of a policy would find wrong in the kinds that it names, told in its status.

A policy is taken though it speaks of fields that its kinds do not have: which kinds there will be is not known when it
is written. For those that are there its expressions are compiled once more, with the objects' own types. Words are
kube-apiserver's. A kind that is named by a wildcard is not looked at, nor is an expression that asks the authorizer;
parameters are open.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ksql.base.documents import Document
from ksql.schema.catalogue import Catalogue
from ksql.schema.cel import programs
from ksql.schema.cel.admission import expanded
from ksql.schema.cel.expressions import OPEN, REQUEST
from ksql.schema.cel.types import Types
from ksql.schema.custom.structural import Node
from ksql.schema.derive import REF
from ksql.schema.resources import ResourceType

# kube-apiserver's bound on how many kinds one rule is checked for.
TYPES_MAX = 10
# Kinds whose types are kept: those that policies name are a few, and some have a thousand messages.
_KINDS_KEPT_MAX = 16

_ANY = "*"
_SPECIAL: Mapping[str, Any] = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"x-kubernetes-int-or-string": True},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "string"},
}


def warnings(policy: Document, catalogue: Catalogue) -> list[Document]:
    """Each expression that some kind does not fit, with what is wrong for which."""
    spec = policy.get("spec") or {}
    types = kinds(spec, catalogue)
    found = []
    for place, text in _expressions(spec):
        faults = [(type, _fault(text, spec, type, catalogue)) for type in types]
        said = [f"{_named(type)}: compilation failed: {why}\n" for type, why in faults if why]
        if said:
            found.append({"fieldRef": place, "warning": "\n".join(said)})
    return found


def _named(type: ResourceType) -> str:
    return f"{type.api_version}, Kind={type.kind}" if type.group else f"/{type.version}, Kind={type.kind}"


def kinds(spec: Document, catalogue: Catalogue) -> Sequence[ResourceType]:
    """The kinds that a policy names, as far as they are there."""
    found: dict[tuple[str, str, str], ResourceType] = {}
    for rule in (spec.get("matchConstraints") or {}).get("resourceRules") or ():
        count = 0
        for group, version, resource in _named_by(rule):
            type = catalogue.find(group, version, resource)
            if type is None:
                continue
            found[type.group, type.version, type.kind] = type
            count += 1
            if count == TYPES_MAX:
                break
    return [found[key] for key in sorted(found)]


def _named_by(rule: Document) -> Iterator[tuple[str, str, str]]:
    groups, versions = (rule.get(field) or () for field in ("apiGroups", "apiVersions"))
    resources = [one for one in rule.get("resources") or () if _ANY not in one and "/" not in one]
    if _ANY in groups or _ANY in versions:
        return
    for group in sorted(groups):
        for version in sorted(versions):
            for resource in sorted(resources):
                yield group, version, resource


def _expressions(spec: Document) -> Iterator[tuple[str, str]]:
    for index, validation in enumerate(spec.get("validations") or ()):
        for field in ("expression", "messageExpression"):
            if text := validation.get(field):
                yield f"spec.validations[{index}].{field}", text


def _fault(text: str, spec: Document, type: ResourceType, catalogue: Catalogue) -> str:
    """Why an expression does not fit a kind; empty when it does, or cannot be looked at."""
    known: dict[str, str] = {}
    try:
        for variable in spec.get("variables") or ():
            known[variable["name"]] = expanded(variable.get("expression") or "", known)
        whole = expanded(text, known)
        name = catalogue.definition_name(type.gvk)
        if name is None or programs.mentions(whole, "authorizer"):
            return ""
        types, names = _types(name, catalogue, id(catalogue.definitions[name]))
        programs.checked(whole, types.pool, names)
    except programs.CompilationError as error:
        return str(error)
    return ""


@lru_cache(_KINDS_KEPT_MAX)
def _types(name: str, catalogue: Catalogue, identity: int) -> tuple[Types, dict[str, Any]]:
    """The types of what expressions name, with objects of a kind; made anew when its definition is another."""
    schema = _whole(name, catalogue.definitions, ())
    spoken = {"object": schema, "oldObject": schema, "request": REQUEST, "params": OPEN, "namespaceObject": OPEN}
    root = Node({"type": "object", "properties": spoken})
    types = Types(root)
    return types, {word: types.of(node) for word, node in root.properties.items()}


def _whole(name: str, definitions: Mapping[str, Any], above: tuple[str, ...]) -> Any:
    """A definition with those that it refers to in their places; what holds itself is left open."""
    if name in _SPECIAL:
        return _SPECIAL[name]
    if name in above:
        return OPEN
    return _filled(definitions[name], definitions, (*above, name))


def _filled(schema: Any, definitions: Mapping[str, Any], above: tuple[str, ...]) -> Any:
    reference = schema.get("$ref") or next((one["$ref"] for one in schema.get("allOf") or () if "$ref" in one), None)
    if reference is not None:
        return _whole(reference.removeprefix(REF), definitions, above)
    found = {key: schema[key] for key in ("type", "format") if key in schema}
    if schema.get("x-kubernetes-preserve-unknown-fields") or not found.get("type"):
        return OPEN
    if properties := schema.get("properties"):
        found["properties"] = {key: _filled(one, definitions, above) for key, one in properties.items()}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), Mapping):
            found[key] = _filled(schema[key], definitions, above)
    return found
