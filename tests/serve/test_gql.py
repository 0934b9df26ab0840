"""What GraphQL answers about the present and the past, over ASGI on a real log."""

# ruff: noqa: UP031 - queries are full of braces, which only % leaves alone.

from typing import Any

import pytest
import sqlalchemy as sa

from ksql.log import protocol
from ksql.log.store import SqlEventLog
from ksql.serve.gql.pages import cursor
from tests.history.story import SECRET_VALUE, _encoded
from tests.serve.gql_door import opened

WEB = 'resource: "deployments", namespace: "default", name: "web"'


async def test_an_object_now() -> None:
    async with opened() as door:
        data = await door.ask(
            "{object(%s){uid apiVersion kind resource namespace name revision createdAt deletedAt generation"
            ' labels{key value} annotations{key value} replicas: field(path: "spec.replicas")'
            " lastChange{sentence}}}" % WEB
        )
        found = data["object"]
        assert found["replicas"] == 3
        assert found["labels"] == [{"key": "app", "value": "web"}]
        assert found["createdAt"] == "2026-11-23T10:00:00.000000Z"
        assert found["revision"] == door.story.marks["updated"]
        assert found["lastChange"]["sentence"].startswith("alice changed the image of web")


@pytest.mark.parametrize(
    "arguments",
    [
        'resource: "deploy", namespace: "default", name: "web"',
        'kind: "Deployment", namespace: "default", name: "web"',
        'kind: "Deployment", apiVersion: "apps/v1", namespace: "default", name: "web"',
        'resource: "deployments.apps", namespace: "default", name: "web"',
    ],
)
async def test_an_object_has_the_names_that_kubectl_knows(arguments: str) -> None:
    async with opened() as door:
        assert (await door.ask("{object(%s){name}}" % arguments))["object"] == {"name": "web"}


async def test_an_object_at_a_revision_and_at_a_time() -> None:
    async with opened() as door:
        query = 'query($at: Moment){object(%s, at: $at){r: revision field(path: "spec.replicas")}}' % WEB
        up = door.story.marks["up"]
        at_revision = (await door.ask(query, at=up))["object"]
        assert at_revision == {"r": door.story.marks["created"], "field": 2}
        event = await door.story.log.event(up)
        assert event is not None
        assert (await door.ask(query, at=event.time.isoformat()))["object"] == at_revision
        assert (await door.ask(query, at="r1"))["object"] is None


async def test_the_past_at_the_head_is_the_present() -> None:
    async with opened() as door:
        query = """{ now: objects(resource: "pods") { nodes { manifest } }
          then: objects(resource: "pods", at: %d) { nodes { manifest } } }"""
        head = door.story.log.head
        data = await door.ask(query % head)
        assert data["now"] == data["then"]
        await door.story.create("pods", "v1", "Pod", "late", door.story_actor)
        data = await door.ask(query % head)
        assert len(data["now"]["nodes"]) == len(data["then"]["nodes"]) + 1


async def test_lists_filter_by_labels_fields_and_names() -> None:
    async with opened() as door:
        query = """query($l: String, $f: String, $p: String) {
          objects(resource: "po", labelSelector: $l, fieldSelector: $f, namePattern: $p) { totalCount } }"""

        async def count(**given: str) -> int:
            return int((await door.ask(query, **given))["objects"]["totalCount"])

        assert await count() == 2
        assert await count(l="app=web") == 2
        assert await count(l="app notin (web)") == 0
        assert await count(f="spec.nodeName=node-2") == 2
        assert await count(p="*-3") == 1


async def test_pages_go_forward_and_backward_without_gap_or_repeat() -> None:
    async with opened() as door:
        for n in range(7):
            await door.story.create("configmaps", "v1", "ConfigMap", f"c{n}", door.story_actor)
        query = """query($first: Int, $after: ID, $last: Int, $before: ID) {
          objects(resource: "cm", first: $first, after: $after, last: $last, before: $before) {
            totalCount edges { cursor node { name } }
            pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""
        names: list[str] = []
        after = None
        while True:
            page = (await door.ask(query, first=3, after=after))["objects"]
            names += [edge["node"]["name"] for edge in page["edges"]]
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                break
        assert names == [*(f"c{n}" for n in range(7)), "settings"]
        page = (await door.ask(query, last=2))["objects"]
        assert [edge["node"]["name"] for edge in page["edges"]] == names[-2:]
        assert page["pageInfo"]["hasPreviousPage"]
        page = (await door.ask(query, last=3, before=page["pageInfo"]["startCursor"]))["objects"]
        assert [edge["node"]["name"] for edge in page["edges"]] == names[-5:-2]
        assert page["totalCount"] == 8


async def test_a_cursor_stays_true_when_its_object_is_gone() -> None:
    async with opened() as door:
        query = (
            'query($after: ID){objects(resource: "pods", first: 1, after: $after){edges{cursor node{name}}}}'
        )
        first = (await door.ask(query))["objects"]["edges"][0]
        entry = door.story.objects.get("pods", "default", first["node"]["name"])
        assert entry is not None
        await door.story.delete(entry.stream, door.story_actor)
        page = await door.ask(query, after=first["cursor"])
        assert page["objects"]["edges"][0]["node"]["name"] == "web-abc-3"


async def test_relations_are_answered_from_the_same_moment() -> None:
    async with opened() as door:
        query = """query($at: Moment) { object(%s, at: $at) {
          owned { totalCount nodes { name owners { name kind }
            owned { nodes { name owners { name } } } } } } }"""
        now = (await door.ask(query % WEB))["object"]["owned"]["nodes"][0]
        assert [pod["name"] for pod in now["owned"]["nodes"]] == ["web-abc-2", "web-abc-3"]
        assert now["owners"] == [{"name": "web", "kind": "Deployment"}]
        then = (await door.ask(query % WEB, at=door.story.marks["up"]))["object"]["owned"]["nodes"][0]
        assert [pod["name"] for pod in then["owned"]["nodes"]] == ["web-abc-1", "web-abc-2"]
        assert then["owned"]["nodes"][0]["owners"] == [{"name": "web-abc"}]


async def test_history_tells_every_life_of_a_name_with_its_changes() -> None:
    async with opened() as door:
        query = """{ history(kind: "ConfigMap", namespace: "default", name: "settings", order: OLDEST_FIRST) {
          nodes { revision change uid diff { fromRevision toRevision identical }
            object { deletedAt field(path: "data.colour") } } } }"""
        nodes = (await door.ask(query))["history"]["nodes"]
        assert [node["change"] for node in nodes] == ["ADDED", "DELETED", "ADDED"]
        assert nodes[0]["uid"] == nodes[1]["uid"] != nodes[2]["uid"]
        assert [node["object"]["field"] for node in nodes] == ["blue", "blue", "red"]
        assert [node["object"]["deletedAt"] is None for node in nodes] == [True, False, True]
        assert nodes[1]["diff"] == {
            "fromRevision": nodes[0]["revision"],
            "toRevision": None,
            "identical": True,
        }


async def test_the_history_of_a_past_object_stops_at_that_moment() -> None:
    async with opened() as door:
        query = "query($at: Moment){object(%s, at: $at){history{nodes{revision}}}}" % WEB
        nodes = (await door.ask(query, at=door.story.marks["scaled"]))["object"]["history"]["nodes"]
        assert [node["revision"] for node in nodes] == [
            door.story.marks["scaled"],
            door.story.marks["created"],
        ]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ('{resources: ["configmaps"]}', 3),
        ('{resources: ["cm", "Secret"]}', 5),
        ('{actor: "alice"}', 3),
        ('{actor: "replicaset-controller"}', 3),
        ('{actor: "scheduler"}', 3),
        ('{actor: "system:node:node-2"}', 3),
        ('{actor: "node-2"}', 3),
        ('{actor: "nobody"}', 0),
        ("{verbs: [DELETE]}", 2),
        ('{namespace: "default", name: "web"}', 3),
        ("{cause: 4}", 2),
        ("{since: 20}", 3),
        ('{until: "r3"}', 3),
        ("{since: 5, until: 7}", 3),
        ('{resources: ["pods"], verbs: [CREATE], actor: "scheduler"}', 3),
    ],
)
async def test_events_are_filtered_by_everything_at_once(where: str, expected: int) -> None:
    async with opened() as door:
        data = await door.ask("{events(filter: %s){nodes{revision}}}" % where)
        assert len(data["events"]["nodes"]) == expected


async def test_event_pages_meet_from_both_ends_in_both_orders() -> None:
    async with opened() as door:
        head = door.story.log.head
        for order, expected in (
            ("OLDEST_FIRST", list(range(1, head + 1))),
            ("NEWEST_FIRST", list(range(head, 0, -1))),
        ):
            query = (
                """query($first: Int, $after: ID, $last: Int, $before: ID) {
              events(order: %s, first: $first, after: $after, last: $last, before: $before) {
                nodes { revision } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""
                % order
            )
            seen: list[int] = []
            after = None
            for _ in range(10):
                page = (await door.ask(query, first=9, after=after))["events"]
                seen += [node["revision"] for node in page["nodes"]]
                after = page["pageInfo"]["endCursor"]
                if not page["pageInfo"]["hasNextPage"]:
                    break
            assert seen == expected
            back: list[int] = []
            before = None
            for _ in range(10):
                page = (await door.ask(query, last=9, before=before))["events"]
                back = [node["revision"] for node in page["nodes"]] + back
                before = page["pageInfo"]["startCursor"]
                if not page["pageInfo"]["hasPreviousPage"]:
                    break
            assert back == expected


async def test_an_event_tells_who_what_when_and_why() -> None:
    async with opened() as door:
        query = """query($r: Revision!) { event(revision: $r) { revision time change verb
          subresource kind name
          actor { user name kind userAgent sourceAddress impersonator groups }
          causeRevision cause { revision sentence } sentence diff { text } } }"""
        found = (await door.ask(query, r=door.story.marks["scaled"]))["event"]
        assert found["actor"] == {
            "user": "alice", "name": "alice", "kind": "PERSON", "userAgent": "kubectl/v1.35.0",
            "sourceAddress": "10.0.0.7", "impersonator": None,
            "groups": ["developers", "system:authenticated"],
        }  # fmt: skip
        assert (found["verb"], found["subresource"], found["change"]) == ("PATCH", "scale", "MODIFIED")
        assert found["diff"]["text"] == "~ spec.replicas: 2 → 3"
        assert found["cause"] is None
        pod = (await door.ask(query, r=door.story.marks["third"]))["event"]
        assert pod["cause"]["revision"] == pod["causeRevision"]
        assert (await door.ask(query, r=4_294_967_296))["event"] is None


async def test_causes_lead_back_to_the_person_and_effects_forward() -> None:
    async with opened() as door:
        marks = door.story.marks
        chain = (
            await door.ask(
                "{causes(revision: %d){root hidden sentences events{revision}}}" % (marks["third"] + 2)
            )
        )["causes"]
        assert chain["root"] == "PERSON"
        assert chain["sentences"][-1] == "alice scaled deployment default/web from 2 to 3 replicas"
        assert chain["events"][-1]["revision"] == marks["scaled"]
        effects = (
            await door.ask(
                "{effects(revision: %d, first: 2){totalCount cut pageInfo{hasNextPage} edges{depth parent}}}"
                % marks["scaled"]
            )
        )["effects"]
        assert (effects["totalCount"], effects["cut"]) == (4, False)
        assert [edge["depth"] for edge in effects["edges"]] == [1, 2]
        assert effects["pageInfo"]["hasNextPage"]


async def test_a_diff_between_two_moments_of_an_object() -> None:
    async with opened() as door:
        query = (
            "query($to: Moment){diff(ref: {%s}, from: %d, to: $to){fromRevision toRevision identical text}}"
        )
        marks = door.story.marks
        found = (await door.ask(query % (WEB, marks["created"])))["diff"]
        assert found["text"].splitlines() == [
            "~ spec.replicas: 2 → 3",
            "~ spec.template.spec.containers[web].image: nginx:1.27 → nginx:1.28",
        ]
        found = (await door.ask(query % (WEB, 1), to=marks["created"]))["diff"]
        assert (found["fromRevision"], found["toRevision"]) == (None, marks["created"])


async def test_secrets_are_masked_everywhere_unless_revealed() -> None:
    async with opened() as door:
        query = """query($reveal: Boolean!) {
          object(resource: "secrets", namespace: "default", name: "login") {
          manifest(reveal: $reveal) field(path: "data.password", reveal: $reveal)
          diff(from: 17) { changes { old new text masked } }
          history { nodes { sentence diff { text changes { old new } } object { manifest } } } } }"""
        values = (_encoded(SECRET_VALUE), _encoded(SECRET_VALUE[::-1]))
        masked = await door.post(query, reveal=False)
        assert "errors" not in masked
        assert not any(value in str(masked) for value in values)
        assert masked["data"]["object"]["field"] == "masked, 32 bytes"
        revealed = (await door.ask(query, reveal=True))["object"]
        assert revealed["field"] == values[1]


async def test_every_node_is_found_again_by_its_id() -> None:
    async with opened() as door:
        ids = await door.ask(
            "{object(%s){id} events(first: 1){nodes{id}} gone: event(revision: %d){object{id}}}"
            % (WEB, door.story.marks["gone"])
        )
        query = """query($id: ID!) { node(id: $id) {
          id __typename ... on Object { name deletedAt } ... on Event { revision } } }"""
        web = (await door.ask(query, id=ids["object"]["id"]))["node"]
        assert (web["__typename"], web["name"], web["deletedAt"]) == ("Deployment", "web", None)
        event = (await door.ask(query, id=ids["events"]["nodes"][0]["id"]))["node"]
        assert (event["__typename"], event["revision"]) == ("Event", door.story.log.head)
        gone = (await door.ask(query, id=ids["gone"]["object"]["id"]))["node"]
        assert gone["name"] == "settings"
        assert gone["deletedAt"] is not None


async def test_moments_resolve_in_the_viewers_zone() -> None:
    async with opened() as door:
        query = '{moment(at: "12:00:05"){revision time live} revisionAt(time: "12:00:05")}'
        answer = await door.post(query, headers={"Ksql-Time-Zone": "Africa/Johannesburg"})
        assert answer["data"]["moment"]["time"] == "2026-11-23T10:00:05.000000Z"
        assert answer["data"]["revisionAt"] == answer["data"]["moment"]["revision"] == 4
        assert (await door.ask("{moment(at: \"now\"){live revision}}"))["moment"] == {
            "live": True, "revision": door.story.log.head,
        }  # fmt: skip


async def test_get_requests_answer_queries_too() -> None:
    async with opened() as door:
        answer = await door.http.get("/graphql", params={"query": "{head horizon}"})
        assert answer.json()["data"]["head"] == door.story.log.head


async def test_a_connection_of_events_says_how_many_there_are() -> None:
    async with opened() as door:
        head, marks = door.story.log.head, door.story.marks
        counted, place = "{totalCount totalCut}", cursor("e", 5)
        data = await door.ask(
            """{ all: events(first: 2)%(c)s
              pods: events(filter: {resources: ["pods"]})%(c)s
              span: events(filter: {since: 3, until: 7})%(c)s
              none: events(filter: {actor: "nobody"})%(c)s
              later: events(first: 2, after: %(cursor)s)%(c)s
              name: history(resource: "configmaps", namespace: "default", name: "settings")%(c)s
              then: object(%(web)s, at: %(up)d) { history(first: 1)%(c)s }
              now: object(%(web)s) { history(first: 1)%(c)s } }"""
            % {"c": counted, "web": WEB, "up": marks["up"], "cursor": f'"{place}"'}
        )
        assert data["all"] == data["later"] == {"totalCount": head, "totalCut": False}
        events = [await door.story.log.event(revision) for revision in range(1, head + 1)]
        pods = [event for event in events if event is not None and event.stream.resource == "pods"]
        assert data["pods"]["totalCount"] == len(pods)
        assert (data["span"]["totalCount"], data["none"]["totalCount"]) == (5, 0)
        assert data["name"]["totalCount"] == 3
        assert data["then"]["history"]["totalCount"] == 1
        assert data["now"]["history"]["totalCount"] == 3


async def test_events_are_counted_once_and_only_when_asked_for() -> None:
    async with opened() as door:
        log, asked = door.story.log, []
        count = log.count

        async def counting(*args: Any) -> Any:
            asked.append(args)
            return await count(*args)

        log.count = counting  # type: ignore[method-assign]
        await door.ask("{events{head nodes{revision}}}")
        assert asked == []
        await door.ask("{events{totalCount totalCut}}")
        assert len(asked) == 1


async def test_a_count_that_stopped_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "COUNT_MAX", 4)
    async with opened() as door:
        data = await door.ask("{events{totalCount totalCut}}")
        assert data["events"] == {"totalCount": 4, "totalCut": True}


async def test_a_page_of_events_is_read_in_a_few_queries_whatever_its_size() -> None:
    async with opened() as door:
        log, asked = door.story.log, []
        assert isinstance(log, SqlEventLog)
        sa.event.listen(log.engine, "before_cursor_execute", lambda *args: asked.append(args[2]))

        async def queries(first: int) -> int:
            asked.clear()
            query = "{events(first: %d, order: OLDEST_FIRST){nodes{sentence diff{text} cause{revision}}}}"
            await door.ask(query % first)
            return len(asked)

        # The page, the causes, what they found (which, then their rows), and for each of the two the row that
        # holds the instant of its first events' transaction.
        few = await queries(30)
        assert few <= 7
        assert await queries(300) <= few
