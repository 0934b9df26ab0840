"""Answers to a client that takes nothing but protobuf, as objects, lists, streams and refusals."""

import asyncio
import re

import pytest

from ksql.schema.protobuf import reading as protobuf
from ksql.schema.protobuf import writing as protobuf_write
from ksql.schema.resources import GroupVersionKind

MAPS = "/api/v1/namespaces/default/configmaps"
MEDIA = "application/vnd.kubernetes.protobuf"
ONLY = {"accept": MEDIA}


def read(data: bytes) -> dict:
    return protobuf.decode_body(data)


def events(data: bytes) -> list[dict]:
    """The steps of a watch: each is as long as the four bytes before it say."""
    found = []
    while data:
        size = int.from_bytes(data[:4], "big")
        # An event stands in its stream without an envelope.
        envelope = protobuf.MAGIC + protobuf_write.counted(2, data[4 : 4 + size])
        event = protobuf.decode_body(envelope, GroupVersionKind("", "v1", "WatchEvent"))
        found.append(event)
        data = data[4 + size :]
    return found


async def make(http, name: str, **data: str) -> None:
    body = {"metadata": {"name": name, "labels": {"is": name}}, "data": data}
    assert (await http.post(MAPS, json=body)).status_code == 201


async def test_an_object_is_the_same_in_either_form(http):
    await make(http, "a", x="1")
    answer = await http.get(f"{MAPS}/a", headers=ONLY)
    assert answer.headers["content-type"] == MEDIA
    assert answer.content.startswith(protobuf.MAGIC)
    assert read(answer.content) == (await http.get(f"{MAPS}/a")).json()


async def test_a_list_is_the_same_in_either_form(http):
    for name in "abc":
        await make(http, name, x="1")
    answer = await http.get(f"{MAPS}?limit=2", headers=ONLY)
    plain = (await http.get(f"{MAPS}?limit=2")).json()
    found = read(answer.content)
    assert found["kind"] == "ConfigMapList"
    assert (found["metadata"]["continue"], found["metadata"]["remainingItemCount"]) == (
        plain["metadata"]["continue"], 1,
    )  # fmt: skip
    # In a list each object's kind is that of the list.
    named = [{"apiVersion": "v1", "kind": "ConfigMap", **item} for item in found["items"]]
    assert named == plain["items"]


@pytest.mark.parametrize("accept", [MEDIA, "application/json;as=Table;v=v1;g=meta.k8s.io"])
async def test_a_long_list_is_made_piece_by_piece(http, monkeypatch, accept):
    for name in "abcde":
        await make(http, name, x="1")
    answers = []
    for at_once in (100, 2):
        monkeypatch.setattr("ksql.serve.rest.ITEMS_AT_ONCE", at_once)
        # A table tells ages, and time goes on between the two.
        data = (await http.get(MAPS, headers={"accept": accept})).content
        answers.append(re.sub(rb'"\d+s"', b'"(age)"', data))
    assert answers[0] == answers[1]


async def test_metadata_alone_comes_as_protobuf_too(http):
    await make(http, "a", x="1")
    form = f"{MEDIA};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    found = read((await http.get(f"{MAPS}/a", headers={"accept": form})).content)
    assert found["kind"] == "PartialObjectMetadata" and found["metadata"]["name"] == "a" and "data" not in found
    form = f"{MEDIA};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    found = read((await http.get(MAPS, headers={"accept": form})).content)
    assert [item["metadata"]["name"] for item in found["items"]] == ["a"]


async def test_a_write_answers_in_the_form_it_was_asked_for(http):
    answer = await http.post(MAPS, json={"metadata": {"name": "a"}, "data": {"x": "1"}}, headers=ONLY)
    assert answer.status_code == 201 and read(answer.content)["data"] == {"x": "1"}
    answer = await http.patch(
        f"{MAPS}/a", content=b'{"data":{"x":"2"}}', headers={**ONLY, "content-type": "application/merge-patch+json"}
    )
    assert read(answer.content)["data"] == {"x": "2"}
    answer = await http.delete(f"{MAPS}/a", headers=ONLY)
    status = read(answer.content)
    assert (status["kind"], status["status"], status["details"]["name"]) == ("Status", "Success", "a")


async def test_a_refusal_is_told_in_protobuf(http):
    answer = await http.get(f"{MAPS}/nope", headers=ONLY)
    assert (answer.status_code, answer.headers["content-type"]) == (404, MEDIA)
    status = read(answer.content)
    assert (status["kind"], status["reason"], status["code"]) == ("Status", "NotFound", 404)
    assert status["details"] == {"name": "nope", "kind": "configmaps"}
    # Who also reads JSON is told in JSON.
    answer = await http.get(f"{MAPS}/nope", headers={"accept": f"{MEDIA}, */*"})
    assert answer.json()["reason"] == "NotFound"


async def test_a_refusal_is_told_in_yaml_to_who_asked_for_yaml(http):
    answer = await http.get(f"{MAPS}/nope", headers={"accept": "application/yaml"})
    assert answer.headers["content-type"] == "application/yaml"
    assert answer.text.startswith("apiVersion: v1\ncode: 404\n")


async def test_a_watch_is_framed_by_lengths(server, http):
    await make(http, "a", x="1")
    query = "watch=true&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    asked = asyncio.create_task(http.get(f"{MAPS}?{query}&allowWatchBookmarks=true", headers=ONLY))
    while not server.door.rest.watches.count:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await make(http, "b")
    answer = await asked
    assert answer.headers["content-type"] == f"{MEDIA};stream=watch"
    steps = events(answer.content)
    assert [step["type"] for step in steps[:3]] == ["ADDED", "BOOKMARK", "ADDED"]
    assert steps[0]["object"] == (await http.get(f"{MAPS}/a")).json()
    assert steps[1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert steps[2]["object"]["metadata"]["name"] == "b"


async def test_a_watch_that_cannot_begin_says_so_in_its_frames(server, http):
    await make(http, "a")
    server.objects.window.start(server.objects.revision)
    answer = await http.get(f"{MAPS}?watch=true&resourceVersion=1", headers=ONLY)
    (step,) = events(answer.content)
    assert (step["type"], step["object"]["kind"], step["object"]["code"]) == ("ERROR", "Status", 410)


@pytest.mark.parametrize("accept", [f"{MEDIA};as=Table;v=v1;g=meta.k8s.io", "application/yaml"])
async def test_what_has_no_such_form_is_refused(http, accept):
    answer = await http.get(f"{MAPS}?watch=true", headers={"accept": accept})
    assert answer.status_code == 406
    words = "only the following media types are accepted: application/json;stream=watch, "
    assert words in answer.text.replace("\n  ", " ")


async def test_metadata_of_a_list_and_of_an_object_have_different_names(http):
    await make(http, "a")
    form = "application/json;as={};g=meta.k8s.io;v=v1"
    answer = await http.get(MAPS, headers={"accept": form.format("PartialObjectMetadata")})
    assert (answer.status_code, answer.json()["message"]) == (
        406, "you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)",
    )  # fmt: skip
    answer = await http.get(f"{MAPS}/a", headers={"accept": form.format("PartialObjectMetadataList")})
    assert (answer.status_code, answer.json()["message"]) == (
        406, "you requested PartialObjectMetadataList, but the requested object is not a list (*core.ConfigMap)",
    )  # fmt: skip
