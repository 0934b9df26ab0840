"""The direct way answers what the ordinary way answers: random queries over random objects, errors included."""

import asyncio
from random import Random
from types import SimpleNamespace
from typing import Any
from zlib import crc32

from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    parse,
    validate,
)  # fmt: skip
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from ksql.auth.authorize import AdminAuthorizer
from ksql.history.images import Images
from ksql.schema import catalogue
from ksql.serve.gql.app import Schema, served_by
from ksql.serve.gql.context import Context, Rooms
from ksql.serve.gql.typed.direct import PLANS
from tests.history import story
from tests.serve.gql_door import ADMIN

ROOTS = ("pods", "pods", "pods", "deployments", "kubeNodes", "configMaps", "secrets", "objects", "pod")
DEPTH_MAX, BREADTH_MAX = 5, 6
# Questions of the log are the ordinary way's own matter, however deep one asks.
LEFT_OUT = frozenset({"history", "lastChange", "diff", "blame", "causes"})
# Where odd values are, and what leads there: asked for half of the time.
OFTEN = frozenset(
    ("nodes", "edges", "node", "spec", "status", "containers", "name", "image", "args", "env", "value", "ports", "path",
     "containerPort", "protocol", "resources", "requests", "livenessProbe", "httpGet", "port", "periodSeconds", "phase",
     "nodeName", "priority", "hostNetwork", "nodeSelector", "activeDeadlineSeconds", "tolerations", "startTime", "type",
     "key", "tolerationSeconds", "securityContext", "runAsUser", "conditions", "lastProbeTime", "labels", "metadata")
)  # fmt: skip
ARGUMENTS = {
    "pod": ('(namespace: "default", name: "web-abc-2")', '(namespace: "default", name: "nobody")'),
    "objects": ('(resource: "pods")', '(resource: "secrets", first: 2)', '(resource: "deployments")'),
    "field": ('(path: "metadata.name")', '(path: "data")', '(path: "spec..x")', "(path: $path)"),
    "manifest": ("", "(reveal: false)", "(reveal: true)", "(reveal: $yes)"),
}
PAGES = ("", "", "", "(first: 1)", "(first: 2)", "(last: 1)", "(first: $few)")
WRONG_PAGES = (*PAGES, "(first: -1)")
DIRECTIVES = ("", "", "", "", "", "@include(if: $yes)", "@include(if: $no)", "@skip(if: $no)", "@skip(if: true)")
VARIABLES = {"yes": True, "no": False, "few": 2, "path": "metadata.labels[app]"}
TYPES = {"yes": "Boolean!", "no": "Boolean!", "few": "Int", "path": "String!"}


class Asker:
    """Writes one random query that a schema could answer. Seeded: a query of some thousand choices would be slow to
    draw one by one, and a failing one is small enough to be cut down by hand."""

    def __init__(self, schema: GraphQLSchema, seed: int) -> None:
        self._schema, self._random, self._fragments = schema, Random(seed), dict[str, str]()

    def query(self) -> str:
        assert self._schema.query_type is not None
        fields = self._schema.query_type.fields
        roots = [self._random.choice(ROOTS) for _ in range(self._random.randint(1, 3))]
        parts = [self._part(name, fields[name], DEPTH_MAX) for name in roots]
        text = f"{{ {' '.join(parts)} }} " + " ".join(self._fragments.values())
        used = ", ".join(f"${name}: {type}" for name, type in TYPES.items() if f"${name}" in text)
        return (f"query({used}) " if used else "") + text

    def _selection(self, type: Any, depth: int) -> str:
        fields = {
            name: found
            for name, found in type.fields.items()
            if name not in LEFT_OUT and (depth > 0 or not _is_composite(found))
        }
        often = [name for name in fields if name in OFTEN] or ["__typename"]
        names = [
            self._random.choice(often if self._random.random() < 0.5 else [*fields, "__typename"])
            for _ in range(self._random.randint(2, BREADTH_MAX))
        ]
        parts = [self._part(name, fields.get(name), depth) for name in names]
        if isinstance(type, GraphQLInterfaceType) and depth > 0:
            known = [found for found in self._schema.get_possible_types(type) if found.name in ("Pod", "Secret")]
            parts += [f"... on {found.name} {{ {self._selection(found, depth - 1)} }}" for found in known]
        if depth > 0 and self._random.random() < 0.2:
            name = f"F{len(self._fragments)}"
            self._fragments[name] = ""
            self._fragments[name] = f"fragment {name} on {type.name} {{ {self._selection(type, depth - 1)} }}"
            parts.append(f"...{name} {self._random.choice(DIRECTIVES)}")
        return " ".join(parts)

    def _part(self, name: str, field: GraphQLField | None, depth: int) -> str:
        directive = self._random.choice(DIRECTIVES)
        if field is None:
            return f"__typename {directive}"
        arguments = ""
        if name in ARGUMENTS:
            arguments = self._random.choice(ARGUMENTS[name])
        elif "first" in field.args:
            arguments = self._random.choice(PAGES if depth == DEPTH_MAX else WRONG_PAGES)
        # An alias that says all that decides what is answered, so that two of a name never conflict.
        alias = f"{name}_{crc32(f'{field.type}{arguments}'.encode())}: " if arguments or depth % 2 else ""
        inner = f"{{ {self._selection(get_named_type(field.type), depth - 1)} }}" if _is_composite(field) else ""
        return f"{alias}{name}{arguments} {directive} {inner}"


def _is_composite(field: GraphQLField) -> bool:
    return isinstance(get_named_type(field.type), (GraphQLObjectType, GraphQLInterfaceType))


ODD = st.sampled_from([None, True, 0, 7, 2**31, -(2**40), 1.5, "", "1Gi", [], ["a", 1, None], {}, {"a": "b"}, [[1]]])


def place(**known: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An object with some of these fields, each sometimes of another type than its schema says."""
    return st.fixed_dictionaries({}, optional={key: value | ODD for key, value in known.items()})


CONTAINERS = st.lists(
    place(
        name=ODD, image=ODD, args=ODD, env=st.lists(place(name=ODD, value=ODD), max_size=2),
        ports=st.lists(place(containerPort=ODD, protocol=ODD), max_size=2), resources=place(requests=ODD),
        livenessProbe=place(httpGet=place(port=ODD, path=ODD), periodSeconds=ODD),
    ) | ODD,
    min_size=1, max_size=3,
)  # fmt: skip
SPEC = place(
    nodeName=ODD, priority=ODD, hostNetwork=ODD, containers=CONTAINERS, nodeSelector=ODD, activeDeadlineSeconds=ODD,
    tolerations=st.lists(place(key=ODD, tolerationSeconds=ODD), max_size=2), securityContext=place(runAsUser=ODD),
)  # fmt: skip
STATUS = place(
    phase=ODD, startTime=ODD, conditions=st.lists(place(type=ODD, status=ODD, lastProbeTime=ODD), max_size=2)
)


def ordinary_of(schema: Schema) -> Schema:
    """The same schema without anywhere to keep plans."""
    laid = schema._schema
    kwargs = laid.to_kwargs()
    kwargs["extensions"] = {key: value for key, value in laid.extensions.items() if key != PLANS}
    return schema.with_kinds(GraphQLSchema(**kwargs))


DIRECT = served_by(catalogue.load())
ORDINARY = ordinary_of(DIRECT)


async def answered(schema: Schema, context: Context, query: str) -> tuple[Any, list[Any]]:
    found: Any = await schema.execute(query, dict(VARIABLES), context_value=context)
    errors = [(error.message, error.path, (error.extensions or {}).get("code")) for error in found.errors or ()]
    return found.data, sorted(errors, key=repr)


# Cutting a query down takes minutes and leaves a seed all the same: the seed and the objects are enough.
@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(seed=st.integers(0, 2**32), odd=st.lists(st.tuples(SPEC, STATUS), min_size=1, max_size=6))
def test_both_ways_give_the_same_answers(seed: int, odd: list[Any]) -> None:
    query = Asker(DIRECT._schema, seed).query()
    # The same name with other arguments is refused before either way is gone.
    assume(not validate(DIRECT._schema, parse(query)))

    async def compare() -> None:
        async with story.told() as told:
            for at, (spec, status) in enumerate(odd):
                await told.create(
                    "pods", "v1", "Pod", f"odd-{at}", story.ALICE, labels={"app": "odd"}, spec=spec, status=status
                )
            pipeline = SimpleNamespace(authorizer=AdminAuthorizer())
            rooms = Rooms(pipeline, told.objects, told.log, catalogue.load(), told.clock, Images(told.log))
            expected = await answered(ORDINARY, Context(rooms, ADMIN), query)
            for _ in range(2):  # a selection met again is compiled
                assert await answered(DIRECT, Context(rooms, ADMIN), query) == expected

    asyncio.run(compare())
