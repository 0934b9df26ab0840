"""Priority and fairness at the door: kept objects, headers, refusals, and a runaway client beside others."""

import asyncio

import pytest

from ksql.auth.identity import User
from ksql.flow.objects import LEVEL_OBJECTS, LEVELS, SCHEMA_OBJECTS, SCHEMAS
from ksql.serve import flowkeeping
from ksql.serve.upkeep import Keeper, Wish
from tests.serve.cluster import BOB, in_process, rooms

FLOW = "/apis/flowcontrol.apiserver.k8s.io/v1"
CAROL = User("carol", ("system:authenticated",))
MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
async def kept():
    async with rooms() as found:
        keeper = flowkeeping.keeper(found.pipeline, found.clock)
        await keeper.start()
        try:
            yield found
        finally:
            await keeper.aclose()


async def until(found, claim) -> None:
    async with asyncio.timeout(10):
        while not claim():
            await found.clock.sleep(0.005)


async def test_what_every_cluster_has_is_there_with_its_conditions(kept):
    async with in_process(kept.door) as http:
        schemas = (await http.get(f"{FLOW}/flowschemas")).json()["items"]
        levels = (await http.get(f"{FLOW}/prioritylevelconfigurations")).json()["items"]
    specs = {one["metadata"]["name"]: one["spec"] for one in (*SCHEMA_OBJECTS, *LEVEL_OBJECTS)}
    assert len(schemas) == len(SCHEMA_OBJECTS) and len(levels) == len(LEVEL_OBJECTS)
    for one in schemas:
        assert one["status"]["conditions"][0]["reason"] == "Found"
    by_name = {one["metadata"]["name"]: one["spec"] for one in schemas}
    assert by_name["service-accounts"] == specs["service-accounts"]


async def test_what_is_mandatory_comes_back_and_what_is_taken_over_does_not(kept):
    head = kept.log.head
    async with in_process(kept.door) as http:
        await http.delete(f"{FLOW}/flowschemas/catch-all")
        await until(kept, lambda: kept.objects.get(SCHEMAS, "", "catch-all"))
        patch = {"content-type": "application/merge-patch+json"}
        url = f"{FLOW}/prioritylevelconfigurations/system"
        changed = {"spec": {"limited": {"nominalConcurrencyShares": 77}}}
        await http.patch(url, json=changed, headers=patch)

        def shares() -> int:
            return kept.objects.document(LEVELS, "", "system")["spec"]["limited"]["nominalConcurrencyShares"]

        await until(kept, lambda: shares() == 30)
        mine = {"metadata": {"annotations": {"apf.kubernetes.io/autoupdate-spec": "false"}}, **changed}
        await http.patch(url, json=mine, headers=patch)
        await until(kept, lambda: kept.door.admission.flow(CAROL, "get") is not None)
        assert shares() == 77
        spec = {"priorityLevelConfiguration": {"name": "nowhere"}, "matchingPrecedence": 5000}
        await kept.make(SCHEMAS, {"metadata": {"name": "lost"}, "spec": spec})

        def lost() -> dict:
            return kept.objects.document(SCHEMAS, "", "lost").get("status")

        await until(kept, lost)
        assert lost()["conditions"][0]["message"] == (
            'This FlowSchema references the PriorityLevelConfiguration object named "nowhere" but there is no '
            "such object"
        )
    settled = kept.log.head
    await kept.clock.sleep(0.1)
    assert kept.log.head == settled > head


async def test_a_keeper_never_quarrels_with_what_the_server_makes_of_its_writes(kept):
    """A plan that is never content: what was asked is not what is stored, since the server fills it in."""
    system = kept.objects.document(LEVELS, "", "system")
    bare = {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}

    def plan():
        current = kept.objects.document(LEVELS, "", "mine")
        if current is None:
            return [Wish("create", LEVELS, {"metadata": {"name": "mine"}, "spec": system["spec"]})]
        return [] if current["spec"] == bare else [Wish("update", LEVELS, {**current, "spec": bare})]

    keeper = Keeper("quarrel", kept.pipeline, kept.clock, (LEVELS,), plan)
    async with asyncio.timeout(10):
        await keeper.start()
    made = kept.objects.document(LEVELS, "", "mine")
    assert made["spec"]["limited"]["nominalConcurrencyShares"] == 30
    head = kept.log.head
    await kept.clock.sleep(0.1)
    assert kept.log.head == head
    await keeper.aclose()


async def test_answers_tell_their_schema_and_level(kept):
    async with in_process(kept.door) as http:
        for path in (MAPS, "/api/v1", "/version"):
            headers = (await http.get(path)).headers
            assert headers["x-kubernetes-pf-flowschema-uid"] == uid(kept, SCHEMAS, "exempt")
            assert headers["x-kubernetes-pf-prioritylevel-uid"] == uid(kept, LEVELS, "exempt")
    async with in_process(kept.door, BOB) as http:
        refused = await http.get(MAPS)
        assert refused.status_code == 403
        assert refused.headers["x-kubernetes-pf-flowschema-uid"] == uid(kept, SCHEMAS, "global-default")


def uid(found, key: str, name: str) -> str:
    return found.objects.document(key, "", name)["metadata"]["uid"]


async def test_who_finds_no_room_is_told_to_come_back(kept):
    async with in_process(kept.door, BOB) as http:
        await http.get(MAPS)
        level = kept.door.admission.levels["global-default"]
        flow = kept.door.admission.flow(CAROL, "get", path="/x")
        # All seats taken, and the queues of a level may be none.
        held = [kept.door.admission.enter(flow, 1) for _ in range(level.queues.limit)]
        level.queues.length = 0
        answer = await http.get(MAPS)
        assert answer.status_code == 429 and answer.headers["retry-after"] == "1"
        body = answer.json()
        assert body["reason"] == "TooManyRequests" and body["message"] == "Too many requests, please try again later."
        for ticket in held:
            kept.door.admission.leave(ticket)
        level.queues.length = 50
        assert (await http.get(MAPS)).status_code == 403
        metrics = kept.door.metrics.text().decode()
        labels = 'flow_schema="global-default",priority_level="global-default",reason="queue-full"'
        assert f"apiserver_flowcontrol_rejected_requests_total{{{labels}}} 1.0" in metrics


async def test_those_who_wait_are_answered_once_there_is_room(kept):
    async with in_process(kept.door, BOB) as http:
        await http.get(MAPS)
        admission = kept.door.admission
        level = admission.levels["global-default"]
        flow = admission.flow(CAROL, "get", path="/x")
        held = [admission.enter(flow, 1) for _ in range(level.queues.limit)]
        waiting = [asyncio.create_task(http.get(MAPS)) for _ in range(20)]
        await until(kept, lambda: level.queues.waiting == 20)
        for ticket in held:
            admission.leave(ticket)
        assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {403}
        assert (level.queues.in_use, level.queues.waiting) == (0, 0)


async def test_a_watch_gives_its_seat_back_once_it_has_begun(kept):
    async with in_process(kept.door) as http, asyncio.timeout(10):
        level = kept.door.admission
        watching = asyncio.create_task(http.get(f"{MAPS}?watch=true&timeoutSeconds=1"))
        await until(kept, lambda: kept.door.rest.watches.count == 1)
        assert level.levels["exempt"].exempt_running == 0
        await watching


async def test_nobody_opens_watches_without_end(kept, monkeypatch):
    monkeypatch.setattr("ksql.serve.watches.WATCHES_PER_USER_MAX", 1)
    async with in_process(kept.door) as http, asyncio.timeout(10):
        watching = asyncio.create_task(http.get(f"{MAPS}?watch=true&timeoutSeconds=1"))
        await until(kept, lambda: kept.door.rest.watches.count == 1)
        refused = (await http.get(f"{MAPS}?watch=true")).json()
        assert (refused["code"], refused["message"]) == (429, "too many open watches, at most 1 a user")
        await watching
        assert (await http.get(f"{MAPS}?watch=true&timeoutSeconds=1")).status_code == 200


async def test_the_tables_of_what_goes_on_are_for_those_who_may_see_them(kept):
    path = "/debug/api_priority_and_fairness/dump_priority_levels"
    async with in_process(kept.door) as http:
        assert "\nglobal-default, 0, true, false, 0, 0, 0, " in (await http.get(path)).text
        assert (await http.get(path.replace("priority_levels", "queues"))).text.startswith("PriorityLevelName, Index")
    async with in_process(kept.door, BOB) as http:
        assert (await http.get(path)).status_code == 403

