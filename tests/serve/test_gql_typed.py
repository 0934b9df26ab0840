"""Each kind has a type of its own, built in or custom, and one query mixes them with what every object has."""

import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from graphql import GraphQLSchema, validate_schema

from ksql.auth.authorize import AdminAuthorizer
from ksql.schema import catalogue
from ksql.schema.custom.definitions import kinds_of
from ksql.serve.gql.app import _assembly, graphql_app, served_by
from ksql.serve.gql.typed.direct import Direct
from tests.history import story
from tests.serve.cluster import Rooms
from tests.serve.gql_door import ADMIN, as_user, listening, opened
from tests.serve.test_gql_authorization import CAROL, Only
from tests.serve.test_gql_subscriptions import following, socket_to, subscribe, write
from tests.simulation.test_custom import definition, foo

PODS = "{ pods { nodes { name spec { nodeName containers { name image } } status { phase } } totalCount } }"


async def test_a_list_answers_with_the_fields_of_its_schema() -> None:
    async with opened() as door:
        found = (await door.ask(PODS))["pods"]
        assert found["totalCount"] == 2
        assert found["nodes"][0] == {
            "name": "web-abc-2",
            "spec": {"nodeName": "node-2", "containers": [{"name": "web", "image": "nginx:1.27"}]},
            "status": {"phase": "Running"},
        }


async def test_one_object_by_name_now_and_then() -> None:
    query = """query($at: Moment) {
      deployment(namespace: "default", name: "web", at: $at) { kind spec { replicas } } }"""
    async with opened() as door:
        marks = door.story.marks
        assert (await door.ask(query))["deployment"] == {"kind": "Deployment", "spec": {"replicas": 3}}
        then = await door.ask(query, at=marks["created"])
        assert then["deployment"]["spec"] == {"replicas": 2}
        assert (await door.ask(query, at=marks["created"] - 1))["deployment"] is None


async def test_a_query_mixes_kinds_with_what_every_object_has() -> None:
    query = """{ object(resource: "pods", namespace: "default", name: "web-abc-2") {
      __typename name ... on Pod { spec { nodeName } } ... on Deployment { spec { replicas } }
      owners { __typename ... on ReplicaSet { spec { replicas } } } } }"""
    async with opened() as door:
        assert (await door.ask(query))["object"] == {
            "__typename": "Pod", "name": "web-abc-2", "spec": {"nodeName": "node-2"},
            "owners": [{"__typename": "ReplicaSet", "spec": {"replicas": 3}}],
        }  # fmt: skip


async def test_pages_go_on_where_they_stopped_in_both_directions() -> None:
    query = """query($first: Int, $after: ID, $last: Int, $before: ID) {
      pods(first: $first, after: $after, last: $last, before: $before) {
        edges { cursor node { name } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""
    async with opened() as door:
        head = (await door.ask(query, first=1))["pods"]
        assert [edge["node"]["name"] for edge in head["edges"]] == ["web-abc-2"]
        assert head["pageInfo"]["hasNextPage"] and not head["pageInfo"]["hasPreviousPage"]
        rest = (await door.ask(query, first=1, after=head["pageInfo"]["endCursor"]))["pods"]
        assert [edge["node"]["name"] for edge in rest["edges"]] == ["web-abc-3"]
        assert rest["edges"][0]["cursor"] == rest["pageInfo"]["startCursor"]
        back = (await door.ask(query, last=1, before=rest["pageInfo"]["startCursor"]))["pods"]
        assert [edge["node"]["name"] for edge in back["edges"]] == ["web-abc-2"]


async def test_a_list_hides_namespaces_that_the_user_may_not_list_and_says_how_many() -> None:
    query = "{ pods { nodes { name } totalCount hiddenCount } }"
    async with opened(CAROL, Only(("pods",))) as door:
        await door.story.create("pods", "v1", "Pod", "dns", door.story_actor, namespace="kube-system", spec={})
        found = (await door.ask(query))["pods"]
        assert (found["totalCount"], found["hiddenCount"]) == (2, 1)
    async with opened(CAROL, Only(("pods",), "elsewhere")) as door:
        error = await door.error(query)
        assert error["extensions"]["code"] == "FORBIDDEN"


async def test_secrets_are_masked_in_their_own_type_as_everywhere() -> None:
    async with opened() as door:
        found = await door.ask('{ secret(namespace: "default", name: "login") { type data metadata { name } } }')
        assert found["secret"]["data"] == {"password": "masked, 32 bytes"}


async def test_what_does_not_fit_the_schema_is_null_and_the_manifest_has_it() -> None:
    query = "{ pods { nodes { manifest spec { nodeName priority hostNetwork containers { name } } } } }"
    spec = {"nodeName": 7, "priority": "high", "hostNetwork": 1, "containers": [1, {"name": "a"}]}
    async with opened() as door:
        await door.story.create("pods", "v1", "Pod", "a", door.story_actor, spec=spec)
        found = (await door.ask(query))["pods"]["nodes"][0]
        assert found["spec"] == {
            "nodeName": None, "priority": None, "hostNetwork": None, "containers": [{"name": "a"}],
        }  # fmt: skip
        assert found["manifest"]["spec"] == spec


async def test_what_the_schema_says_of_itself_is_put_together_once(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = 0
    ordinary = Direct.complete_leaf_value

    def counted(return_type: Any, result: Any) -> Any:
        nonlocal resolved
        resolved += 1
        return ordinary(return_type, result)

    monkeypatch.setattr(Direct, "complete_leaf_value", staticmethod(counted))
    query = "query($yes: Boolean!) { __schema { types { name description @include(if: $yes) } } }"
    async with opened() as door:
        first, again = await door.ask(query, yes=True), await door.ask(query, yes=True)
        before = resolved
        assert first == again and before == 2 * len(first["__schema"]["types"])
        bare = await door.ask(query, yes=False)
        assert list(bare["__schema"]["types"][0]) == ["name"]
        assert resolved == before + len(bare["__schema"]["types"])


# --- the schema


def custom(catalog: catalogue.Catalogue, *definitions: Any) -> GraphQLSchema:
    catalog.serve([kind for one in definitions for kind in kinds_of(one)])
    return served_by(catalog)._schema


def established(made: Any, since: str = "2026-01-01T00:00:00Z", **spec: Any) -> Any:
    metadata = {**made["metadata"], "creationTimestamp": since}
    names = {**made["spec"]["names"], **spec.pop("names", {})}
    status = {"acceptedNames": names, "conditions": [{"type": "Established", "status": "True"}]}
    return {**made, "metadata": metadata, "spec": {**made["spec"], **spec, "names": names}, "status": status}


def test_the_built_in_schema_is_valid_and_has_a_type_for_every_kind_that_can_be_read() -> None:
    found = served_by(catalogue.load())._schema
    found._validation_errors = None
    assert validate_schema(found) == []
    kinds = {type.kind for type in catalogue.load().types if "list" in type.verbs}
    missing = {kind for kind in kinds if not {kind, f"Kube{kind}"} & found.type_map.keys()}
    assert missing == set()
    assert found.type_map["Pod"].description, "descriptions come with the types"


def test_names_that_are_taken_go_to_the_oldest_and_stay() -> None:
    foos = established(definition(), "2026-01-02T00:00:00Z")
    older = established(definition(group="example.net"), "2026-01-01T00:00:00Z")
    pods = established(definition(group="example.org", names={"plural": "pods", "kind": "Pod"}))
    alone = custom(catalogue.load(), foos)
    assert "spec" in alone.type_map["Foo"].fields
    both = custom(catalogue.load(), foos, older, pods)
    assert kind_name(both, "foos.example.net") == "Foo"
    assert kind_name(both, "foos.example.com") == "Foo_example_com"
    assert kind_name(both, "pods.example.org") == "Pod_example_org"
    both._validation_errors = None
    assert validate_schema(both) == []


def test_custom_kinds_may_be_there_before_anybody_asks() -> None:
    _assembly.cache_clear()
    found: Any = custom(catalogue.load(), established(definition())).type_map
    assert found["Foo"].fields["metadata"].type is found["Pod"].fields["metadata"].type


def test_a_kind_named_like_a_question_of_ours_does_not_take_its_place() -> None:
    head = established(definition(names={"plural": "foos", "kind": "Head"}))
    assert {"head", "headObject"} <= custom(catalogue.load(), head).query_type.fields.keys()  # type: ignore[union-attr]


def kind_name(found: GraphQLSchema, key: str) -> str:
    return found.extensions["ksql.kinds"][key].name


def test_what_graphql_cannot_say_is_said_otherwise() -> None:
    properties = {
        "x-odd name": {"type": "string"}, "xOddName": {"type": "string"}, "8ball": {"type": "integer"},
        "$ref": {"type": "string"}, "__deep": {"type": "object", "properties": {"-": {"type": "boolean"}}},
        "metadata": {"type": "object"}, "kind": {"type": "string"}, "id": {"type": "string"},
        "any": {"x-kubernetes-preserve-unknown-fields": True}, "list": {"type": "array", "items": {"type": "string"}},
        "lists": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        "map": {"type": "object", "additionalProperties": {"type": "string"}},
        "port": {"x-kubernetes-int-or-string": True},
    }  # fmt: skip
    odd = established(definition())
    odd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"] = properties
    found = custom(catalogue.load(), odd)
    found._validation_errors = None
    assert validate_schema(found) == []
    fields = {name: str(field.type) for name, field in found.type_map["Foo"].fields.items()}
    assert {
        "xOddName": "String", "xOddNameValue": "String", "field8ball": "Int64", "ref": "String", "idValue": "String",
        "any": "JSON", "list": "[String!]", "lists": "[[Int64!]!]", "map": "Map", "port": "IntOrString",
        "metadata": "ObjectMeta",
    }.items() <= fields.items()  # fmt: skip


# --- custom kinds of a running server


@pytest.fixture
async def asked(server: Rooms) -> AsyncIterator[Any]:
    """Ask a server's own GraphQL."""
    app = graphql_app(server.pipeline, server.objects, server.log, server.catalogue, server.clock)
    transport = httpx.ASGITransport(as_user(app, ADMIN))
    async with httpx.AsyncClient(transport=transport, base_url="http://ksql") as http:

        async def ask(query: str, **variables: Any) -> Any:
            answer = await http.post("/graphql", json={"query": query, "variables": variables})
            return answer.json()

        yield ask


async def test_a_custom_kind_is_in_the_schema_as_soon_as_it_is_served_and_gone_with_it(
    server: Rooms, asked: Any
) -> None:
    query = '{ foos { nodes { name spec { replicas } } } foo(namespace: "default", name: "a") { __typename } }'
    assert "Cannot query field 'foos'" in (await asked(query))["errors"][0]["message"]
    server.catalogue.serve(kinds_of(established(definition())))
    answer = await asked(query)
    assert answer == {"data": {"foos": {"nodes": []}, "foo": None}}
    server.catalogue.serve(())
    assert "Cannot query field 'foos'" in (await asked(query))["errors"][0]["message"]


async def test_a_custom_object_is_shown_in_the_version_that_its_type_is_made_from(server: Rooms, asked: Any) -> None:
    schema = definition()["spec"]["versions"][0]["schema"]
    versions = [
        {"name": "v1", "served": True, "storage": False, "schema": schema},
        {"name": "v1beta1", "served": True, "storage": True, "schema": schema},
    ]
    server.catalogue.serve(kinds_of(established(definition(versions=versions))))
    kind = server.catalogue.find("example.com", "v1beta1", "foos")
    assert kind is not None
    await server.make("foos.example.com", foo(spec={"replicas": 4}))
    answer = await asked(
        """{ foos { nodes { apiVersion spec { replicas } } }
             object(kind: "Foo", namespace: "default", name: "a") { __typename } }"""
    )
    assert answer["data"]["foos"]["nodes"] == [{"apiVersion": "example.com/v1", "spec": {"replicas": 4}}]
    assert answer["data"]["object"] == {"__typename": "Foo"}


async def test_open_subscriptions_survive_new_kinds_and_what_begins_on_their_socket_sees_them() -> None:
    async with story.told() as told:
        catalog = catalogue.load()
        pipeline = SimpleNamespace(authorizer=AdminAuthorizer())
        app = graphql_app(pipeline, told.objects, told.log, catalog, told.clock)
        async with listening(as_user(app, ADMIN)) as address, socket_to(f"ws://{address}/graphql") as socket:
            head = told.log.head
            await subscribe(socket, after=head - 1)
            assert await following(socket, 1) == [head]
            catalog.serve(kinds_of(established(definition())))
            await write(told, 1)
            assert await following(socket, 1) == [head + 1]
            await subscribe(socket, "{ foos { totalCount } }", id="2")
            answer = json.loads(await socket.recv())
            assert answer["payload"] == {"data": {"foos": {"totalCount": 0}}}
