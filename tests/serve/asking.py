"""Asks everything that a schema lets be asked: each root field with all that can be selected below it."""

from typing import Any

from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    get_named_type,
    is_required_argument,
)  # fmt: skip

# What arguments are given, by their names; a field that needs another is left out, and counted.
REF = '{resource: "configmaps", namespace: "shop", name: "asked"}'
MANIFEST = '{apiVersion: "v1", kind: "ConfigMap", metadata: {name: "asked", namespace: "shop"}, data: {a: "b"}}'
VALUES = {
    "resource": '"configmaps"', "namespace": '"shop"', "name": '"asked"', "revision": "5", "ref": REF, "from": '"r1"',
    "at": '"now"', "time": '"now"', "query": '"since:1d"', "id": '"b2JqZWN0AHg"', "ids": '["b2JqZWN0AHg"]',
    "by": '["metadata.name"]', "path": '"metadata.name"', "events": "1", "to": '"r5"', "times": "2.0",
    "resources": '["pods", "configmaps"]',
}  # fmt: skip
# The inputs of mutations, by their types.
INPUTS = {
    "CreateInput": f"{{manifest: {MANIFEST}}}", "ApplyInput": f'{{manifest: {MANIFEST}, fieldManager: "x"}}',
    "ReplaceInput": f"{{manifest: {MANIFEST}}}", "PatchInput": f"{{ref: {REF}, patch: {{}}}}",
    "DeleteInput": f"{{ref: {REF}}}",
    "ScaleInput": '{ref: {resource: "deploy", namespace: "shop", name: "asked"}, replicas: 1}',
    "RestartInput": '{ref: {resource: "deploy", namespace: "shop", name: "asked"}}',
    "RollbackInput": '{ref: {resource: "deploy", namespace: "shop", name: "asked"}}',
    "RetireInput": '{action: DROP, olderThan: "30d"}', "CordonInput": '{node: "asked"}',
    "DrainInput": '{node: "asked", force: true}',
}  # fmt: skip
# What is given to a root field although it need not be.
OFTEN = ("namespace", "name", "resource", "revision")
BREADTH = {0: 60, 1: 40, 2: 25, 3: 10}


class Asking:
    def __init__(self, schema: GraphQLSchema) -> None:
        self._schema = schema
        self.left_out: set[str] = set()

    def roots(self, operation: str) -> list[tuple[str, str]]:
        """Each root field with a document that asks for all of it."""
        root: Any = getattr(self._schema, f"{operation}_type")
        found = []
        for name, field in root.fields.items():
            part = self._field(name, field, 0, f"{root.name}.{name}")
            if part is not None:
                found.append((name, f"{operation} {{ {part} }}"))
        return found

    def _field(self, name: str, field: GraphQLField, depth: int, where: str) -> str | None:
        arguments = self._arguments(field, where, depth)
        if arguments is None:
            self.left_out.add(where)
            return None
        inner = self._selection(get_named_type(field.type), depth + 1)
        return None if inner is None else f"{name}{arguments} {inner}"

    def _arguments(self, field: GraphQLField, where: str, depth: int) -> str | None:
        given = []
        for name, argument in field.args.items():
            value = INPUTS.get(get_named_type(argument.type).name) if name == "input" else VALUES.get(name)
            if value is not None and (is_required_argument(argument) or (depth == 0 and name in OFTEN)):
                given.append(f"{name}: {value}")
            elif is_required_argument(argument):
                return None
        return f"({', '.join(given)})" if given else ""

    def _selection(self, type: Any, depth: int) -> str | None:
        if not isinstance(type, (GraphQLObjectType, GraphQLInterfaceType, GraphQLUnionType)):
            return ""
        if depth > 3:
            return None
        parts = ["__typename"]
        for name, field in list(getattr(type, "fields", {}).items())[: BREADTH[depth]]:
            part = self._field(name, field, depth, f"{type.name}.{name}")
            if part is not None:
                parts.append(part)
        return f"{{ {' '.join(parts)} }}"
