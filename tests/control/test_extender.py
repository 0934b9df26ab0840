"""Extenders, over HTTP as they are spoken to: what they refuse, like and bind, and what their failures do."""

import json

import httpx
import pytest

from ksql.control.scheduling.demand import demand_of
from ksql.control.scheduling.extender import ExtenderError, Extenders
from ksql.control.scheduling.profiles import Extender
from tests.control.test_placement import node, pod

NODES = {name: node(name) for name in "abc"}
POD = pod("p")


async def ask(answer, **more):
    """What extenders of these settings say when `answer` is given each (path, body)."""
    asked = []

    def handle(request):
        body = json.loads(request.content)
        asked.append((request.url.path, body))
        given = answer(request.url.path, body)
        return given if isinstance(given, httpx.Response) else httpx.Response(200, json=given)

    settings = {"url": "http://extender.example/s", "filter": "filter", "prioritize": "prioritize", **more}
    extenders = Extenders([Extender(**settings)], httpx.MockTransport(handle))
    try:
        return await extenders.ask(POD, demand_of(POD).shape, NODES), asked
    finally:
        await extenders.aclose()


def names(path, body):
    if path.endswith("filter"):
        return {"nodenames": ["a", "b"], "failedNodes": {"c": "too far"}}
    return [{"host": "a", "score": 1}, {"host": "b", "score": 10}]


async def test_names_go_out_and_opinions_come_back():
    opinion, asked = await ask(names, takes_names=True, weight=2)
    assert opinion.refused == {"c": "too far"}
    assert opinion.likes == {"a": 20.0, "b": 200.0}
    assert asked[0] == ("/s/filter", {"pod": POD, "nodenames": ["a", "b", "c"]})
    assert asked[1][1]["nodenames"] == ["a", "b"], "only what the filter left is asked about"


async def test_whole_nodes_go_out_to_one_that_keeps_none():
    def answer(path, body):
        if path.endswith("filter"):
            kept = [n for n in body["nodes"]["items"] if n["metadata"]["name"] != "b"]
            return {"nodes": {"items": kept}}
        return []

    opinion, asked = await ask(answer)
    assert list(opinion.refused) == ["b"]
    assert asked[0][1]["nodes"]["kind"] == "NodeList"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500), httpx.Response(200, content=b"{"), {"error": "no"}, [],
    ],
)  # fmt: skip
async def test_one_that_fails_keeps_the_pod_waiting(answer):
    with pytest.raises(ExtenderError):
        await ask(lambda path, body: answer)


async def test_one_that_may_be_ignored_is():
    opinion, _ = await ask(lambda path, body: httpx.Response(503), is_ignorable=True)
    assert opinion.refused == {} and opinion.likes == {}


async def test_one_for_a_resource_is_asked_only_about_pods_that_want_it():
    extenders = Extenders([Extender("http://e", filter="f", resources=frozenset({"example.com/gpu"}))])
    wanted = pod(containers=[{"name": "c", "resources": {"limits": {"example.com/gpu": "1"}}}])
    assert extenders.concern(demand_of(wanted).shape)
    assert not extenders.concern(demand_of(POD).shape)
    await extenders.aclose()


async def test_one_that_binds_binds():
    bound = []

    def handle(request):
        bound.append(json.loads(request.content))
        return httpx.Response(200, json={})

    extenders = Extenders([Extender("http://e", bind="bind")], httpx.MockTransport(handle))
    assert await extenders.bind(demand_of(POD).shape, POD, "a")
    await extenders.aclose()
    assert bound == [{"podName": "p", "podNamespace": "default", "podUID": "uid-p", "node": "a"}]
