"""Everything under /at/…: the same bytes that the present answered then, and clear refusals of what is no reading."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from ksql.base.clock import SystemClock
from ksql.log.migrate import migrate
from tests.serve.cluster import BOB, client_context, in_process, listening, rooms
from tests.serve.test_custom import CRDS, established, foo
from tests.simulation.test_custom import FOOS, definition

MAPS = "/api/v1/namespaces/default/configmaps"
FORMS = {
    "object": "application/json",
    "table": "application/json;as=Table;v=v1;g=meta.k8s.io",
    "metadata": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    "protobuf": "application/vnd.kubernetes.protobuf",
    "yaml": "application/yaml",
}


class SetClock(SystemClock):
    """A clock whose instant a test moves."""

    def __init__(self):
        super().__init__(seed=1)
        self.instant = datetime(2030, 1, 1, 10, 0, tzinfo=UTC)

    def now(self):
        return self.instant


@pytest.fixture(params=["sqlite", "postgresql"])
async def world(request):
    """A server, its clock and a client of it; on either database."""
    clock, url = SetClock(), "sqlite://"
    if request.param == "postgresql":
        url = str(request.getfixturevalue("postgresql_url"))
        await asyncio.to_thread(migrate, url)
    async with rooms(clock, url) as found, in_process(found.door) as http:
        yield found, clock, http


async def put(http, name, labels=None, **data):
    body = {"metadata": {"name": name, "labels": labels or {}}, "data": data}
    answer = await http.put(f"{MAPS}/{name}", json=body)
    if answer.status_code == 404:
        answer = await http.post(MAPS, json=body)
    assert answer.status_code < 300, answer.text


async def told(http, prefix=""):
    """What the server says of the maps, in every form."""
    found = {}
    for name, accept in FORMS.items():
        for path in (MAPS, "/api/v1/configmaps", f"{MAPS}?labelSelector=tier%3Dweb", f"{MAPS}?limit=1"):
            answer = await http.get(prefix + path, headers={"accept": accept})
            assert answer.status_code == 200, answer.text
            found[name, path] = answer.content
    for name in ("a", "b"):
        answer = await http.get(f"{prefix}{MAPS}/{name}", headers={"accept": FORMS["table"]})
        found["get", name] = answer.status_code, answer.content
    return found


async def story(found, clock, http):
    """Some changes, and what was told after each, with the revision and the time of each."""
    moments = []

    async def note():
        clock.instant += timedelta(seconds=1)
        moments.append((found.log.head, clock.instant, await told(http)))
        clock.instant += timedelta(minutes=7)

    await put(http, "a", {"tier": "web"}, x="1")
    await note()
    await put(http, "b", x="2")
    await put(http, "a", {"tier": "db"}, x="3")
    await note()
    await http.delete(f"{MAPS}/a")
    await note()
    await put(http, "a", {"tier": "web"}, x="4")
    await note()
    return moments


async def test_each_moment_is_told_byte_for_byte_as_it_was_told_then(world):
    found, clock, http = world
    moments = await story(found, clock, http)
    for _, instant, before in moments:
        assert await told(http, f"/at/{instant:%Y-%m-%dT%H:%M:%SZ}") == before
        ago = int((clock.instant - instant).total_seconds())
        assert await told(http, f"/at/{ago}s") == before
    # By its number the moment is that of the change itself: only ages may differ, and these are all young.
    revision, _, before = moments[1]
    then = await told(http, f"/at/r{revision}")
    assert then["object", MAPS] == before["object", MAPS]
    assert then["protobuf", "/api/v1/configmaps"] == before["protobuf", "/api/v1/configmaps"]


async def test_the_head_is_the_present(world):
    found, clock, http = world
    await story(found, clock, http)
    assert await told(http, "/at/now") == await told(http)
    assert (await told(http, f"/at/{found.log.head}"))["object", MAPS] == (await told(http))["object", MAPS]


async def test_pages_of_a_past_list_stay_at_their_moment(world):
    found, _, http = world
    for name in "abcde":
        await put(http, name)
    revision = found.log.head
    await http.delete(f"{MAPS}/c")
    await put(http, "bb")
    names, token = [], ""
    while True:
        answer = await http.get(f"/at/r{revision}{MAPS}", params={"limit": 2, "continue": token})
        assert answer.json()["metadata"]["resourceVersion"] == str(revision)
        names += [item["metadata"]["name"] for item in answer.json()["items"]]
        if not (token := answer.json()["metadata"].get("continue", "")):
            break
        await put(http, "later")
    assert names == list("abcde")


async def test_custom_kinds_are_as_they_were_defined_then(world):
    found, _, http = world
    before = found.log.head
    await http.post(CRDS, json=definition())
    await established(http, definition()["spec"]["names"])
    path = "/apis/example.com/v1/namespaces/default/foos"
    assert (await http.post(path, json=foo(spec={"replicas": 2}))).status_code == 201
    during, shown = found.log.head, await http.get(path)
    tables = await http.get(path, headers={"accept": FORMS["table"]})
    index = (await http.get("/openapi/v3")).json()
    assert (await http.delete(f"{CRDS}/{FOOS}")).status_code == 200
    assert (await http.get(f"/at/r{before}{path}")).status_code == 404
    assert "example.com" not in (await http.get(f"/at/r{before}/apis")).text
    then = await http.get(f"/at/r{during}{path}")
    assert then.json()["items"] == shown.json()["items"]
    old = await http.get(f"/at/r{during}{path}", headers={"accept": FORMS["table"]})
    assert old.json()["columnDefinitions"] == tables.json()["columnDefinitions"]
    assert (await http.get(f"/at/r{during}/apis/example.com/v1")).json()["resources"][0]["name"] == "foos"
    assert (await http.get(f"/at/r{during}/openapi/v3")).json() == index
    document = await http.get(f"/at/r{during}" + index["paths"]["apis/example.com/v1"]["serverRelativeURL"])
    assert "com.example.v1.Foo" in document.json()["components"]["schemas"]


async def test_nothing_can_be_written_into_the_past(world):
    found, _, http = world
    await put(http, "a")
    head = found.log.head
    for method, path in (("POST", MAPS), ("PUT", f"{MAPS}/a"), ("PATCH", f"{MAPS}/a"), ("DELETE", f"{MAPS}/a"),
                         ("DELETE", MAPS), ("POST", "/graphql")):  # fmt: skip
        answer = await http.request(method, f"/at/r{head}{path}", content=b"{}")
        assert answer.status_code == 405
        assert answer.json()["reason"] == "MethodNotAllowed"
        assert answer.json()["message"] == (
            f"the past cannot be changed: this is the cluster as it was at r{head} (2030-01-01T10:00:00Z); "
            "write to the present, without /at/…"
        )
    assert found.log.head == head


async def test_what_may_be_done_is_asked_of_the_present(world):
    found, _, http = world
    body = {"spec": {"resourceAttributes": {"verb": "list", "resource": "pods"}}}
    answer = await http.post("/at/r1/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", json=body)
    assert answer.json()["status"]["allowed"] is True
    async with in_process(found.door, BOB) as bob:
        refused, now = [await bob.get(prefix + MAPS) for prefix in ("/at/r1", "")]
        assert refused.status_code == 403
        assert refused.json() == now.json()
    async with in_process(found.door, None) as nobody:
        assert (await nobody.get(f"/at/r1{MAPS}")).status_code == 401


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        ("/at/r99999/api/v1/pods", 400, "r99999 is after the head: the newest revision is r"),
        ("/at/0/api/v1/pods", 400, "revisions count from 1: nothing had happened yet at r0"),
        ("/at/soon/api/v1/pods", 400, '"soon" is no moment: give a revision (1042 or r1042), a time'),
        ("/at/25:00/api/v1/pods", 400, '"25:00" names no time that exists'),
        ("/at//api/v1/pods", 200, ""),
        ("/at/2131-01-01T00:00:00Z/api/v1/pods", 400, "2131-01-01T00:00:00Z is in the future: it is 20"),
        ("/at/9999d/api/v1/pods", 410, "is before the first event of the log"),
        ("/at/r1/api/v1/widgets", 404, "the server could not find the requested resource"),
        ("/at/r1/api/v1/namespaces/default/pods/x", 404, 'pods "x" not found'),
        ("/at/r1/api/v1/namespaces/default/pods/x/log", 400, "pods/log is answered by the present alone"),
        ("/at/r1/api/v1/componentstatuses", 400, "componentstatuses are computed when they are asked for"),
        ("/at/r1/api/v1/pods?continue=x", 400, "invalid continue token"),
        ("/at/r1/api/v1/pods?resourceVersion=99999&resourceVersionMatch=Exact", 504, "large resource version: 99999"),
        ("/at/r1/nothing", 404, ""),
    ],
)
async def test_what_cannot_be_answered_says_exactly_why(http, path, code, message):
    answer = await http.get(path)
    assert answer.status_code == code, answer.text
    is_status = answer.headers["content-type"] == "application/json" and code != 200
    assert message in (answer.json()["message"] if is_status else answer.text)


async def test_what_other_servers_answered_is_not_recorded_and_says_so(world):
    found, _, http = world
    before = found.log.head
    spec = {
        "group": "metrics.example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 100,
        "insecureSkipTLSVerify": True, "service": {"namespace": "default", "name": "meter"},
    }  # fmt: skip
    body = {"metadata": {"name": "v1.metrics.example.com"}, "spec": spec}
    assert (await http.post("/apis/apiregistration.k8s.io/v1/apiservices", json=body)).status_code == 201
    for path in ("/apis/metrics.example.com", "/apis/metrics.example.com/v1/nodes"):
        assert (await http.get(f"/at/r{before}{path}")).status_code == 404
        answer = await http.get(f"/at/r{found.log.head}{path}")
        assert (answer.status_code, answer.json()["message"]) == (
            400,
            "what metrics.example.com answers is measured or kept elsewhere, and not recorded: "
            "ask the present, without /at/…",
        )
    async with in_process(found.door, None) as nobody:
        assert (await nobody.get(f"/at/r{found.log.head}/apis/metrics.example.com/v1/nodes")).status_code in (401, 404)


async def test_heartbeats_of_the_past_come_with_a_warning(world):
    found, _, http = world
    answer = await http.get(f"/at/r{found.log.head}/apis/coordination.k8s.io/v1/leases")
    assert "only the newest versions of leases are kept" in answer.headers["warning"]


async def test_a_watch_in_the_past_replays_what_came_after_and_then_goes_on_living(tmp_path):
    clock = SetClock()
    # Certificates hold for the machine's own time.
    clock.instant = SystemClock().now()
    async with rooms(clock) as found, listening(found, tmp_path) as (listener, made):
        context = client_context(made, made.admin)
        async with httpx.AsyncClient(base_url=listener.url, verify=context, timeout=20) as http:
            await put(http, "a", {"tier": "web"})
            begin = found.log.head
            clock.instant += timedelta(minutes=1)
            await put(http, "b", {"tier": "web"})
            await put(http, "b", {"tier": "db"})
            await http.delete(f"{MAPS}/a")

            async def follow(query, accept, steps):
                lines = []
                url = f"/at/r{begin}{MAPS}?watch=true&{query}"
                async with http.stream("GET", url, headers={"accept": accept}) as answer:
                    async for line in answer.aiter_lines():
                        lines.append(json.loads(line))
                        if len(lines) == steps - 1:
                            await put(http, "c", {"tier": "web"})
                        if len(lines) == steps:
                            return lines
                return lines

            def brief(lines):
                return [(line["type"], line["object"]["metadata"]["name"]) for line in lines]

            whole = await asyncio.wait_for(follow("", FORMS["object"], 5), 10)
            assert brief(whole) == [
                ("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "a"), ("ADDED", "c"),
            ]  # fmt: skip
            await http.delete(f"{MAPS}/c")
            chosen = await asyncio.wait_for(
                follow(f"labelSelector=tier%3Dweb&resourceVersion={begin}", FORMS["object"], 6), 10
            )
            assert brief(chosen) == [
                ("ADDED", "b"), ("DELETED", "b"), ("DELETED", "a"), ("ADDED", "c"), ("DELETED", "c"), ("ADDED", "c"),
            ]  # fmt: skip
            clock.instant += timedelta(hours=3)
            await http.delete(f"{MAPS}/c")
            rows = await asyncio.wait_for(follow("", FORMS["table"], 4), 10)
            ages = [line["object"]["rows"][0]["cells"][2] for line in rows[:3]]
            assert ages == ["0s", "0s", "0s"], "ages are those of the moment that each step happened"


async def test_a_watch_that_ends_ends_its_subscription(tmp_path):
    async with rooms() as found, listening(found, tmp_path) as (listener, made):
        context = client_context(made, made.admin)
        async with httpx.AsyncClient(base_url=listener.url, verify=context, timeout=20) as http:
            answer = await http.get(f"/at/r1{MAPS}?watch=true&timeoutSeconds=1")
            assert answer.status_code == 200
        assert found.door.rest.watches.count == 0


async def test_what_was_restarted_and_what_changed_since_are_both_told_right(tmp_path):
    url = f"sqlite:///{tmp_path / 'log.db'}"
    await asyncio.to_thread(migrate, url)
    async with rooms(url=url) as found, in_process(found.door) as http:
        await put(http, "same", x="1")
        await put(http, "other", x="1")
        revision, before = found.log.head, (await http.get(MAPS)).content
        one = (await http.get(f"{MAPS}/same")).content
        await put(http, "other", x="2")
        await http.delete(f"{MAPS}/same")
        await put(http, "same", x="1")
        assert (await http.get(f"/at/r{revision}{MAPS}")).content == before
        assert (await http.get(f"/at/r{revision}{MAPS}/same")).content == one, "another life has the name now"
        unchanged = found.log.head
        for prefix in ("", f"/at/r{unchanged}"):
            assert (await http.get(f"{prefix}{MAPS}/same")).json()["data"] == {"x": "1"}
    async with rooms(url=url, namespaces=()) as found, in_process(found.door) as http:
        assert (await http.get(f"/at/r{revision}{MAPS}")).content == before
        assert (await http.get(f"/at/r{unchanged}{MAPS}")).json()["items"] == (await http.get(MAPS)).json()["items"]


@pytest.mark.parametrize("path", ["/apis", "/api/v1", "/openapi/v3", "/openapi/v2", "/version", "/"])
async def test_pages_of_the_past_are_allowed_and_refused_as_those_of_the_present(server, path):
    async with in_process(server.door, BOB) as bob:
        now, then = await bob.get(path), await bob.get(f"/at/r1{path}")
        assert then.status_code == now.status_code
        if now.status_code == 403:
            assert then.json() == now.json()
