"""pods/proxy, services/proxy and nodes/proxy: what a name means, and what passes through."""

import asyncio

import pytest

from ksql.schema.errors import BadRequestError
from ksql.serve.destinations import Place, place_of, refuse_own
from tests.serve.cluster import BOB, in_process
from tests.serve.talk import talking

ALL = "/api/v1/namespaces/default"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("web", Place("", "web", "")),
        ("web:80", Place("", "web", "80")),
        ("web:http", Place("", "web", "http")),
        ("https:web:443", Place("https", "web", "443")),
        ("http:web:", Place("http", "web", "")),
        (":web:80", Place("", "web", "80")),
    ],
)
def test_a_name_says_scheme_and_port(text: str, place: Place) -> None:
    assert place_of(text, "pod") == place


@pytest.mark.parametrize("text", ["", ":", "ftp:web:80", "a:b:c:d", "WEB", "web:80:", "-", "../x"])
def test_a_name_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadRequestError, match="invalid pod request"):
        place_of(text, "pod")


@pytest.fixture
async def talk():
    async with talking() as found:
        await found.pod("web", {"name": "c", "ports": [{"containerPort": 8080}]})
        yield found


async def test_a_pod_answers_below_its_proxy(talk):
    async with in_process(talk.rooms.door) as http:
        answer = await http.get(f"{ALL}/pods/web/proxy/a/b?c=d%20e")
        assert (answer.status_code, answer.text) == (200, "web: GET /a/b?c=d%20e\n")
        assert (await http.post(f"{ALL}/pods/web:8080/proxy/echo", content=b"x" * 100_000)).content == b"x" * 100_000
        assert (await http.head(f"{ALL}/pods/web/proxy/x")).content == b""
        bare = await http.get(f"{ALL}/pods/web/proxy?x=y")
        assert (bare.status_code, bare.headers["location"]) == (301, f"{ALL}/pods/web/proxy/?x=y")


async def test_a_service_answers_by_one_of_its_endpoints(talk):
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    await talk.rooms.make("services", {"metadata": {"name": "s", "namespace": "default"}, "spec": {"ports": ports}})
    async with in_process(talk.rooms.door) as http:
        empty = (await http.get(f"{ALL}/services/s/proxy/")).json()
        assert (empty["code"], empty["message"]) == (503, 'no endpoints available for service "s"')
        address = {"ip": talk.status("web")["podIP"], "targetRef": {"kind": "Pod", "name": "web"}}
        subsets = [{"addresses": [address], "ports": [{"name": "http", "port": 8080}]}]
        await talk.rooms.make("endpoints", {"metadata": {"name": "s", "namespace": "default"}, "subsets": subsets})
        for name in ("s", "s:80", "s:http", "http:s:80"):
            assert (await http.get(f"{ALL}/services/{name}/proxy/hostname")).text == "web"
        wrong = (await http.get(f"{ALL}/services/s:81/proxy/")).json()
        assert wrong["message"] == 'no service port 81 found for service "s"'
        assert (await http.get(f"{ALL}/services/none/proxy/")).json()["message"] == 'services "none" not found'


async def test_a_node_tells_of_itself(talk):
    async with in_process(talk.rooms.door) as http:
        assert (await http.get("/api/v1/nodes/node-1/proxy/healthz")).text == "ok"
        pods = (await http.get("/api/v1/nodes/node-1/proxy/pods")).json()
        assert [pod["metadata"]["name"] for pod in pods["items"]] == ["web"]
        assert (await http.get("/api/v1/nodes/node-1:10250/proxy/nope")).status_code == 404
        talk.fleet.fail("node-1")
        lost = (await http.get("/api/v1/nodes/node-1/proxy/healthz")).json()
        assert lost["code"] == 503 and "cannot be reached" in lost["message"]


async def test_what_cannot_be_reached_is_said_and_not_retried(talk):
    async with in_process(talk.rooms.door) as http:
        answer = await http.get(f"{ALL}/pods/web:81/proxy/")
        assert answer.status_code == 503 and "retry-after" not in answer.headers
        assert answer.json()["message"].startswith("error trying to reach service: dial tcp4 127.0.0.1:81")
        assert (await http.get(f"{ALL}/pods/https:web:8080/proxy/")).status_code == 503


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "0.0.0.0", "::1", "fe80::1", "224.0.0.1"])
def test_hosts_that_only_this_machine_reaches_are_not_dialled_for_others(address: str) -> None:
    with pytest.raises(BadRequestError, match="address not allowed"):
        refuse_own(address)
    refuse_own("10.1.2.3")


async def test_the_proof_of_who_asks_stays_here(talk):
    async with in_process(talk.rooms.door, BOB) as http:
        refused = (await http.get(f"{ALL}/pods/web/proxy/")).json()
        assert refused["code"] == 403 and 'cannot get resource "pods/proxy"' in refused["message"]


async def test_many_at_once_each_get_their_own_answer(talk):
    async with in_process(talk.rooms.door) as http:
        answers = await asyncio.gather(*(http.get(f"{ALL}/pods/web/proxy/n{number}") for number in range(30)))
    assert [answer.text for answer in answers] == [f"web: GET /n{number}\n" for number in range(30)]
    assert talk.rooms.door.rest.streams.count == 0
