"""What the doors tell the audit: refusals and reads of Secrets always, the rest by policy, allowed writes once."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ksql.audit import journal as journals
from ksql.log import migrate
from tests.serve.audited import Audited, audited
from tests.serve.cluster import BOB, in_process

SECRETS = "/api/v1/namespaces/default/secrets"
MAPS = "/api/v1/namespaces/default/configmaps"


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def secret(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"key": "hush"}}


async def test_refusals_and_reads_of_secrets_are_kept_without_any_policy() -> None:
    async with audited() as found, in_process(found.rooms.door) as http:
        await http.post(SECRETS, json=secret("s"))
        await http.get(f"{SECRETS}/s")
        await http.get(SECRETS)
        await http.get(MAPS)
        await http.post(MAPS, json=config_map("a"))
        assert (await http.post(MAPS, json=config_map("a"))).status_code == 409
        assert (await http.post(MAPS, json=config_map("Not a name"))).status_code == 422
        async with in_process(found.rooms.door, BOB) as bob:
            await bob.get(MAPS)
            await bob.get("/metrics")
            await bob.delete(f"{MAPS}/a", headers={"user-agent": "curl/8", "x-forwarded-for": "10.9.8.7"})
        async with in_process(found.rooms.door, "nobody's token") as nobody:
            assert (await nobody.get(f"{MAPS}/a")).status_code == 401
        rows = await found.kept()
        assert [(row.user, row.verb, row.resource, row.namespace, row.name, row.code, row.reason) for row in rows] == [
            ("kubernetes-admin", "get", "secrets", "default", "s", 200, ""),
            ("kubernetes-admin", "list", "secrets", "default", "", 200, ""),
            ("kubernetes-admin", "create", "configmaps", "default", "", 409, "AlreadyExists"),
            ("kubernetes-admin", "create", "configmaps", "default", "", 422, "Invalid"),
            ("bob", "list", "configmaps", "default", "", 403, "Forbidden"),
            ("bob", "get", "", "", "", 403, "Forbidden"),
            ("bob", "delete", "configmaps", "default", "a", 403, "Forbidden"),
            ("", "get", "configmaps", "default", "a", 401, "Unauthorized"),
        ]
        assert rows[5].uri == "/metrics"
        delete = rows[6]
        assert (delete.user_agent, delete.source) == ("curl/8", "127.0.0.1")
        assert 'User "bob" cannot delete resource "configmaps"' in delete.message
        assert delete.level == "Metadata" and delete.bodies is None
        assert delete.reached >= delete.time > 0
        assert all(row.revision <= found.rooms.log.head for row in rows)
        # Nothing of it is for export: no rule asks for that.
        assert await found.told() == []


async def test_an_allowed_write_stands_in_the_log_and_nowhere_else() -> None:
    async with audited("rules: [{level: RequestResponse}]") as found, in_process(found.rooms.door) as http:
        made = await http.post(MAPS, json=config_map("a", x="1"))
        await http.put(f"{MAPS}/a", json=made.json() | {"data": {"x": "2"}})
        await http.delete(f"{MAPS}/a")
        assert await found.kept() == []
        # What left no event is kept: a dry run, and a write that changed nothing.
        await http.post(MAPS, params={"dryRun": "All"}, json=config_map("b"))
        await http.post(MAPS, json=config_map("c"))
        await http.patch(
            f"{MAPS}/c", json={"data": {}}, headers={"content-type": "application/merge-patch+json"}
        )
        rows = await found.kept()
        assert [(row.verb, row.name, row.code) for row in rows] == [("create", "", 201), ("patch", "c", 200)]
        request, response = journals.unpacked(rows[1].bodies)
        assert request == {"data": {}} and response["metadata"]["name"] == "c"
        # Others are told of all of it.
        told = [event for event in await found.told() if event["stage"] == "ResponseComplete"]
        assert [(event["verb"], event["responseStatus"]["code"]) for event in told] == [
            ("create", 201), ("update", 200), ("delete", 200), ("create", 201), ("create", 201), ("patch", 200),
        ]  # fmt: skip


async def test_levels_and_stages_are_as_the_policy_says() -> None:
    policy = (
        "omitStages: [RequestReceived]\nrules:\n"
        "- {level: None, verbs: [list]}\n"
        "- {level: Request, resources: [{resources: [configmaps]}], omitManagedFields: true}\n"
        "- {level: RequestResponse, resources: [{resources: [namespaces]}], omitManagedFields: true}\n"
        "- {level: Metadata, nonResourceURLs: [/version]}\n"
    )
    async with audited(policy) as found, in_process(found.rooms.door) as http:
        await http.get(MAPS)
        await http.post(MAPS, json=config_map("a"))
        await http.get(f"{MAPS}/a")
        await http.get("/api/v1/namespaces/default")
        await http.get("/version")
        await http.get("/healthz")
        told = await found.told()
        assert [(event["level"], event["verb"], event["requestURI"]) for event in told] == [
            ("Request", "create", MAPS), ("Request", "get", f"{MAPS}/a"),
            ("RequestResponse", "get", "/api/v1/namespaces/default"), ("Metadata", "get", "/version"),
        ]  # fmt: skip
        assert {event["stage"] for event in told} == {"ResponseComplete"}
        assert told[0]["requestObject"] == config_map("a") and "responseObject" not in told[0]
        assert told[2]["responseObject"]["kind"] == "Namespace"
        assert "managedFields" not in told[2]["responseObject"]["metadata"]


async def test_exported_events_have_the_fields_that_kubernetes_gives_them() -> None:
    policy = "rules: [{level: RequestResponse}]"
    async with audited(policy) as found, in_process(found.rooms.door) as http:
        answer = await http.get(f"{SECRETS}/s", params={"resourceVersion": "0"})
        assert answer.status_code == 404
        received, complete = await found.told()
        identity = answer.headers["audit-id"]
        assert received == {
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse", "auditID": identity,
            "stage": "RequestReceived", "requestURI": f"{SECRETS}/s?resourceVersion=0", "verb": "get",
            "user": {"username": "kubernetes-admin", "groups": ["system:masters", "system:authenticated"]},
            "sourceIPs": ["127.0.0.1"], "userAgent": http.headers["user-agent"],
            "objectRef": {"resource": "secrets", "namespace": "default", "name": "s", "apiVersion": "v1"},
            "requestReceivedTimestamp": received["requestReceivedTimestamp"],
            "stageTimestamp": received["stageTimestamp"], "annotations": received["annotations"],
        }  # fmt: skip
        assert complete["stage"] == "ResponseComplete"
        assert complete["responseStatus"] == {
            "metadata": {}, "status": "Failure", "message": 'secrets "s" not found', "reason": "NotFound", "code": 404
        }  # fmt: skip
        assert complete["responseObject"]["kind"] == "Status"
        assert complete["annotations"]["authorization.k8s.io/decision"] == "allow"
        assert complete["annotations"]["authorization.k8s.io/reason"] == "group system:masters"


async def test_whoever_acts_for_another_is_named_beside_him() -> None:
    async with audited("rules: [{level: Metadata}]") as found, in_process(found.rooms.door) as http:
        await http.get(MAPS, headers={"impersonate-user": "eve", "impersonate-group": "guests"})
        event = (await found.told())[-1]
        assert event["user"]["username"] == "kubernetes-admin"
        assert event["impersonatedUser"]["username"] == "eve"
        assert event["annotations"]["authorization.k8s.io/decision"] == "forbid"
        (row,) = await found.kept(refused=True)
        assert (row.user, row.impersonator, row.code) == ("eve", "kubernetes-admin", 403)


async def test_a_watch_is_told_of_when_it_begins_and_when_it_ends() -> None:
    async with audited("rules: [{level: Metadata}]") as found, in_process(found.rooms.door) as http:
        await http.get(SECRETS, params={"watch": "true", "timeoutSeconds": "1"})
        stages = [(event["verb"], event["stage"]) for event in await found.told()]
        assert stages == [
            ("watch", "RequestReceived"), ("watch", "ResponseStarted"), ("watch", "ResponseComplete"),
        ]  # fmt: skip
        assert [row.stage for row in await found.kept()] == ["ResponseStarted", "ResponseComplete"]


async def test_graphql_tells_of_each_secret_that_a_query_reads() -> None:
    query = '{ object(kind: "Secret", namespace: "default", name: "s") { name } }'
    async with audited() as found, in_process(found.rooms.door) as http:
        await http.post(SECRETS, json=secret("s"))
        answer = await http.post("/graphql", json={"query": query})
        assert answer.json()["data"]["object"]["name"] == "s", answer.text
        async with in_process(found.rooms.door, BOB) as bob:
            assert "errors" in (await bob.post("/graphql", json={"query": query})).json()
        rows = await found.kept()
        assert [(row.user, row.verb, row.resource, row.name, row.code, row.uri) for row in rows] == [
            ("kubernetes-admin", "get", "secrets", "s", 200, "/graphql"),
            ("bob", "get", "secrets", "s", 403, "/graphql"),
        ]


AUDIT = """query($query: String = "", $verbs: [String!], $outcome: AuditOutcome, $codes: [Int!], $source: String,
                 $first: Int, $after: ID) {
  audit(query: $query, verbs: $verbs, outcome: $outcome, codes: $codes, source: $source, first: $first, after: $after) {
    nodes { user verb resource name code level revision } pageInfo { hasNextPage endCursor } } }"""


async def asked(found: Audited, **variables: Any) -> Any:
    await found.journal.flush()
    async with in_process(found.rooms.door) as http:
        answer = (await http.post("/graphql", json={"query": AUDIT, "variables": variables})).json()
    assert "errors" not in answer, answer["errors"]
    return answer["data"]["audit"]


async def test_the_audit_tells_writes_from_the_log_and_the_rest_from_the_journal() -> None:
    async with audited() as found, in_process(found.rooms.door) as http:
        for name in ("a", "b"):
            await http.post(MAPS, json=config_map(name))
            await http.get(f"{SECRETS}/{name}")
        async with in_process(found.rooms.door, BOB) as bob:
            await bob.delete(f"{MAPS}/a")
        page = await asked(found, query="ns:default")
        told = [(node["user"], node["verb"], node["name"], node["code"]) for node in page["nodes"]]
        assert told == [
            ("bob", "delete", "a", 403),
            ("kubernetes-admin", "get", "b", 404), ("kubernetes-admin", "create", "b", 201),
            ("kubernetes-admin", "get", "a", 404), ("kubernetes-admin", "create", "a", 201),
        ]  # fmt: skip
        # Page by page it is the same.
        paged: list[Any] = []
        after = None
        while True:
            part = await asked(found, query="ns:default", first=2, after=after)
            paged += part["nodes"]
            after = part["pageInfo"]["endCursor"]
            if not part["pageInfo"]["hasNextPage"]:
                break
        assert paged == page["nodes"]
        for variables, names in (
            ({"outcome": "REFUSED", "query": "ns:default"}, ["a", "b", "a"]),
            ({"outcome": "ALLOWED", "query": "ns:default"}, ["b", "a"]),
            ({"codes": [403], "query": ""}, ["a"]),
            ({"query": "actor:bob"}, ["a"]),
            ({"verbs": ["get"], "query": "kind:Secret"}, ["b", "a"]),
            ({"query": "kind:ConfigMap name:b"}, ["b"]),
            ({"query": "name:b* since:1h"}, ["b", "b"]),
            ({"query": "until:r1 ns:default"}, []),
            ({"source": "127.0.0.1", "codes": [403]}, ["a"]),
            ({"source": "10.0.0.1"}, []),
        ):
            nodes = (await asked(found, **variables))["nodes"]
            assert [node["name"] for node in nodes] == names, variables


async def test_the_audit_is_for_those_who_may_get_its_path() -> None:
    async with audited() as found, in_process(found.rooms.door, BOB) as bob:
        answer = (await bob.post("/graphql", json={"query": "{ audit { nodes { user } } }"})).json()
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        assert 'cannot get path "/audit"' in answer["errors"][0]["message"]


@pytest.mark.parametrize(
    ("query", "words"), [("field:spec.x", "says nothing of a request"), ("-ns:shop", "cannot be turned round")]
)
async def test_filters_that_mean_nothing_there_are_refused(query: str, words: str) -> None:
    async with audited() as found, in_process(found.rooms.door) as http:
        answer = (await http.post("/graphql", json={"query": AUDIT, "variables": {"query": query}})).json()
        assert words in answer["errors"][0]["message"]
        assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_a_full_queue_drops_and_counts_or_lets_requests_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "WAITING_MAX", 2)
    async with audited() as found, in_process(found.rooms.door, BOB) as bob:
        for _ in range(4):
            await bob.get(MAPS)
        assert (found.journal.waiting, found.journal.dropped) == (2, 2)
        found.auditor._waits = True
        late = asyncio.ensure_future(bob.get(MAPS))
        await asyncio.sleep(0.05)
        assert not late.done()
        await found.journal.flush()
        assert (await late).status_code == 403
        assert found.journal.dropped == 2


async def test_old_records_go_and_newer_ones_stay(
    postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for url in (postgresql_url, f"sqlite:///{tmp_path}/ksql.db"):
        migrate.migrate(url)
        async with audited(url=url) as found, in_process(found.rooms.door, BOB) as bob:
            await bob.get(MAPS)
            await bob.get(f"{MAPS}/later")
            first, second = await found.kept()
            long_ago = f"UPDATE audit SET time = 1 WHERE id = {first.id}"
            await found.rooms.log.transact(lambda c, text=long_ago: c.exec_driver_sql(text))  # type: ignore[attr-defined]
            assert await found.journal.prune() == 1
            assert [row.id for row in await found.kept()] == [second.id]


async def test_what_admission_noted_is_exported_with_the_request() -> None:
    async with audited("rules: [{level: Metadata}]") as found, in_process(found.rooms.door) as http:
        labels = {"pod-security.kubernetes.io/audit": "restricted", "pod-security.kubernetes.io/enforce": "baseline"}
        await found.rooms.make("namespaces", {"metadata": {"name": "held", "labels": labels}})
        spec = {"containers": [{"name": "a", "image": "a:1"}]}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec}
        assert (await http.post("/api/v1/namespaces/held/pods", json=body)).status_code == 201
        last = [event for event in await found.told() if event["stage"] == "ResponseComplete"][-1]
        noted = last["annotations"]
        assert noted["pod-security.kubernetes.io/enforce-policy"] == "baseline:latest"
        assert noted["pod-security.kubernetes.io/audit-violations"].startswith("would violate PodSecurity")
        assert noted["authorization.k8s.io/decision"] == "allow"
