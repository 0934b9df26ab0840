"""The Kubernetes paths: what is answered, in which bytes, and in which words it is refused."""

import gzip

import pytest

from ksql.serve.exchange import BODY_BYTES_MAX, GZIP_BYTES_MIN
from tests.serve.cluster import BOB, NODE, in_process

MAPS = "/api/v1/namespaces/default/configmaps"
MERGE = {"content-type": "application/merge-patch+json"}
TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}


async def make(http, name="a", **data):
    answer = await http.post(MAPS, json={"metadata": {"name": name}, "data": data or {"x": "y"}})
    assert answer.status_code == 201
    return answer.json()


async def refused(answer, code, reason, *words):
    status = answer.json()
    assert (answer.status_code, status["code"], status["reason"]) == (code, code, reason), status
    assert status["kind"] == "Status" and status["status"] == "Failure"
    for word in words:
        assert word in status["message"], status["message"]
    return status


async def test_an_object_lives_through_the_verbs(http):
    made = await make(http)
    path = f"{MAPS}/a"
    assert (await http.get(path)).json() == made
    patched = (await http.patch(path, json={"data": {"q": "r"}}, headers=MERGE)).json()
    assert patched["data"] == {"x": "y", "q": "r"}
    put = await http.put(path, json={**patched, "data": {"only": "this"}})
    assert put.status_code == 200 and put.json()["data"] == {"only": "this"}
    await refused(await http.put(path, json=made), 409, "Conflict", "the object has been modified")
    deleted = await http.delete(path)
    assert deleted.json()["status"] == "Success" and deleted.json()["details"]["uid"] == made["metadata"]["uid"]
    await refused(await http.get(path), 404, "NotFound", 'configmaps "a" not found')


async def test_the_bytes_are_those_that_clients_compare(http):
    await make(http)
    answer = await http.get(f"{MAPS}/a")
    assert answer.headers["content-type"] == "application/json"
    assert answer.content.endswith(b"}\n") and b": " not in answer.content
    missing = await http.get(f"{MAPS}/b")
    assert missing.content == (
        b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",'
        b'"message":"configmaps \\"b\\" not found","reason":"NotFound",'
        b'"details":{"name":"b","kind":"configmaps"},"code":404}\n'
    )


async def test_every_answer_names_its_correlation_and_the_event_has_it(server, http):
    answer = await http.post(MAPS, json={"metadata": {"name": "a"}})
    told = answer.headers["ksql-correlation"]
    assert told == answer.headers["audit-id"]
    assert (await server.log.event(server.log.head)).correlation == told
    for path in ("/nope", "/api/v1/nope", "/version", "/api", "/openapi/v3"):
        assert (await http.get(path)).headers["ksql-correlation"] != told


async def test_the_event_says_who_wrote_with_what(server, http):
    headers = {"user-agent": "tester/1.0 (x)", "impersonate-user": "carol", "impersonate-group": "system:masters"}
    await http.post(MAPS, json={"metadata": {"name": "a"}}, headers=headers)
    event = await server.log.event(server.log.head)
    assert (event.actor.user, event.actor.impersonator) == ("carol", "kubernetes-admin")
    assert (event.actor.user_agent, event.field_manager) == ("tester/1.0 (x)", "tester")
    await http.post(f"{MAPS}?fieldManager=kubectl-create", json={"metadata": {"name": "b"}})
    assert (await server.log.event(server.log.head)).field_manager == "kubectl-create"


async def test_a_cause_is_believed_from_components_alone(server, http):
    await http.post(MAPS, json={"metadata": {"name": "a"}}, headers={"ksql-cause": "1"})
    assert (await server.log.event(server.log.head)).cause is None
    async with in_process(server.door, NODE) as node:
        await node.post(MAPS, json={"metadata": {"name": "b"}}, headers={"ksql-cause": "1"})
        assert (await server.log.event(server.log.head)).cause == 1
        for wrong in ("x", "-1", "9" * 30):
            answer = await node.post(MAPS, json={"metadata": {"name": "c"}}, headers={"ksql-cause": wrong})
            await refused(answer, 400, "BadRequest")


async def test_a_list_holds_the_same_bytes_as_its_objects(http):
    for name in "abc":
        await make(http, name)
    answer = await http.get(MAPS)
    one = (await http.get(f"{MAPS}/b")).content.strip()
    assert one in answer.content
    found = answer.json()
    assert (found["kind"], found["apiVersion"]) == ("ConfigMapList", "v1")
    assert [item["metadata"]["name"] for item in found["items"]] == ["a", "b", "c"]
    empty = (await http.get("/apis/apps/v1/deployments")).content
    assert empty.startswith(b'{"kind":"DeploymentList","apiVersion":"apps/v1","metadata":{"resourceVersion":"')
    assert empty.endswith(b'"items":[]}\n')


async def test_a_list_in_pages_holds_everything_once(http):
    for n in range(7):
        await make(http, f"m{n}")
    seen, token = [], ""
    while True:
        page = (await http.get(MAPS, params={"limit": "3", "continue": token})).json()
        seen += [item["metadata"]["name"] for item in page["items"]]
        token = page["metadata"].get("continue", "")
        if not token:
            break
        assert page["metadata"]["remainingItemCount"] == 7 - len(seen)
    assert seen == [f"m{n}" for n in range(7)]


async def test_other_forms_of_a_list(http):
    await make(http)
    table = (await http.get(MAPS, headers=TABLE)).json()
    assert table["kind"] == "Table" and table["rows"][0]["cells"][0] == "a"
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    whole = (await http.get(f"{MAPS}?includeObject=Object", headers=TABLE)).json()
    assert whole["rows"][0]["object"]["data"] == {"x": "y"}
    await refused(await http.get(f"{MAPS}?includeObject=All", headers=TABLE), 400, "BadRequest", "includeObject")
    partial = {"accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
    found = (await http.get(MAPS, headers=partial)).json()
    assert found["kind"] == "PartialObjectMetadataList" and "data" not in found["items"][0]
    partial = {"accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}
    assert (await http.get(f"{MAPS}/a", headers=partial)).json()["kind"] == "PartialObjectMetadata"
    yaml = await http.get(f"{MAPS}/a", headers={"accept": "application/yaml"})
    assert yaml.headers["content-type"] == "application/yaml" and "kind: ConfigMap" in yaml.text
    pretty = await http.get(f"{MAPS}/a?pretty=true")
    assert '\n  "kind": "ConfigMap"' in pretty.text


@pytest.mark.parametrize(
    "accept", ["application/vnd.kubernetes.protobuf,application/json", "application/vnd.kubernetes.protobuf, */*",
               "*/*", "", "application/json;q=0.5,text/html", "application/json;q=0"],
)  # fmt: skip
async def test_who_takes_json_gets_json(http, accept):
    assert (await http.get(MAPS, headers={"accept": accept})).headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "accept", ["application/json;as=Tabel;v=v1;g=meta.k8s.io", "application/json;as=Table;v=v9;g=meta.k8s.io"],
)  # fmt: skip
async def test_who_takes_no_form_we_have_is_told_so(http, accept):
    answer = await http.get(MAPS, headers={"accept": accept})
    words = "only the following media types are accepted: application/json, application/yaml, "
    await refused(answer, 406, "NotAcceptable", words + "application/vnd.kubernetes.protobuf")


@pytest.mark.parametrize("accept", ["text/html", "application/*", "application/cbor", ";;"])
async def test_who_takes_nothing_we_have_is_told_so(http, accept):
    have = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    words = f"406: Not Acceptable\n\nAvailable representations: {have}"
    status = await refused(await http.get(f"{MAPS}/a", headers={"accept": accept}), 406, "NotAcceptable", words)
    assert status["message"] == words and status["details"] == {}
    status = await refused(await http.get(MAPS, headers={"accept": accept}), 406, "NotAcceptable", words)
    assert status["message"].endswith(
        ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
    )


@pytest.mark.parametrize(
    ("query", "headers", "is_pretty"),
    [
        ("", {}, False), ("?pretty=true", {}, True), ("?pretty=1", {}, True), ("?pretty=false", {}, False),
        ("?pretty=abc", {}, False), ("", {"user-agent": "curl/8.5"}, True), ("", {"user-agent": "Mozilla/5.0"}, True),
        ("?pretty=0", {"user-agent": "Wget/1"}, False), ("", {"accept": "application/json;pretty=1"}, True),
        ("?pretty=true", {"accept": "application/yaml"}, False),
    ],
)  # fmt: skip
async def test_who_reads_with_their_own_eyes_gets_it_indented(http, query, headers, is_pretty):
    await make(http)
    text = (await http.get(f"{MAPS}/a{query}", headers=headers)).text
    assert text.startswith('{\n  "') == is_pretty


async def test_the_size_of_rows_matters_to_tables_alone(http):
    assert (await http.get(f"{MAPS}?includeObject=Foo")).status_code == 200
    await refused(
        await http.get(f"{MAPS}?includeObject=Foo", headers=TABLE), 400, "BadRequest", "unrecognized includeObject"
    )


async def test_deprecated_kinds_say_so_beside_every_answer(http):
    warning = '299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"'
    endpoints = "/api/v1/namespaces/default/endpoints"
    for answer in (
        await http.get(endpoints), await http.get(f"{endpoints}/nope"),
        await http.post(endpoints, json={"metadata": {"name": "a"}}),
    ):  # fmt: skip
        assert warning in answer.headers.get_list("warning")
    assert (await http.get("/api/v1/componentstatuses")).headers["warning"].endswith('is deprecated in v1.19+"')
    assert "warning" not in (await http.get(MAPS)).headers


@pytest.mark.parametrize(("name", "why"), [("%2e%2e", "\"..\": may not be '..'"), ("a%2525", "may not contain '%'")])
async def test_a_name_that_would_be_another_path_is_refused(http, name, why):
    answer = await http.get(f"{MAPS}/{name}")
    await refused(answer, 400, "BadRequest", "Name parameter invalid: ")
    assert why in answer.json()["message"]


async def test_a_large_answer_is_compressed_for_the_network_alone(server, http):
    await make(http, "big", x="z" * GZIP_BYTES_MIN)
    asking = {"accept-encoding": "gzip"}
    assert "content-encoding" not in (await http.get(f"{MAPS}/big", headers=asking)).headers

    sent = []

    async def keep(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http", "method": "GET", "path": f"{MAPS}/big", "query_string": b"", "client": ("10.0.0.9", 1),
        "headers": [(b"authorization", http.headers["authorization"].encode()), (b"accept-encoding", b"gzip")],
    }  # fmt: skip
    await server.door(scope, receive, keep)
    assert (b"content-encoding", b"gzip") in sent[0]["headers"]
    plain = (await http.get(f"{MAPS}/big")).content
    assert gzip.decompress(sent[1]["body"]) == plain and len(sent[1]["body"]) < len(plain) / 10


# --- what bad input gets


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "json parse error: unexpected end of JSON input (<empty>)"),
        (b"{nope", "invalid character 'n' looking for beginning of object key string ({nope)"),
        (b"not json", "invalid character 'o' in literal null (expecting 'u') (6e6f74206a736f6e)"),
        (b"[]", "json: cannot unmarshal array into Go value of type struct"),
        (b'"x"', "json: cannot unmarshal string into Go value of type struct"),
        (b'{"a":1}{"b":2}', "invalid character '{' after top-level value"),
        (b'{"a":' * 2000, "unexpected end of JSON input"),
    ],
)
async def test_a_body_that_is_no_object_is_shown_where_it_breaks(http, body, words):
    answer = await http.post(MAPS, content=body, headers={"content-type": "application/json"})
    await refused(answer, 400, "BadRequest", "the object provided is unrecognized (must be of type ConfigMap)", words)


async def test_a_yaml_body_is_read_and_a_bomb_is_not(http):
    yaml = {"content-type": "application/yaml"}
    made = await http.post(MAPS, content=b"metadata: {name: a}\ndata: {when: 2024-01-01, m: '5'}\n", headers=yaml)
    assert made.json()["data"] == {"when": "2024-01-01", "m": "5"}
    bomb = b"a: &a [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
        b"%c: &%c [%s]\n" % (n, n, b",".join(b"*%c" % (n - 1) for _ in range(10))) for n in range(98, 108)
    )
    for content in (bomb, b"[" * 1_000_000, b"a: &x [*x]", b"{a: b", b"a: *nope", b"a: .nan", b"\x00"):
        await refused(await http.post(MAPS, content=content, headers=yaml), 400, "BadRequest")


async def test_keys_said_twice_are_warned_of_or_refused(http):
    twice = b'{"metadata":{"name":"%s","labels":{"a":"1","a":"2"}},"data":{},"data":{}}'
    json = {"content-type": "application/json"}
    answer = await http.post(f"{MAPS}?fieldValidation=Strict", content=twice % b"a", headers=json)
    await refused(answer, 400, "BadRequest", 'duplicate field "metadata.labels.a"', 'duplicate field "data"')
    answer = await http.post(MAPS, content=twice % b"b", headers=json)
    assert answer.status_code == 201
    assert answer.headers.get_list("warning") == [
        '299 - "duplicate field \\"metadata.labels.a\\""', '299 - "duplicate field \\"data\\""'
    ]  # fmt: skip
    answer = await http.post(f"{MAPS}?fieldValidation=Ignore", content=twice % b"c", headers=json)
    assert answer.status_code == 201 and "warning" not in answer.headers
    yaml = {"content-type": "application/yaml"}
    answer = await http.post(
        f"{MAPS}?fieldValidation=Strict", content=b"metadata: {name: d}\ndata: {a: b, a: c}", headers=yaml
    )
    await refused(answer, 400, "BadRequest", 'key "a" already set in map')


async def test_unknown_fields_are_warned_of(http):
    answer = await http.post(MAPS, json={"metadata": {"name": "a"}, "dta": {}})
    assert answer.status_code == 201
    assert answer.headers["warning"] == '299 - "unknown field \\"dta\\""'
    strict = await http.post(f"{MAPS}?fieldValidation=Strict", json={"metadata": {"name": "b"}, "dta": {}})
    await refused(strict, 400, "BadRequest", 'unknown field "dta"')


@pytest.mark.parametrize("body", [b"x" * (BODY_BYTES_MAX + 1), [b"x" * 1024] * (BODY_BYTES_MAX // 1024 + 1)])
async def test_too_large_a_body_is_refused(http, body):
    async def parts():
        for part in body:
            yield part

    content = body if isinstance(body, bytes) else parts()
    answer = await http.post(MAPS, content=content, headers={"content-type": "application/json"})
    await refused(answer, 413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728")


@pytest.mark.parametrize(
    ("method", "path", "media", "accepted"),
    [
        ("POST", MAPS, "text/plain", "application/json, application/yaml, application/vnd.kubernetes.protobuf"),
        ("PUT", f"{MAPS}/a", "application/x-www-form-urlencoded", "application/json, application/yaml"),
    ],
)  # fmt: skip
async def test_a_body_of_another_type_is_told_which_are_taken(http, method, path, media, accepted):
    answer = await http.request(method, path, content=b"{}", headers={"content-type": media})
    await refused(
        answer, 415, "UnsupportedMediaType",
        f"the body of the request was in an unknown format - accepted media types include: {accepted}",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ("fieldValidation=Loud", "fieldValidation",
         'Unsupported value: "Loud": supported values: "", "Ignore", "Strict", "Warn"'),
        ("dryRun=Some", "dryRun", 'Unsupported value: ["Some"]: supported values: "All"'),
        ("fieldManager=" + "x" * 129, "fieldManager", "Too long: may not be more than 128 bytes"),
        ("fieldManager=a%00b", "fieldManager", "invalid character U+0000 (at position 1)"),
    ],
)  # fmt: skip
async def test_an_option_that_cannot_be_is_named(http, query, field, words):
    answer = await http.post(f"{MAPS}?{query}", json={"metadata": {"name": "a"}})
    status = await refused(answer, 422, "Invalid", 'CreateOptions.meta.k8s.io "" is invalid', words)
    assert [cause["field"] for cause in status["details"]["causes"]] == [field]


@pytest.mark.parametrize(
    ("query", "code", "words"),
    [
        ("limit=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("limit=99999999999999999999", 400, "value out of range"),
        ("timeoutSeconds=1.5", 400, "invalid syntax"),
        ("resourceVersionMatch=Exact", 422, "resourceVersionMatch is forbidden unless resourceVersion is provided"),
        ("resourceVersion=1&resourceVersionMatch=Near", 422, "Unsupported value"),
        ("sendInitialEvents=true", 422, "sendInitialEvents is forbidden for list"),
        ("watch=1&sendInitialEvents=true", 422, "sendInitialEvents requires setting resourceVersionMatch"),
        ("labelSelector=a%3D%3D%3Db", 400, ""),
        ("fieldSelector=nope%3D1", 400, ""),
        ("resourceVersion=abc", 400, ""),
        ("continue=abc", 400, ""),
    ],
)
async def test_a_query_that_cannot_be_is_refused(http, query, code, words):
    await refused(await http.get(f"{MAPS}?{query}"), code, "BadRequest" if code == 400 else "Invalid", words)


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({"propagationPolicy": "Never"}, 422,
         'Unsupported value: "Never": supported values: "Foreground", "Background", "Orphan", "nil"'),
        ({"propagationPolicy": "Orphan", "orphanDependents": True}, 422, "cannot be both set"),
        ({"ignoreStoreReadErrorWithClusterBreakingPotential": True}, 501, "is not implemented yet"),
        ({"dryRun": ["Some"]}, 422, "Unsupported value"),
        ({"gracePeriodSeconds": "5"}, 400, "cannot unmarshal string into Go struct field DeleteOptions"),
        ({"preconditions": {"uid": 5}}, 400, "cannot unmarshal number"),
        ({"kind": "Pod", "apiVersion": "v1"}, 400, 'no kind "Pod" is registered for version "v1"'),
        ({"preconditions": {"uid": "other"}}, 409, "does not match the UID in record"),
        ({"preconditions": {"resourceVersion": "1"}}, 409, "does not match the ResourceVersion in record"),
    ],
)  # fmt: skip
async def test_delete_options_that_cannot_be_are_refused(http, body, code, words):
    reasons = {400: "BadRequest", 409: "Conflict", 422: "Invalid", 501: "NotImplemented"}
    await make(http)
    answer = await http.request("DELETE", f"{MAPS}/a", json=body)
    await refused(answer, code, reasons[code], words)
    assert (await http.get(f"{MAPS}/a")).status_code == 200


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (b"{", "merge-patch"), (b"[]", "merge-patch"), (b"{}", "json-patch"), (b"", "strategic-merge-patch"),
        (b'[{"op":"fly","path":"/a"}]', "json-patch"), (b'"x"', "strategic-merge-patch"), (b"[1]", "json-patch"),
    ],
)  # fmt: skip
async def test_a_patch_that_is_none_is_refused(http, body, media):
    await make(http)
    answer = await http.patch(f"{MAPS}/a", content=body, headers={"content-type": f"application/{media}+json"})
    assert answer.status_code in (400, 422) and answer.json()["kind"] == "Status"


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/api/v1/nope", 404), ("GET", "/apis/apps/v9/deployments", 404), ("GET", "/api/v2", 404),
        ("GET", "/api/v1/namespaces/default/nodes", 404), ("GET", f"{MAPS}/a/nope", 404),
        ("GET", "/api/v1/pods/x", 404),
        ("HEAD", MAPS, 405), ("HEAD", f"{MAPS}/a?watch=true", 405), ("HEAD", "/apis", 405),
        ("POST", "/api/v1/configmaps", 405), ("PUT", MAPS, 405), ("PATCH", MAPS, 405), ("POST", f"{MAPS}/a", 405),
        ("OPTIONS", MAPS, 405), ("TRACE", f"{MAPS}/a", 405), ("POST", "/api", 405), ("DELETE", "/version", 405),
        ("GET", "/api//v1", 404), ("GET", "/api/v1/namespaces//pods", 404),
    ],
)  # fmt: skip
async def test_what_is_not_served_is_said_in_kubes_words(http, method, path, code):
    answer = await http.request(method, path)
    if method == "HEAD":
        assert answer.status_code == code
        return
    reason, words = {
        404: ("NotFound", "the server could not find the requested resource"),
        405: ("MethodNotAllowed", "the server does not allow this method on the requested resource"),
    }[code]
    status = await refused(answer, code, reason, words)
    assert status["details"] == {}
    if code == 405:
        assert answer.headers["allow"]


async def test_trailing_slashes_are_tolerated(http):
    for path in ("/version/", "/api/", "/apis/", "/api/v1/", "/apis/apps/", f"{MAPS}/", "/readyz/", "/openapi/v3/"):
        assert (await http.get(path)).status_code == 200, path


@pytest.mark.parametrize("path", ["/nope", "/apix", "/logs", "/apis/nope.io", "/apis/nope.io/v1/x", "/apis//v1/x"])
async def test_what_no_api_serves_is_no_page(http, path):
    answer = await http.get(path)
    assert (answer.status_code, answer.text) == (404, "404 page not found\n")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


# --- who


async def test_nobody_gets_no_further_than_health_and_version(server):
    async with in_process(server.door, None) as nobody:
        for path in ("/healthz", "/livez", "/readyz", "/version", "/readyz/state", "/livez?verbose"):
            assert (await nobody.get(path)).status_code == 200
        for path in (MAPS, "/api", "/apis", "/metrics", "/openapi/v3", "/", "/graphql", "/nope"):
            answer = await nobody.get(path)
            await refused(answer, 401, "Unauthorized", "Unauthorized")


async def test_a_stranger_is_refused_every_verb_but_sees_what_is_served(server, http):
    await make(http)
    async with in_process(server.door, BOB) as bob:
        assert (await bob.get("/apis")).status_code == 200
        asked = [
            ("GET", MAPS, "list"), ("GET", f"{MAPS}/a", "get"), ("GET", f"{MAPS}?watch=true", "watch"),
            ("POST", MAPS, "create"), ("PUT", f"{MAPS}/a", "update"), ("DELETE", f"{MAPS}/a", "delete"),
            ("DELETE", MAPS, "deletecollection"), ("PATCH", f"{MAPS}/a", "patch"),
        ]  # fmt: skip
        for method, path, verb in asked:
            body = None if method in ("GET", "DELETE") else {"metadata": {"name": "a"}}
            headers = MERGE if method == "PATCH" else {}
            answer = await bob.request(method, path, json=body, headers=headers)
            await refused(answer, 403, "Forbidden", f'User "bob" cannot {verb} resource "configmaps" in API group ""')
    assert (await http.get(f"{MAPS}/a")).status_code == 200


# --- when things go wrong inside


async def test_what_nobody_foresaw_is_a_status_without_a_trace(server, http, caplog, monkeypatch):
    async def broken(*_):
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(server.pipeline, "page", broken)
    answer = await http.get(MAPS)
    status = await refused(answer, 500, "InternalError", answer.headers["ksql-correlation"])
    assert "secret" not in status["message"] and "Traceback" not in answer.text
    assert any("secret detail" in (record.exc_text or str(record.exc_info)) for record in caplog.records)


async def test_a_write_that_takes_too_long_is_answered(server, http, monkeypatch):
    import asyncio

    async def stuck(*_):
        await asyncio.Event().wait()

    monkeypatch.setattr(server.pipeline, "perform", stuck)
    answer = await http.post(f"{MAPS}?timeout=20ms", json={"metadata": {"name": "a"}})
    await refused(answer, 504, "Timeout")
    assert answer.headers["retry-after"]


async def test_a_log_that_cannot_be_written_refuses_writes_and_not_reads(server, http, monkeypatch):
    from ksql.log.protocol import LogUnavailableError

    await make(http)

    async def full(*_):
        raise LogUnavailableError("the disk is full")

    monkeypatch.setattr(server.log, "append", full)
    answer = await http.post(MAPS, json={"metadata": {"name": "b"}})
    await refused(answer, 503, "ServiceUnavailable", "the disk is full")
    assert answer.headers["retry-after"]
    assert (await http.get(f"{MAPS}/a")).status_code == 200


async def test_more_writes_than_there_is_room_for_are_sent_away(monkeypatch):
    import asyncio

    from ksql.serve.rest import Limits
    from tests.serve.cluster import rooms

    async with rooms(limits=Limits(writes=2)) as server, in_process(server.door) as http:
        go, append = asyncio.Event(), server.log.append

        async def held(decide):
            await go.wait()
            return await append(decide)

        monkeypatch.setattr(server.log, "append", held)
        asked = [asyncio.create_task(http.post(MAPS, json={"metadata": {"name": f"m{n}"}})) for n in range(3)]
        done, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        assert len(waiting) == 2
        answer = done.pop().result()
        await refused(answer, 429, "TooManyRequests", "too many requests, please try again later")
        assert answer.headers["retry-after"] == "1"
        assert (await http.get(MAPS)).status_code == 200
        go.set()
        assert [(await task).status_code for task in waiting] == [201, 201]


async def test_what_is_only_asked_has_no_table(http):
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    review = {"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}
    words = "only the following media types are accepted: application/json, application/yaml, "
    answer = await http.post(path, json=review, headers={"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
    await refused(answer, 406, "NotAcceptable", words + "application/vnd.kubernetes.protobuf")
    assert (await http.post(path, json=review, headers=TABLE)).json()["kind"] == "SelfSubjectAccessReview"


@pytest.mark.parametrize(
    ("options", "code"),
    [({"propagationPolicy": "Foreground"}, 200), ({"orphanDependents": False}, 202), ({"orphanDependents": True}, 200)],
)
async def test_what_has_only_begun_is_told_in_the_older_way_alone(http, options, code):
    body = {"metadata": {"name": "held", "finalizers": ["example.com/hold"]}}
    assert (await http.post(MAPS, json=body)).status_code == 201
    assert (await http.request("DELETE", f"{MAPS}/held", json=options)).status_code == code


async def test_a_collection_across_all_namespaces_cannot_be_deleted(http):
    await make(http)
    await refused(await http.delete("/api/v1/configmaps"), 405, "MethodNotAllowed")
    assert (await http.get(f"{MAPS}/a")).status_code == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{", "couldn't get version/kind; json parse error: unexpected end of JSON input"),
        ("[]", "couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type"),
    ],
)
async def test_delete_options_that_are_none_are_refused_in_short(http, body, message):
    await make(http)
    answer = await http.request(
        "DELETE", f"{MAPS}/a", content=body, headers={"content-type": "application/json"}
    )
    assert answer.json()["message"].startswith(message)
    assert (await http.request("DELETE", f"{MAPS}/a", content="null", headers={"content-type": "application/json"})
            ).status_code == 200  # fmt: skip


async def test_whatever_is_at_hand_comes_whole(http):
    for name in ("a", "b", "c"):
        await make(http, name)
    whole = (await http.get(f"{MAPS}?limit=1&resourceVersion=0")).json()
    assert len(whole["items"]) == 3 and "continue" not in whole["metadata"]
    page = (await http.get(f"{MAPS}?limit=1")).json()
    assert len(page["items"]) == 1 and page["metadata"]["remainingItemCount"] == 2


async def test_a_get_waits_for_the_revision_it_names(http, monkeypatch):
    monkeypatch.setattr("ksql.verbs.paging.FRESHNESS_SECONDS", 0.05)
    version = (await make(http))["metadata"]["resourceVersion"]
    assert (await http.get(f"{MAPS}/a?resourceVersion={version}")).status_code == 200
    answer = await http.get(f"{MAPS}/a?resourceVersion=99999999")
    await refused(answer, 504, "Timeout", "Timeout: Too large resource version: 99999999, current: ")
    await refused(await http.get(f"{MAPS}/a?resourceVersion=x"), 400, "BadRequest", "invalid resource version")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the object provided is unrecognized (must be of type ConfigMap): empty data (<empty>)"),
        (b"abc", "the object provided is unrecognized (must be of type ConfigMap): provided data does not appear to "
                 "be a protobuf message, expected prefix [107 56 115 0] (616263)"),
        (b"k8s\0", "the object provided is unrecognized (must be of type ConfigMap): empty body (6b387300)"),
        (b"k8s\0\xff", "the object provided is unrecognized (must be of type ConfigMap): unexpected EOF (6b387300ff)"),
        (b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x04\x0a\x05ab",
         'ConfigMap in version "v1" cannot be handled as a ConfigMap: unexpected EOF'),
        (b"k8s\0\x0a\x0a\x0a\x02v1\x12\x04Nope\x12\x00",
         'Nope in version "v1" cannot be handled as a ConfigMap: no kind "Nope" is registered for version "v1" in '
         'scheme "pkg/api/legacyscheme/scheme.go:30"'),
    ],
)  # fmt: skip
async def test_broken_protobuf_is_told_as_far_as_it_was_understood(http, data, message):
    answer = await http.post(MAPS, content=data, headers={"content-type": "application/vnd.kubernetes.protobuf"})
    assert (answer.status_code, answer.json()["message"]) == (400, message)


async def test_a_patch_that_removes_everything_leaves_no_name(http):
    await make(http)
    media = {"content-type": "application/strategic-merge-patch+json"}
    answer = await http.patch(f"{MAPS}/a", content='{"$patch":"delete"}', headers=media)
    words = "the name of the object (a based on URL) was undeterminable: name must be provided"
    await refused(answer, 400, "BadRequest", words)
