"""Kinds laid over strawberry's schema, anew whenever the catalogue changes.

What comes from the minor alone is made once per process; a change of the custom kinds makes their types, a new root
of questions, and a schema that shares all the rest. Requests that run keep the schema they began with.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
)  # fmt: skip

from ksql.schema.catalogue import Catalogue
from ksql.schema.resources import ResourceType
from ksql.serve.gql.nodes import Object
from ksql.serve.gql.typed import relations, roots
from ksql.serve.gql.typed.choosing import NAMES, choosing
from ksql.serve.gql.typed.direct import PLANS, Plans
from ksql.serve.gql.typed.names import (
    Kind,
    Taken,
    custom_name,
    definition_names,
    kind_names,
    own_fields,
    preferred,
    root_names,
)  # fmt: skip
from ksql.serve.gql.typed.pages import connection
from ksql.serve.gql.typed.shapes import OBJECT_META, Custom, Definitions, Leaf, Shape
from ksql.serve.gql.typed.types import Resolving, Types
from ksql.serve.gql.typed.wheres import Wheres

# Where a schema keeps its kinds.
KINDS = "ksql.kinds"


@dataclass(slots=True)
class Made:
    """Types and roots of some kinds, by resource key."""

    kinds: dict[str, Kind] = field(default_factory=dict)
    nodes: dict[str, GraphQLObjectType] = field(default_factory=dict)
    pages: dict[str, GraphQLObjectType] = field(default_factory=dict)
    choices: dict[str, Mapping[str, GraphQLArgument]] = field(default_factory=dict)
    roots: dict[str, GraphQLField] = field(default_factory=dict)


class Assembly:
    """One minor's kinds over strawberry's schema; `schema` answers for a catalogue of that minor."""

    def __init__(self, base: GraphQLSchema, catalogue: Catalogue) -> None:
        self._base = base
        self._shared = _named(base, "PageInfo", GraphQLObjectType), _named(base, "Revision", GraphQLScalarType)
        self._moment: GraphQLScalarType = _named(base, "Moment", GraphQLScalarType)
        self._types, self._wheres = Types(_named(base, "JSON", GraphQLScalarType)), Wheres(self._moment)
        self._common = dict(_named(base, "GenericObject", GraphQLObjectType).fields)
        self._interfaces = [_named(base, name, GraphQLInterfaceType) for name in ("Object", "Node")]
        for interface in self._interfaces:
            _resolve_by_kind(interface)
        self._taken = Taken([*base.type_map, *map(str, Leaf), *self._wheres.names, *NAMES])
        types = preferred(type for type in catalogue.types if type.custom is None)
        names = kind_names(types, self._taken)
        self._definitions = Definitions(catalogue.definitions, definition_names(catalogue, names, self._taken))
        self._built = Made()
        for type in types:
            shape = self._definitions.shape(catalogue.definition_name(type.gvk) or "")
            self._make(self._built, type, names[type.key], shape, self._types, self._wheres)
        # Types are made as they are met. All must be met before custom kinds share them, or those would make their own.
        self._laid(self._built)

    def schema(self, catalogue: Catalogue) -> GraphQLSchema:
        """The whole schema: what strawberry has, built-in kinds, and the custom kinds served now."""
        made = Made(dict(self._built.kinds), dict(self._built.nodes), roots=dict(self._built.roots))
        taken, types = self._taken.copy(), Types(_named(self._base, "JSON", GraphQLScalarType))
        wheres = Wheres(self._moment)
        types.share(self._types)
        wheres.share(self._wheres)
        for type in _by_age(preferred(catalogue.custom)):
            if type.key not in made.kinds and type.custom is not None:
                name = custom_name(type, taken)
                custom = Custom(self._definitions.shape(OBJECT_META), _claimer(taken, type))
                self._make(made, type, name, custom.kind(name, type.custom.schema), types, wheres)
        return self._laid(made)

    def _make(
        self, made: Made, type: ResourceType, name: str, shape: Shape, types: Types, wheres: Wheres
    ) -> None:
        query = self._base.query_type
        assert query is not None
        single, plural = root_names(name, type, {*query.fields, *made.roots})
        kind = Kind(type, name, single, plural, shape, own_fields(shape, self._common))
        choices = choosing(kind, wheres.kind(kind))
        node = types.kind(kind, self._common, self._interfaces, self._related)
        pages = connection(kind, node, *self._shared)
        made.kinds[type.key], made.nodes[type.key] = kind, node
        made.pages[type.key], made.choices[type.key] = pages, {**choices, **roots.PAGING}
        made.roots[single] = roots.single(kind, node, self._moment)
        made.roots[plural] = roots.plural(kind, pages, self._moment, choices)

    def _related(self, kind: Kind) -> dict[str, GraphQLField]:
        """The relations of a kind: built-in kinds lead to built-in ones."""
        made = self._built
        return relations.fields(kind, made.kinds, made.nodes, made.pages, lambda one: made.choices[one.type.key])

    def _laid(self, made: Made) -> GraphQLSchema:
        base = self._base
        asked = base.query_type
        assert asked is not None
        query = GraphQLObjectType(
            asked.name, {**asked.fields, **{name: made.roots[name] for name in sorted(made.roots)}},
            description=asked.description, extensions=asked.extensions,
        )  # fmt: skip
        others = [found for name, found in base.type_map.items() if not name.startswith("__") and found is not asked]
        return GraphQLSchema(
            query=query, mutation=base.mutation_type, subscription=base.subscription_type,
            types=[*others, *made.nodes.values()], directives=base.directives, description=base.description,
            extensions={**base.extensions, KINDS: made.kinds, PLANS: Plans()}, assume_valid=True,
        )  # fmt: skip


def _named(base: GraphQLSchema, name: str, wanted: Any) -> Any:
    found = base.type_map[name]
    assert isinstance(found, wanted)
    return found


def _claimer(taken: Taken, type: ResourceType) -> Any:
    suffix = "".join(word[:1].upper() + word[1:] for word in type.group.replace("-", ".").split("."))
    return lambda name: taken.claim(name, f"{name}_{suffix}")


def _by_age(types: Iterable[ResourceType]) -> list[ResourceType]:
    """The oldest definition first: it keeps the name that a younger one would like."""
    return sorted(types, key=lambda type: (type.custom.since if type.custom else "", type.key))


def kinds_of(schema: GraphQLSchema) -> Mapping[str, Kind]:
    """The kinds of a schema by resource key."""
    found: Mapping[str, Kind] = schema.extensions.get(KINDS, {})
    return found


def _resolve_by_kind(interface: GraphQLInterfaceType | GraphQLNamedType) -> None:
    """Which type an object is of says its resource; everything else says strawberry."""
    assert isinstance(interface, GraphQLInterfaceType)
    otherwise = interface.resolve_type
    assert otherwise is not None

    def resolve(value: Any, info: Resolving, abstract: Any) -> Any:
        if isinstance(value, Object):
            kind = kinds_of(info.schema).get(value.seen.stream.resource)
            return kind.name if kind is not None else "GenericObject"
        return otherwise(value, info, abstract)

    interface.resolve_type = resolve
