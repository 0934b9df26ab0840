"""Aggregated APIs: looked after, handed on over TLS with the caller's name, told in discovery."""

import asyncio
import base64
import json
import ssl

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import InvalidStatus

from ksql.auth import pki
from ksql.serve import aggregationkeeping
from ksql.serve.aggregation import Aggregator
from ksql.serve.apiservices import KEY
from tests.serve.cluster import BOB, TOKEN, client_context, in_process, listening, rooms
from tests.serve.extension import API, GROUP, OPENAPI, RESOURCES, VERSION, extension

NAME = f"{VERSION}.{GROUP}"
THINGS = f"{API}/namespaces/default/things"


class Site:
    """A server with an extension API server beside it."""

    def __init__(self, rooms, aggregator, ext) -> None:
        self.rooms, self.aggregator, self.ext = rooms, aggregator, ext

    async def register(self, *, port: int | None = None, **spec) -> None:
        """The Service that leads there, and the APIService that names it, with or without whom to trust."""
        service = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port or self.ext.port}]}
        if self.rooms.objects.get("services", "default", "ext") is None:
            await self.rooms.make("services", {"metadata": {"name": "ext", "namespace": "default"}, "spec": service})
        reference = {"namespace": "default", "name": "ext", "port": port or self.ext.port}
        given = {
            "group": GROUP, "version": VERSION, "groupPriorityMinimum": 1000, "versionPriority": 15,
            "service": reference,
        }  # fmt: skip
        trust = spec or {"caBundle": base64.b64encode(self.ext.authority.certificate).decode()}
        await self.rooms.make(KEY, {"metadata": {"name": NAME}, "spec": {**given, **trust}})

    def condition(self, name: str = NAME) -> dict:
        document = self.rooms.objects.document(KEY, "", name) or {}
        return ((document.get("status") or {}).get("conditions") or [{}])[0]

    async def until(self, claim) -> None:
        async with asyncio.timeout(10):
            while not claim():
                await self.rooms.clock.sleep(0.005)


@pytest.fixture
async def site(tmp_path):
    async with rooms(aggregated=lambda objects, clock: _made(objects, clock, tmp_path)) as found:
        keys = pki.establish(tmp_path / "keys", "127.0.0.1", found.clock)
        keeper = aggregationkeeping.keeper(found.pipeline, found.clock, found.aggregator, lambda: keys)
        await keeper.start()
        await found.aggregator.start()
        async with extension(found.clock, tmp_path, keys) as ext:
            yield Site(found, found.aggregator, ext)
        await found.aggregator.aclose()
        await keeper.aclose()


def _made(objects, clock, path) -> Aggregator:
    keys = pki.establish(path / "keys", "127.0.0.1", clock)
    return Aggregator(objects, clock, keys.proxy_context)


async def test_each_served_version_has_an_apiservice_that_is_local(site):
    local = {"reason": "Local", "message": "Local APIServices are always available"}
    for name in ("v1.", "v1.apps", "v2.autoscaling"):
        await site.until(lambda name=name: site.condition(name))
        assert site.condition(name) | local == site.condition(name)
    apps = site.rooms.objects.document(KEY, "", "v1.apps")
    assert apps["spec"] == {"group": "apps", "version": "v1", "groupPriorityMinimum": 17800, "versionPriority": 15}
    trust = site.rooms.objects.document("configmaps", "kube-system", "extension-apiserver-authentication")
    assert "BEGIN CERTIFICATE" in trust["data"]["requestheader-client-ca-file"]
    async with in_process(site.rooms.door) as http:
        await http.delete("/apis/apiregistration.k8s.io/v1/apiservices/v1.apps")
    await site.until(lambda: site.condition("v1.apps"))


async def test_a_remote_api_answers_as_if_it_were_here(site):
    await site.register()
    await site.until(lambda: site.condition().get("reason") == "Passed")
    async with in_process(site.rooms.door) as http:
        listed = (await http.get(f"{THINGS}?limit=5&labelSelector=a%3Db")).json()
        assert [one["metadata"]["name"] for one in listed["items"]] == ["one"]
        wanted = f"GET {THINGS}?limit=5&labelSelector=a%3Db HTTP/1.1"
        [headers] = [headers for line, headers, _ in site.ext.asked if line == wanted]
        assert headers["x-remote-user"] == ["kubernetes-admin"] and "system:masters" in headers["x-remote-group"]
        assert "authorization" not in headers
        posted = await http.post(THINGS, json={"a": 1}, headers={"x-remote-user": "somebody-else"})
        assert posted.json() == {"a": 1} and posted.headers["ksql-correlation"]
        [headers] = [headers for line, headers, _ in site.ext.asked if line.startswith("POST")]
        assert headers["x-remote-user"] == ["kubernetes-admin"]
        assert (await http.get(f"{API}/nothing")).status_code == 404


async def test_it_is_told_in_discovery_and_openapi(site):
    await site.register()
    await site.until(lambda: site.condition().get("reason") == "Passed")
    v2 = {"accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    async with in_process(site.rooms.door) as http:
        groups = {one["name"]: one for one in (await http.get("/apis")).json()["groups"]}
        assert groups[GROUP]["preferredVersion"]["groupVersion"] == f"{GROUP}/{VERSION}"
        items = {one["metadata"]["name"]: one for one in (await http.get("/apis", headers=v2)).json()["items"]}
        [version] = items[GROUP]["versions"]
        [things] = version["resources"]
        assert (things["resource"], things["scope"], things["shortNames"]) == ("things", "Namespaced", ["th"])
        assert things["subresources"][0]["subresource"] == "status" and version["freshness"] == "Current"
        assert (await http.get(f"/apis/{GROUP}")).json()["kind"] == "APIGroup"
        assert (await http.get(API)).json()["resources"][0]["name"] == "things"
        index = (await http.get("/openapi/v3")).json()["paths"]
        assert (await http.get(index[API[1:]]["serverRelativeURL"])).json() == OPENAPI
        await http.delete(f"/apis/apiregistration.k8s.io/v1/apiservices/{NAME}")
        assert GROUP not in str((await http.get("/apis")).json())
        assert (await http.get(THINGS)).status_code == 404


async def test_a_watch_passes_through_and_ends_with_its_client(site):
    await site.register()
    await site.until(lambda: site.condition().get("reason") == "Passed")
    door = site.rooms.door

    came, gone = asyncio.Queue(), asyncio.Event()

    async def receive():
        if not gone.is_set() and not asked:
            asked.append(1)
            return {"type": "http.request", "body": b"", "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    asked: list[int] = []
    scope = {
        "type": "http", "method": "GET", "path": THINGS, "raw_path": THINGS.encode(), "query_string": b"watch=true",
        "headers": [(b"authorization", b"Bearer the-admin's-token")], "client": ("127.0.0.1", 1),
    }  # fmt: skip
    async with asyncio.timeout(10):
        task = asyncio.create_task(door(scope, receive, came.put))
        assert (await came.get())["status"] == 200
        assert b'"ADDED"' in (await came.get())["body"]
        gone.set()
        await task
        await site.ext.left.wait()


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"caBundle": "self"}, "certificate verify failed"),
        ({"insecureSkipTLSVerify": True}, ""),
    ],
)
async def test_who_answers_must_prove_who_they_are(site, spec, told):
    if spec.get("caBundle"):
        stranger = pki.make_authority(site.rooms.clock, "stranger")
        spec = {"caBundle": base64.b64encode(stranger.certificate).decode()}
    await site.register(**spec)
    await site.until(site.condition)
    assert site.condition()["reason"] == ("FailedDiscoveryCheck" if told else "Passed")
    assert told in site.condition()["message"]


async def test_one_that_is_not_there_is_said_to_be_and_comes_back(site):
    await site.ext.stop()
    await site.register()
    await site.until(lambda: site.condition().get("reason") == "FailedDiscoveryCheck")
    message = f"failing or missing response from https://localhost:{site.ext.port}{API}: Get "
    assert site.condition()["status"] == "False" and site.condition()["message"].startswith(message)
    async with in_process(site.rooms.door) as http:
        answer = await http.get(THINGS)
        assert (answer.status_code, answer.text) == (503, "service unavailable\n")
        v2 = {"accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
        items = {one["metadata"]["name"]: one for one in (await http.get("/apis", headers=v2)).json()["items"]}
        assert items[GROUP]["versions"] == [{"version": VERSION, "freshness": "Stale"}]
        await site.ext.start()
        # Any change of what it hangs on has it looked at again.
        other = {"metadata": {"name": "other", "namespace": "default"}, "spec": {"ports": [{"port": 1}]}}
        await site.rooms.make("services", other)
        await site.until(lambda: site.condition().get("reason") == "Passed")
        assert (await http.get(THINGS)).status_code == 200


async def test_why_it_cannot_be_reached_is_said_in_kubernetes_words(site):
    reference = {"group": GROUP, "groupPriorityMinimum": 1000, "versionPriority": 15, "insecureSkipTLSVerify": True}
    ports = {"ports": [{"name": "https", "port": 443}]}
    await site.rooms.make("services", {"metadata": {"name": "noep", "namespace": "default"}, "spec": ports})
    cases = {
        "v2": (("none", 443), "ServiceNotFound", 'service/none in "default" is not present'),
        "v3": (("noep", 444), "ServicePortError", 'service/noep in "default" is not listening on port 444'),
        "v4": (("noep", 443), "EndpointsNotFound", 'cannot find endpointslices for service/noep in "default"'),
    }
    for version, ((name, port), _, _) in cases.items():
        spec = {**reference, "version": version, "service": {"namespace": "default", "name": name, "port": port}}
        await site.rooms.make(KEY, {"metadata": {"name": f"{version}.{GROUP}"}, "spec": spec})
    for version, (_, reason, message) in cases.items():
        await site.until(lambda version=version: site.condition(f"{version}.{GROUP}"))
        found = site.condition(f"{version}.{GROUP}")
        assert (found["status"], found["reason"], found["message"]) == ("False", reason, message)


async def test_who_may_not_is_not_handed_on(site):
    await site.register()
    await site.until(lambda: site.condition().get("reason") == "Passed")
    async with in_process(site.rooms.door, BOB) as http:
        refused = (await http.get(f"{THINGS}/one")).json()
        assert refused["code"] == 403
        assert f'things.{GROUP} "one" is forbidden: User "bob" cannot get' in refused["message"]
    assert not any(f"{THINGS}/one" in line for line, _, _ in site.ext.asked)


async def test_a_websocket_passes_through_with_its_subprotocol(site, tmp_path):
    seen = {}

    def discovery(connection, request):
        """Plain questions beside WebSockets."""
        if "upgrade" in request.headers.get("connection", "").lower():
            return None
        answer = connection.respond(200, json.dumps(RESOURCES))
        answer.headers["content-type"] = "application/json"
        return answer

    async def echo(socket):
        seen["user"] = socket.request.headers["x-remote-user"]
        seen["authorization"] = socket.request.headers.get("authorization")
        async for message in socket:
            await socket.send(message)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ext.crt", tmp_path / "ext.key")
    async with (
        serve(echo, "localhost", 0, ssl=context, process_request=discovery, subprotocols=["v2.things"]) as server,
        listening(site.rooms, tmp_path) as (listener, made),
    ):
        await site.register(port=server.sockets[0].getsockname()[1])
        await site.until(lambda: site.condition().get("reason") == "Passed")
        url = listener.url.replace("https", "wss") + f"{THINGS}/one/connect?a=b"
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with connect(
            url, ssl=client_context(made), subprotocols=["v1.things", "v2.things"], additional_headers=headers
        ) as socket, asyncio.timeout(10):
            assert socket.subprotocol == "v2.things"
            for message in ("text", b"bytes", b"x" * 300_000, "ü"):
                await socket.send(message)
                assert await socket.recv() == message
        assert seen == {"user": "kubernetes-admin", "authorization": None}
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url, ssl=client_context(made), additional_headers={"authorization": f"Bearer {BOB}"}):
                pass
        assert refused.value.response.status_code == 403
