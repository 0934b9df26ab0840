"""Custom kinds through the door: where they are told of, in which forms they come, and when they go."""

import asyncio
import json

import pytest

from tests.serve.cluster import in_process
from tests.simulation.test_custom import FOOS, definition

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
PATH = "/apis/example.com/v1/namespaces/default/foos"
MERGE = {"content-type": "application/merge-patch+json"}
AGGREGATED = {"accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
ESTABLISHED = {
    "type": "Established", "status": "True", "reason": "InitialNamesAccepted", "message": "",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}  # fmt: skip


@pytest.fixture
async def served(http):
    """The kind defined, and established as its controller would do it."""
    answer = await http.post(CRDS, json=definition())
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["status"] == {
        "conditions": None, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": ["v1"],
    }  # fmt: skip
    assert (await http.get(PATH)).status_code == 404, "nothing is served before it is established"
    await established(http, made["spec"]["names"])
    return http


async def established(http, names):
    status = {"acceptedNames": names, "conditions": [ESTABLISHED]}
    answer = await http.patch(f"{CRDS}/{FOOS}/status", json={"status": status}, headers=MERGE)
    assert answer.status_code == 200, answer.text


async def respecified(http, **spec):
    answer = await http.patch(f"{CRDS}/{FOOS}", json={"spec": spec}, headers=MERGE)
    assert answer.status_code == 200, answer.text


def foo(name="a", **fields):
    return {"apiVersion": "example.com/v1", "kind": "Foo", "metadata": {"name": name}, **fields}


async def test_discovery_tells_of_a_kind_in_all_its_forms_and_only_while_it_is_served(http):
    before = (await http.get("/apis")).headers["etag"]
    await http.post(CRDS, json=definition())
    await established(http, {**definition()["spec"]["names"], "singular": "foo", "listKind": "FooList"})
    groups = await http.get("/apis")
    assert groups.headers["etag"] != before
    assert groups.json()["groups"][-1]["name"] == "example.com"
    rows = (await http.get("/apis/example.com/v1")).json()["resources"]
    assert [row["name"] for row in rows] == ["foos", "foos/status", "foos/scale"]
    assert rows[0]["verbs"] == ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]
    assert rows[2]["group"] == "autoscaling" and rows[0]["shortNames"] == ["fo"]
    whole = (await http.get("/apis", headers=AGGREGATED)).json()["items"][-1]
    assert whole["versions"][0]["resources"][0]["responseKind"]["kind"] == "Foo"
    await http.patch(f"{CRDS}/{FOOS}/status", json={"status": {"conditions": None}}, headers=MERGE)
    assert (await http.get("/apis")).headers["etag"] == before
    assert (await http.get("/apis/example.com/v1")).status_code == 404


async def test_openapi_tells_the_schema_in_both_languages(served):
    index = (await served.get("/openapi/v3")).json()["paths"]
    document = (await served.get(index["apis/example.com/v1"]["serverRelativeURL"])).json()
    schema = document["components"]["schemas"]["com.example.v1.Foo"]
    assert schema["properties"]["spec"]["properties"]["replicas"] == {"type": "integer", "default": 1}
    assert schema["x-kubernetes-group-version-kind"] == [{"group": "example.com", "version": "v1", "kind": "Foo"}]
    assert "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta" in document["components"]["schemas"]
    item = document["paths"]["/apis/example.com/v1/namespaces/{namespace}/foos/{name}"]
    assert "fieldValidation" in [one["name"] for one in item["patch"]["parameters"]]
    old = (await served.get("/openapi/v2")).json()
    assert old["definitions"]["com.example.v1.Foo"]["properties"]["spec"]["type"] == "object"
    kept = index["apis/apps/v1"]
    await respecified(served, versions=[{**definition()["spec"]["versions"][0], "deprecated": True}])
    assert (await served.get("/openapi/v3")).json()["paths"]["apis/apps/v1"] == kept


async def test_unknown_fields_are_ignored_told_or_refused(served):
    body = foo(spec={"x": 1})
    assert "warning" not in (await served.post(f"{PATH}?dryRun=All&fieldValidation=Ignore", json=body)).headers
    warned = await served.post(f"{PATH}?dryRun=All", json=body)
    assert warned.headers["warning"] == '299 - "unknown field \\"spec.x\\""'
    refused = await served.post(f"{PATH}?fieldValidation=Strict", json=body)
    assert refused.status_code == 400 and refused.json()["message"] == (
        'Foo in version "v1" cannot be handled as a Foo: strict decoding error: unknown field "spec.x"'
    )


async def test_custom_objects_have_no_protobuf_and_no_strategic_patch(served):
    await served.post(PATH, json=foo())
    proto = "application/vnd.kubernetes.protobuf"
    assert (await served.post(PATH, content=b"k8s\0x", headers={"content-type": proto})).status_code == 415
    assert (await served.get(f"{PATH}/a", headers={"accept": proto})).status_code == 406
    assert (await served.get(f"{PATH}/a", headers={"accept": f"{proto},application/json"})).status_code == 200
    strategic = {"content-type": "application/strategic-merge-patch+json"}
    refused = await served.patch(f"{PATH}/a", json={"spec": {}}, headers=strategic)
    assert refused.status_code == 415 and refused.json()["message"] == (
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
    )


async def test_a_deprecated_version_warns(served):
    await respecified(served, versions=[{**definition()["spec"]["versions"][0], "deprecated": True}])
    answer = await served.get(PATH)
    assert answer.headers["warning"] == '299 - "example.com/v1 Foo is deprecated"'


async def test_a_table_has_the_columns_of_the_definition(served):
    columns = [
        {"name": "Reps", "type": "integer", "jsonPath": ".spec.replicas"},
        {"name": "Missing", "type": "string", "jsonPath": ".spec.nothing"},
        {"name": "Since", "type": "date", "jsonPath": ".spec.nothing"},
    ]
    version = {**definition()["spec"]["versions"][0], "additionalPrinterColumns": columns}
    await respecified(served, versions=[version])
    await served.post(PATH, json=foo(spec={}))
    wished = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    table = (await served.get(PATH, headers=wished)).json()
    assert [one["name"] for one in table["columnDefinitions"]] == ["Name", "Reps", "Missing", "Since"]
    assert table["rows"][0]["cells"] == ["a", 1, None, None]


async def test_fields_that_a_new_schema_does_not_name_are_not_shown_and_new_defaults_are(served):
    await served.post(PATH, json=foo(spec={"replicas": 3}))
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"colour": {"type": "string", "default": "red"}}}},
    }
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    await respecified(served, versions=[version])
    shown = (await served.get(f"{PATH}/a")).json()
    assert shown["spec"] == {"colour": "red"} and shown["metadata"]["generation"] == 1
    listed = (await served.get("/apis/example.com/v1/foos")).json()
    assert listed["kind"] == "FooList" and listed["items"][0]["spec"] == {"colour": "red"}


async def test_a_version_that_is_served_no_more_ends_its_watches_and_is_not_found(served, server):
    v1 = definition()["spec"]["versions"][0]
    v2 = {**v1, "name": "v2", "storage": False}
    await respecified(served, versions=[v1, v2])
    await served.post(PATH, json=foo())
    other = PATH.replace("v1", "v2")
    assert (await served.get(f"{other}/a")).json()["apiVersion"] == "example.com/v2"

    async def watched():
        async with in_process(server.door) as client:
            answer = await client.get(f"{other}?watch=true&timeoutSeconds=60")
            return [json.loads(line) for line in answer.text.splitlines()]

    watching = asyncio.get_running_loop().create_task(watched())
    async with asyncio.timeout(10):
        while not server.door.rest.watches.count:  # noqa: ASYNC110 -- nothing tells that a watch was opened
            await asyncio.sleep(0.01)
    await respecified(served, versions=[v1, {**v2, "served": False}])
    async with asyncio.timeout(10):
        events = await watching
    assert [event["type"] for event in events] == ["ADDED"]
    assert (await served.get(f"{other}/a")).status_code == 404
    assert (await served.get(f"{PATH}/a")).status_code == 200


async def test_a_scale_needs_a_number_to_show(served):
    version = definition()["spec"]["versions"][0]
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    await respecified(served, versions=[{**version, "schema": {"openAPIV3Schema": schema}}])
    await served.post(PATH, json=foo())
    answer = await served.get(f"{PATH}/a/scale")
    assert answer.status_code == 500 and 'field ".spec.replicas" does not exist' in answer.json()["message"]
    refused = await served.post(PATH, json=foo("b", spec={"replicas": "many"}))
    assert refused.status_code == 422 and ".spec.replicas accessor error" in refused.json()["message"]


async def test_a_definition_that_is_none_is_refused_before_anything_reads_it(http):
    for spoil in ({"versions": None}, {"names": {}}, {"scope": "Everywhere"}, {"group": ""}):
        body = definition()
        body["spec"] |= spoil
        answer = await http.post(CRDS, json=body)
        assert answer.status_code == 422, answer.text
    assert (await http.get("/apis/example.com")).status_code == 404


@pytest.mark.parametrize("version", [1, None, True, 1.5, [], {}])
async def test_a_configuration_without_a_readable_version_is_refused(served, version):
    apply = {"content-type": "application/apply-patch+yaml"}
    body = {**foo(), "apiVersion": version}
    answer = await served.patch(f"{PATH}/a?fieldManager=me", json=body, headers=apply)
    assert answer.status_code == 400, answer.text
