"""pods/log over HTTP: what is refused in which words, and what streams."""

import asyncio

import pytest

from tests.serve.cluster import BOB, in_process
from tests.serve.talk import talking

PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture
async def talk():
    async with talking() as found:
        yield found


async def test_a_log_is_plain_text(talk):
    await talk.pod("web", annotations={"log": "one\ntwo {pod} {container}", "log-seconds": "never"})
    async with in_process(talk.rooms.door) as http:
        answer = await http.get(f"{PODS}/web/log")
        assert (answer.status_code, answer.text) == (200, "one\ntwo web c\n")
        assert answer.headers["content-type"] == "text/plain"
        assert (await http.get(f"{PODS}/web/log?tailLines=1&limitBytes=5")).text == "two w"
        stamped = (await http.get(f"{PODS}/web/log?timestamps=true&tailLines=1")).text
        assert stamped.endswith("Z two web c\n") and len(stamped.split()[0]) == 30


async def test_a_command_that_is_known_is_what_its_container_says(talk):
    script = "echo $WHO says hello; echo oh >&2; sleep 0; date +%s"
    await talk.pod(
        "job", {"name": "c", "command": ["sh", "-c", script], "env": [{"name": "WHO", "value": "moon"}]}
    )
    async with in_process(talk.rooms.door) as http:
        lines = (await http.get(f"{PODS}/job/log")).text.splitlines()
    assert lines[:2] == ["moon says hello", "oh"] and lines[2].isdigit()


async def test_a_loop_says_what_it_has_said_by_now_and_goes_on(talk):
    script = "while true; do echo tick $(date +%S); sleep 0.1; done"
    await talk.pod("loop", {"name": "c", "command": ["sh", "-c", script]})
    async with in_process(talk.rooms.door) as http, asyncio.timeout(10):
        first = (await http.get(f"{PODS}/loop/log")).text.splitlines()
        await talk.rooms.clock.sleep(0.35)
        second = (await http.get(f"{PODS}/loop/log")).text.splitlines()
        assert second[: len(first)] == first and len(second) >= len(first) + 3
        assert len((await http.get(f"{PODS}/loop/log?tailLines=2")).text.splitlines()) == 2
        # Followed, it is heard as it goes on, until its pod is deleted.
        following = asyncio.create_task(http.get(f"{PODS}/loop/log?follow=true&tailLines=0"))
        await talk.rooms.clock.sleep(0.35)
        await http.request("DELETE", f"{PODS}/loop", json={"gracePeriodSeconds": 0})
        assert len((await following).text.splitlines()) >= 3


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("", 400, "a container name must be specified for pod two, choose one of: [i a b]"),
        ("container=zz", 400, "container zz is not valid for pod two"),
        ("container=a&tailLines=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        (
            "container=a&sinceTime=abc", 400,
            'parsing time "abc" as "2006-01-02T15:04:05Z07:00": cannot parse "abc" as "2006"',
        ),
        ("container=a&stream=Stdout", 422, 'PodLogOptions "two" is invalid: stream: Forbidden: may not be specified'),
        (
            "container=a&tailLines=-1&limitBytes=0&sinceSeconds=0&sinceTime=2020-01-01T00:00:00Z", 422,
            'PodLogOptions "two" is invalid: [tailLines: Invalid value: -1: must be greater than or equal to 0, '
            "limitBytes: Invalid value: 0: must be greater than 0, []: Forbidden: at most one of `sinceTime` or "
            "`sinceSeconds` may be specified]",
        ),
        ("container=a", 400, 'container "a" in pod "two" is waiting to start: PodInitializing'),
        ("container=a&previous=true", 400, 'previous terminated container "a" in pod "two" not found'),
    ],
)  # fmt: skip
async def test_refusals_are_kubernetes_own(talk, query, code, message):
    spec = {"initContainers": [{"name": "i", "image": "x"}], "annotations": {"init-seconds": "1000"}}
    await talk.pod("two", {"name": "a"}, {"name": "b"}, phase="Pending", **spec)
    await talk.until(lambda: "running" in str(talk.status("two").get("initContainerStatuses")))
    async with in_process(talk.rooms.door) as http:
        answer = await http.get(f"{PODS}/two/log?{query}")
    assert (answer.status_code, answer.json()["message"]) == (code, message)


async def test_nobody_reads_a_log_without_leave_and_none_of_a_pod_that_is_not(talk):
    await talk.pod("web")
    async with in_process(talk.rooms.door, BOB) as http:
        refused = (await http.get(f"{PODS}/web/log")).json()
        assert refused["code"] == 403 and 'cannot get resource "pods/log"' in refused["message"]
    async with in_process(talk.rooms.door) as http:
        assert (await http.get(f"{PODS}/none/log")).json()["message"] == 'pods "none" not found'
        assert (await http.post(f"{PODS}/web/log")).status_code == 405


async def test_a_pod_without_a_node_has_said_nothing_and_one_on_a_lost_node_cannot_be_asked(talk):
    await talk.pod("early", nodeName="", phase="")
    await talk.pod("web")
    talk.fleet.fail("node-1")
    async with in_process(talk.rooms.door) as http:
        assert (await http.get(f"{PODS}/early/log")).text == ""
        answer = await http.get(f"{PODS}/web/log")
        assert answer.status_code == 500 and "node node-1 cannot be reached" in answer.json()["message"]


async def test_a_followed_log_ends_with_its_container(talk):
    await talk.pod(
        "short", restartPolicy="Never",
        annotations={"log": "line {n}", "log-seconds": "0.05", "run-seconds": "0.4", "exit-code": "3"},
    )  # fmt: skip
    async with in_process(talk.rooms.door) as http, asyncio.timeout(10):
        lines = (await http.get(f"{PODS}/short/log?follow=true")).text.splitlines()
        assert lines[1:3] == ["line 2", "line 3"] and lines[-1] == "terminated with exit code 3"
        # It is still there when the node has long let go of the pod.
        assert (await http.get(f"{PODS}/short/log?tailLines=1")).text == "terminated with exit code 3\n"
    assert talk.rooms.door.rest.streams.count == 0


async def test_a_restart_leaves_the_log_of_the_run_before(talk):
    ends = {"crashes": "1", "run-seconds": "0.05", "exit-code": "9"}
    await talk.pod("loop", annotations={**ends, "log": "run {attempt}", "log-seconds": "never"})
    await talk.until(lambda: talk.status("loop")["containerStatuses"][0]["restartCount"] == 1)
    async with in_process(talk.rooms.door) as http:
        assert (await http.get(f"{PODS}/loop/log")).text == "run 1\n"
        assert (await http.get(f"{PODS}/loop/log?previous=true")).text == "run 0\nterminated with exit code 9\n"
