"""Whoever may not read an object learns nothing of it, by whatever door of the schema."""

# ruff: noqa: UP031 - queries are full of braces, which only % leaves alone.

from dataclasses import dataclass

import pytest

from ksql.auth.identity import Question, User, Verdict
from tests.serve.gql_door import opened

CAROL = User("carol", ("system:authenticated",))


@dataclass(frozen=True)
class Only:
    """Allows get and list of some resources in one namespace."""

    resources: tuple[str, ...] = ("configmaps",)
    namespace: str = "default"

    def authorize(self, question: Question) -> Verdict:
        reads = question.verb in ("get", "list")
        return Verdict(reads and question.resource in self.resources and question.namespace == self.namespace)


def limited(*resources: str, namespace: str = "default"):  # type: ignore[no-untyped-def]
    return opened(CAROL, Only(resources, namespace))


@pytest.mark.parametrize(
    "query",
    [
        '{object(resource: "secrets", namespace: "default", name: "login"){id}}',
        '{object(resource: "secrets", namespace: "default", name: "nobody"){id}}',
        '{object(resource: "secrets", namespace: "default", name: "login", at: "r17"){id}}',
        '{objects(resource: "secrets", namespace: "default"){totalCount}}',
        '{objects(resource: "secrets"){totalCount}}',
        '{objects(resource: "configmaps", namespace: "kube-system"){totalCount}}',
        '{objects(resource: "pods", namespace: "default", at: "r10"){totalCount}}',
        '{history(resource: "secrets", namespace: "default", name: "login"){nodes{id}}}',
        '{diff(ref: {resource: "secrets", namespace: "default", name: "login"}, from: 17){text}}',
    ],
)
async def test_a_named_thing_is_forbidden_whether_it_exists_or_not(query: str) -> None:
    async with limited("configmaps") as door:
        error = await door.error(query)
        assert error["extensions"]["code"] == "FORBIDDEN"
        assert 'User "carol" cannot' in error["message"]


async def test_events_of_others_are_passed_over_in_few_reads() -> None:
    async with limited("configmaps") as door:
        log, limits = door.story.log, []
        read = log.read

        async def counted(after: int, limit: int, *rest: object, **options: object) -> object:
            limits.append(limit)
            return await read(after, limit, *rest, **options)  # type: ignore[arg-type]

        log.read = counted  # type: ignore[method-assign, assignment]
        page = (await door.ask("{events(first: 2){nodes{revision} pageInfo{endCursor hasNextPage}}}"))["events"]
        marks = door.story.marks
        assert [node["revision"] for node in page["nodes"]] == [marks["again"], marks["gone"]]
        assert page["pageInfo"]["hasNextPage"]
        assert len(limits) <= 2
        query = '{events(first: 2, after: "%s"){nodes{revision} pageInfo{hasNextPage}}}'
        rest = (await door.ask(query % page["pageInfo"]["endCursor"]))["events"]
        assert rest == {"nodes": [{"revision": marks["config"]}], "pageInfo": {"hasNextPage": False}}


async def test_events_of_others_are_left_out_of_lists_and_found_nowhere() -> None:
    async with limited("configmaps") as door:
        marks = door.story.marks
        nodes = (await door.ask("{events(first: 100){nodes{resource revision}}}"))["events"]["nodes"]
        assert {node["resource"] for node in nodes} == {"configmaps"}
        assert len(nodes) == 3
        counted = (await door.ask("{events(first: 1){totalCount totalCut}}"))["events"]
        assert counted == {"totalCount": 3, "totalCut": False}
        secret = marks["secret"]
        data = await door.ask("{event(revision: %d){id} causes(revision: %d){root}}" % (secret, secret))
        assert data == {"event": None, "causes": None}
        effects = await door.ask("{effects(revision: %d){totalCount edges{depth}}}" % marks["created"])
        assert effects["effects"] == {"totalCount": 0, "edges": []}


async def test_pages_are_full_though_most_events_are_hidden() -> None:
    async with limited("configmaps") as door:
        query = "{events(first: 2, order: OLDEST_FIRST){nodes{revision} pageInfo{hasNextPage}}}"
        page = (await door.ask(query))["events"]
        assert len(page["nodes"]) == 2
        assert page["pageInfo"]["hasNextPage"]


async def test_a_chain_says_how_many_links_it_hides() -> None:
    async with limited("pods") as door:
        query = "{causes(revision: %d){hidden root events{resource}}}" % (door.story.marks["third"] + 2)
        chain = (await door.ask(query))["causes"]
        assert {event["resource"] for event in chain["events"]} == {"pods"}
        assert (chain["hidden"], chain["root"]) == (2, "PERSON")


async def test_relations_lead_to_nothing_that_may_not_be_seen() -> None:
    async with limited("replicasets") as door:
        query = """{objects(resource: "replicasets", namespace: "default"){nodes{
          owners{name} owned{totalCount nodes{name}} lastChange{cause{id}} history{nodes{cause{id}}}}}}"""
        (node,) = (await door.ask(query))["objects"]["nodes"]
        assert node["owners"] == []
        assert node["owned"] == {"totalCount": 0, "nodes": []}
        assert all(event["cause"] is None for event in node["history"]["nodes"])


async def test_ids_open_no_door() -> None:
    async with opened() as door:
        found = await door.ask(
            '{object(resource: "secrets", namespace: "default", name: "login"){id uid lastChange{id}}}'
        )
    async with limited("configmaps") as door:
        for id in (found["object"]["id"], found["object"]["lastChange"]["id"]):
            assert (await door.ask("query($id: ID!){node(id: $id){id}}", id=id))["node"] is None
        query = "query($uid: ID!){object(uid: $uid){name} history(uid: $uid){nodes{name}}}"
        data = await door.ask(query, uid=found["object"]["uid"])
        assert data == {"object": None, "history": {"nodes": []}}


async def test_a_request_without_a_user_is_not_looked_at() -> None:
    async with opened(None) as door:
        answer = await door.http.post("/graphql", json={"query": "{head}"})
        assert answer.status_code == 401
        assert answer.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
