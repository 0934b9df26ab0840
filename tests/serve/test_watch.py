"""Watches over HTTPS: heads at once, each change once, endings that clients understand."""

import asyncio
import json
from contextlib import asynccontextmanager

import httpx
import pytest

from ksql.serve import watches
from ksql.state import window
from tests.serve.cluster import TOKEN, client_context, in_process, listening, rooms

MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
async def door(tmp_path):
    """Rooms and a client over a real connection: watches stream there only."""
    async with rooms() as found, listening(found, tmp_path) as (listener, made):
        context = client_context(made, made.admin)
        async with httpx.AsyncClient(base_url=listener.url, verify=context, timeout=20) as http:
            yield found, http, listener


@asynccontextmanager
async def watching(http, query="", accept="application/json", path=MAPS):
    async with http.stream("GET", f"{path}?watch=true&{query}", headers={"accept": accept}) as answer:
        lines = answer.aiter_lines()

        async def step():
            return json.loads(await asyncio.wait_for(anext(lines), 10))

        step.answer, step.lines = answer, lines
        yield step


async def make(http, name, **data):
    await http.post(MAPS, json={"metadata": {"name": name}, "data": data})


async def test_the_head_of_a_watch_is_there_before_anything_happens(door):
    _, http, _ = door
    async with watching(http, "resourceVersion=1") as step:
        assert step.answer.status_code == 200
        assert step.answer.headers["content-type"] == "application/json"
        assert step.answer.headers["transfer-encoding"] == "chunked"


async def test_changes_come_in_order_each_once(door):
    found, http, _ = door
    async with watching(http, f"resourceVersion={found.objects.revision}") as step:
        await make(http, "a", x="1")
        await http.put(f"{MAPS}/a", json={"metadata": {"name": "a"}, "data": {"x": "2"}})
        await http.delete(f"{MAPS}/a")
        await make(http, "b")
        steps = [await step() for _ in range(4)]
    assert [s["type"] for s in steps] == ["ADDED", "MODIFIED", "DELETED", "ADDED"]
    assert [s["object"]["data"]["x"] for s in steps[:3]] == ["1", "2", "2"]
    revisions = [int(s["object"]["metadata"]["resourceVersion"]) for s in steps]
    assert revisions == sorted(set(revisions))


async def test_a_watch_without_a_revision_begins_with_what_is(door):
    _, http, _ = door
    await make(http, "a")
    async with watching(http) as step:
        assert (await step())["object"]["metadata"]["name"] == "a"


async def test_a_streaming_list_says_when_it_has_told_everything(door):
    _, http, _ = door
    await make(http, "a")
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    async with watching(http, query) as step:
        assert (await step())["type"] == "ADDED"
        end = await step()
        assert end["type"] == "BOOKMARK" and end["object"]["kind"] == "ConfigMap"
        assert end["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_selector_turns_changes_into_coming_and_going(door):
    _, http, _ = door
    async with watching(http, "labelSelector=size%3Dlarge&resourceVersion=1") as step:
        await make(http, "a")
        labels = {"metadata": {"labels": {"size": "large"}}}
        merge = {"content-type": "application/merge-patch+json"}
        await http.patch(f"{MAPS}/a", json=labels, headers=merge)
        assert (await step())["type"] == "ADDED"
        await http.patch(f"{MAPS}/a", json={"metadata": {"labels": None}}, headers=merge)
        assert (await step())["type"] == "DELETED"


async def test_one_object_alone_can_be_watched(door):
    _, http, _ = door
    path = "/api/v1/watch/namespaces/default/configmaps/b"
    async with http.stream("GET", path, params={"resourceVersion": "1", "watch": "1"}) as answer:
        await make(http, "a")
        await make(http, "b")
        first = json.loads(await asyncio.wait_for(anext(answer.aiter_lines()), 10))
        assert first["object"]["metadata"]["name"] == "b"
    # By its own path it is read, whatever the parameter says.
    assert (await http.get(f"{MAPS}/b?watch=1")).json()["kind"] == "ConfigMap"


async def test_tables_tell_their_columns_once(door):
    _, http, _ = door
    async with watching(http, "resourceVersion=1", "application/json;as=Table;v=v1;g=meta.k8s.io") as step:
        await make(http, "a")
        await make(http, "b")
        first, second = await step(), await step()
    assert first["object"]["kind"] == second["object"]["kind"] == "Table"
    assert first["object"]["columnDefinitions"] and not second["object"]["columnDefinitions"]
    assert [s["object"]["rows"][0]["cells"][0] for s in (first, second)] == ["a", "b"]


async def test_metadata_alone_can_be_watched(door):
    _, http, _ = door
    accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    async with watching(http, "resourceVersion=1", accept) as step:
        await make(http, "a", x="y")
        found = (await step())["object"]
        assert found["kind"] == "PartialObjectMetadata" and "data" not in found


async def test_a_revision_that_is_too_old_is_told_in_the_stream(door, monkeypatch):
    found, http, _ = door
    for n in range(4):
        await make(http, f"m{n}")
    found.objects.window._rings["configmaps"].drop(3)
    async with watching(http, "resourceVersion=3") as step:
        error = await step()
        assert error["type"] == "ERROR"
        assert (error["object"]["code"], error["object"]["reason"]) == (410, "Expired")
        with pytest.raises(StopAsyncIteration):
            await anext(step.lines)


async def test_a_watch_ends_when_its_time_is_up(door):
    _, http, _ = door
    async with watching(http, "timeoutSeconds=1&resourceVersion=1") as step:
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(step.lines), 10)


@pytest.mark.parametrize("query", ["labelSelector=a%3D%3D%3D", "fieldSelector=nope%3D1", "resourceVersion=x"])
async def test_a_watch_that_cannot_begin_is_refused_before_its_head(door, query):
    _, http, _ = door
    answer = await http.get(f"{MAPS}?watch=true&{query}")
    assert answer.status_code == 400 and answer.json()["kind"] == "Status"


async def test_a_client_that_leaves_is_forgotten(door):
    found, http, _ = door
    async with watching(http, "resourceVersion=1"):
        assert found.door.rest.watches.count == 1
    await nobody_watches(found)


async def nobody_watches(found):
    async with asyncio.timeout(10):
        while found.door.rest.watches.count:  # noqa: ASYNC110  (the server owes no event to its tests)
            await asyncio.sleep(0.01)


async def test_stopping_the_server_ends_watches_cleanly(door):
    _, http, listener = door
    async with watching(http, "resourceVersion=1") as step:
        await listener.aclose()
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(step.lines), 10)


async def test_a_client_that_stops_reading_is_closed(door, monkeypatch):
    found, _, listener = door
    monkeypatch.setattr(watches, "STALL_SECONDS", 0.2)
    context = client_context_of(listener)
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=context, limit=1024)
    request = f"GET {MAPS}?watch=true HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    writer.write(request.encode())
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.pause_reading()
    async with in_process(found.door) as http:
        for n in range(60):
            await make(http, f"big{n}", x="z" * 500_000)
            if not found.door.rest.watches.count:
                break
        await nobody_watches(found)
    writer.transport.abort()


def client_context_of(listener):
    import ssl

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def test_a_watcher_that_fell_out_of_the_window_is_told_so(door, monkeypatch):
    monkeypatch.setattr(window, "WINDOW_FRAMES_MAX", 8)
    monkeypatch.setattr(window, "DROP_FRAMES", 4)
    found, http, _ = door
    gate = asyncio.Event()

    async def held(self, watchers):
        await gate.wait()

    monkeypatch.setattr(watches.Pace, "tick", held)
    monkeypatch.setattr(watches, "BUSY_GATHERINGS", 1e9)
    async with watching(http, f"resourceVersion={found.objects.revision}") as step:
        await make(http, "first")
        assert (await step())["type"] == "ADDED"
        for n in range(40):
            await make(http, f"m{n}")
        gate.set()
        error = await step()
        assert error["type"] == "ERROR" and error["object"]["code"] == 410


async def test_many_watchers_share_one_encoding(door, monkeypatch):
    found, http, _ = door
    many, sent, write = 50, [], watches.Exchange.write_now

    def spy(self, data):
        sent.append(data)
        return write(self, data)

    monkeypatch.setattr(watches.Exchange, "write_now", spy)
    ready = asyncio.Semaphore(0)

    async def follow():
        async with watching(http, f"resourceVersion={found.objects.revision}") as step:
            ready.release()
            return await step()

    tasks = [asyncio.create_task(follow()) for _ in range(many)]
    for _ in tasks:
        await ready.acquire()
    await make(http, "a", x="y")
    seen = await asyncio.gather(*tasks)
    assert all(step == seen[0] for step in seen)
    frame = found.objects.window._rings["configmaps"].frames[-1]
    assert sum(data is frame.line for data in sent) == many
