"""The timeline over its two doors: the same picture, under the asker's rights, and honest about what it leaves out."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from ksql.auth.authorize import AdminAuthorizer
from ksql.auth.identity import Question, Verdict
from ksql.serve.gql.app import graphql_app
from ksql.serve.late import Late
from tests.serve.cluster import BOB, Rooms, in_process, rooms
from tests.serve.gql_door import opened


class PodsAlone:
    """Bob may list pods and nothing else."""

    def authorize(self, question: Question) -> Verdict:
        if question.user.name != "bob":
            return AdminAuthorizer().authorize(question)
        if question.path:
            return Verdict(True, "")
        return Verdict(question.resource == "pods" and question.verb == "list", "")


@pytest.fixture
async def server() -> AsyncIterator[Rooms]:
    made: dict[str, Any] = {}
    graphql = Late(lambda: made["app"])
    async with rooms(permissions=lambda objects: PodsAlone(), graphql=graphql) as found:
        made["app"] = graphql_app(found.pipeline, found.objects, found.log, found.catalogue, found.clock)
        await found.make("configmaps", {"metadata": {"name": "settings", "namespace": "default"}, "data": {"a": "1"}})
        pod = {"metadata": {"name": "lonely", "namespace": "default", "labels": {"app": "web"}},
               "spec": {"containers": [{"name": "c", "image": "nginx"}]}}  # fmt: skip
        await found.make("pods", pod)
        yield found


def names(picture: Any) -> list[str]:
    return [lane[0] for lane in picture["lanes"]]


async def ask(server: Rooms, query: str = "", token: str | None = "the-admin's-token") -> httpx.Response:
    async with in_process(server.door, token) as client:
        return await client.get(f"/timeline?from=1h{query}")


async def test_lanes_have_bars_and_marks(server: Rooms) -> None:
    picture = (await ask(server)).json()
    lane = next(lane for lane in picture["lanes"] if lane[0] == "pods/default/lonely")
    ((start, end, revision, state, text, _),) = lane[6]
    ((time, created, kind, actor, count, _, _),) = lane[7]
    assert (state, text, kind, count) == ("waiting", "pending", "create", 1)
    assert start == time <= end and revision == created
    assert picture["actors"][actor][:2] == ["kubernetes-admin", "PERSON"]
    assert sum(picture["histogram"]["writes"]) == 4 and picture["head"] == server.log.head


async def test_hidden_objects_are_counted_and_not_told(server: Rooms) -> None:
    picture = (await ask(server, token=BOB)).json()
    assert names(picture) == ["pods/default/lonely"] and picture["hidden"] == 3
    assert "settings" not in (await ask(server, token=BOB)).text
    assert sum(picture["histogram"]["writes"]) == 1


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("kind:Pod", ["pods/default/lonely"]),
        ("label:app=web", ["pods/default/lonely"]),
        ("label:app=db", []),
        ("set", ["configmaps/default/settings"]),
        ("-kind:Pod ns:default", ["configmaps/default/settings"]),
        ("object:pod/lonely", ["pods/default/lonely"]),
        ("name:lon*", ["pods/default/lonely"]),
        ("actor:alice", []),
        ("verb:create kind:ConfigMap", ["configmaps/default/settings"]),
    ],
)
async def test_the_filter_grammar_chooses_lanes(server: Rooms, query: str, expected: list[str]) -> None:
    assert names((await ask(server, f"&q={query}&ns=default")).json()) == expected


async def test_pages_go_on_where_the_last_one_ended(server: Rooms) -> None:
    whole = names((await ask(server)).json())
    first = (await ask(server, "&first=1")).json()
    rest = (await ask(server, f"&first=500&after={first['next']}")).json()
    assert names(first) + names(rest) == whole and rest["next"] is None and first["total"] == len(whole)


@pytest.mark.parametrize(
    ("query", "code", "told"),
    [
        ("&q=kind:Pox", 400, 'there is no resource or kind "Pox"; did you mean pods?'),
        ("&q=since", 200, ""),
        ("&q=knd:Pod", 400, 'there is no filter "knd:"; did you mean kind?'),
        ("&group=colour", 400, 'there is no group "colour"; give one of owner, kind, node'),
        ("&first=501", 400, "first is between 1 and 500"),
        ("&first=many", 400, '"many" is no number'),
        ("&to=2h", 410, "is before the first event of the log"),
        ("&color=red", 400, 'the timeline has no parameter "color"'),
        ("&after=xyz", 400, "cursor"),
    ],
)
async def test_what_cannot_be_asked_is_said(server: Rooms, query: str, code: int, told: str) -> None:
    answer = await ask(server, query)
    assert answer.status_code == code and told in answer.text.replace('\\"', '"')


async def test_an_empty_range_says_what_came_before_it() -> None:
    async with opened() as door:
        head = door.story.log.head
        query = "query($from: Moment!) {timeline(from: $from, query: \"uid:%s\") {totalLanes lastBefore {revision}}}"
        found = (await door.ask(query.replace("%s", str(UUID(int=1))), **{"from": f"r{head}"}))["timeline"]
        assert found == {"totalLanes": 0, "lastBefore": {"revision": head - 1}}


async def test_graphql_tells_the_same_lanes() -> None:
    async with opened() as door:
        found = (await door.ask(
            '{timeline(from: "r1", query: "ns:default", first: 20) {from to totalLanes hiddenObjects notes '
            "lanes {id parent depth kind name node spans {start end state text revision uid} "
            "marks {time revision kind actor {name kind} count warning}} "
            "histogram {writes people} pageInfo {hasNextPage}}}"
        ))["timeline"]  # fmt: skip
        by_id = {lane["id"]: lane for lane in found["lanes"]}
        web = by_id["deployments.apps/default/web"]
        assert web["marks"][0]["kind"] == "create" and web["marks"][0]["actor"]["name"] == "alice"
        pod = next(lane for lane in found["lanes"] if lane["kind"] == "Pod")
        assert by_id[pod["parent"]]["kind"] == "ReplicaSet" and pod["depth"] == 2 and pod["node"]
        assert found["totalLanes"] == len(by_id) and sum(found["histogram"]["people"]) > 0


async def test_a_user_without_the_right_to_the_path_gets_none(server: Rooms) -> None:
    assert (await ask(server, token=None)).status_code == 401
