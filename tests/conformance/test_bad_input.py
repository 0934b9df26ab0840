"""What bad input gets: the Status that kube-apiserver gives, field by field, and nothing in the log for it."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.server import Server

MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
PODS = "/api/v1/namespaces/default/pods"
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
STEPS = "application/json-patch+json"

SETTINGS: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
WEB: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "example.com/web:1"}]},
        },
    },
}
LABEL = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-'"
SUBDOMAIN = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'"
REPLICAS = "into Go struct field DeploymentSpec.spec.replicas of type int32"
MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
UNRECOGNIZED = "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; "


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx.Client]:
    with server.http() as client:
        made = {**SETTINGS, "metadata": {"name": "present"}, "data": {"a": "b"}}
        assert client.post(MAPS, json=made).status_code == 201
        yield client


class Asked:
    """One refused request: its Status taken apart."""

    def __init__(self, http: httpx.Client, method: str, path: str, body: Any = None, media: str = "") -> None:
        raw = body if isinstance(body, bytes | str) else json.dumps(body) if body is not None else None
        headers = {"content-type": media or "application/json"} if raw is not None else {}
        self.answer = http.request(method, path, content=raw, headers=headers)
        status = self.answer.json()
        assert status["kind"] == "Status" and status["apiVersion"] == "v1", status
        assert status["status"] == "Failure" and status["code"] == self.answer.status_code
        self.code, self.reason, self.message = status["code"], status["reason"], status["message"]
        self.details = status.get("details", {})
        self.fields = [(c["field"], c["reason"]) for c in self.details.get("causes", ()) if "field" in c]

    @property
    def is_(self) -> tuple[int, str, str]:
        return self.code, self.reason, self.message


def undecodable(kind: str, why: str) -> str:
    return f'{kind} in version "v1" cannot be handled as a {kind}: {why}'


def with_spec(**fields: Any) -> dict[str, Any]:
    return {**WEB, "spec": {**WEB["spec"], **fields}}


# --- bodies that are none


@pytest.mark.parametrize(
    ("body", "media", "says"),
    [
        ('{"a":', "", UNRECOGNIZED + 'json parse error: unexpected end of JSON input ({"a":)'),
        ("", "", UNRECOGNIZED + "json parse error: unexpected end of JSON input (<empty>)"),
        ("[]", "", UNRECOGNIZED + "json parse error: json: cannot unmarshal array into Go value"),
        ("a: [b", "application/yaml", UNRECOGNIZED.removesuffix("couldn't get version/kind; ") + "yaml: line "),
        ({**SETTINGS, "apiVersion": "v2"}, "", 'ConfigMap in version "v2" cannot be handled as a ConfigMap: no kind '),
        ({**SETTINGS, "kind": "Pod"}, "", 'Pod in version "v1" cannot be handled as a ConfigMap: converting'),
        ({**SETTINGS, "kind": "Gizmo"}, "", 'Gizmo in version "v1" cannot be handled as a ConfigMap: no kind "Gizmo"'),
    ],
)
def test_what_is_no_object_is_a_bad_request(http: httpx.Client, body: Any, media: str, says: str) -> None:
    asked = Asked(http, "POST", MAPS, body, media)
    assert (asked.code, asked.reason) == (400, "BadRequest") and asked.message.startswith(says), asked.message


@pytest.mark.parametrize(
    ("path", "body", "why"),
    [
        (MAPS, {**SETTINGS, "data": {"a": 1}}, "number into Go struct field ConfigMap.data of type string"),
        (MAPS, {**SETTINGS, "data": []}, "array into Go struct field ConfigMap.data of type map[string]string"),
        (MAPS, {**SETTINGS, "metadata": "x"}, "string into Go struct field ConfigMap.metadata of type v1.ObjectMeta"),
        (DEPLOYMENTS, with_spec(replicas="3"), f"string {REPLICAS}"),
        (DEPLOYMENTS, with_spec(replicas=1.5), f"number 1.5 {REPLICAS}"),
    ],
)  # fmt: skip
def test_wrong_types_name_the_field(http: httpx.Client, path: str, body: Any, why: str) -> None:
    said = undecodable(body["kind"], f"json: cannot unmarshal {why}")
    assert Asked(http, "POST", path, body).is_ == (400, "BadRequest", said)


def test_values_that_cannot_be_read_are_told(http: httpx.Client) -> None:
    binary = Asked(http, "POST", MAPS, {**SETTINGS, "binaryData": {"a": "!!!"}})
    assert binary.is_ == (400, "BadRequest", undecodable("ConfigMap", "illegal base64 data at input byte 0"))
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "much"}}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [container]}}
    amount = Asked(http, "POST", PODS, pod)
    assert amount.code == 400 and "quantities must match the regular expression" in amount.message


@pytest.mark.parametrize("media", ["text/plain", "application/xml", "application/octet-stream"])
def test_other_media_types_are_refused_with_those_that_are_taken(http: httpx.Client, media: str) -> None:
    asked = Asked(http, "POST", MAPS, SETTINGS, media)
    assert asked.is_ == (
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json, application/yaml, application/vnd.kubernetes.protobuf",
    )
    patch = Asked(http, "PATCH", f"{MAPS}/present", "{}", "application/json")
    assert patch.is_ == (415, "UnsupportedMediaType", "415: Unsupported Media Type")


def test_an_answer_nobody_can_print_is_not_acceptable(http: httpx.Client) -> None:
    answer = http.get(MAPS, headers={"accept": "image/png"})
    assert (answer.status_code, answer.json()["reason"]) == (406, "NotAcceptable")
    assert "Available representations: application/json, application/yaml, " in answer.json()["message"]


def test_a_body_beyond_three_mebibytes_is_too_large(http: httpx.Client) -> None:
    asked = Asked(http, "POST", MAPS, {**SETTINGS, "data": {"a": "x" * (3 * 1024 * 1024)}})
    assert asked.is_ == (413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728")
    within = Asked(http, "POST", MAPS, {**SETTINGS, "data": {"a": "x" * (2 * 1024 * 1024)}})
    assert within.fields == [("[]", "FieldValueTooLong")]
    assert within.message == 'ConfigMap "x" is invalid: []: Too long: may not be more than 1048576 bytes'


# --- unknown and repeated fields


def test_unknown_fields_by_field_validation(http: httpx.Client) -> None:
    body = {**with_spec(replicsa=3), "extra": 1}
    strict = Asked(http, "POST", f"{DEPLOYMENTS}?dryRun=All&fieldValidation=Strict", body)
    why = 'strict decoding error: unknown field "spec.replicsa", unknown field "extra"'
    assert strict.is_ == (400, "BadRequest", undecodable("Deployment", why))
    for validation in ("?dryRun=All", "?dryRun=All&fieldValidation=Warn"):
        warned = http.post(DEPLOYMENTS + validation, json=body)
        assert warned.status_code == 201 and "replicsa" not in warned.json()["spec"]
        assert warned.headers.get_list("warning") == [
            '299 - "unknown field \\"spec.replicsa\\""', '299 - "unknown field \\"extra\\""',
        ]  # fmt: skip
    ignored = http.post(f"{DEPLOYMENTS}?dryRun=All&fieldValidation=Ignore", json=body)
    assert ignored.status_code == 201 and "warning" not in ignored.headers
    assert "replicsa" not in ignored.json()["spec"]


def test_fields_said_twice_by_field_validation(http: httpx.Client) -> None:
    twice = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","name":"y"}}'
    strict = Asked(http, "POST", f"{MAPS}?dryRun=All&fieldValidation=Strict", twice)
    why = 'strict decoding error: duplicate field "metadata.name"'
    assert strict.is_ == (400, "BadRequest", undecodable("ConfigMap", why))
    warned = http.post(f"{MAPS}?dryRun=All", content=twice)
    assert warned.json()["metadata"]["name"] == "y"
    assert warned.headers["warning"] == '299 - "duplicate field \\"metadata.name\\""'


@pytest.mark.parametrize(
    ("query", "field", "says"),
    [
        ("fieldValidation=Harsh", "fieldValidation",
         'Unsupported value: "Harsh": supported values: "", "Ignore", "Strict", "Warn"'),
        ("dryRun=yes", "dryRun", 'Unsupported value: ["yes"]: supported values: "All"'),
        (f"fieldManager={'m' * 129}", "fieldManager", "Too long: may not be more than 128 bytes"),
    ],
)  # fmt: skip
def test_options_that_are_none_are_invalid(http: httpx.Client, query: str, field: str, says: str) -> None:
    asked = Asked(http, "POST", f"{MAPS}?{query}", SETTINGS)
    assert asked.is_ == (422, "Invalid", f'CreateOptions.meta.k8s.io "" is invalid: {field}: {says}')
    assert [one for one, _ in asked.fields] == [field]


# --- where to


@pytest.mark.parametrize(
    "path",
    ["/api/v1/gizmos", "/api/v2/pods", "/apis/apps/v9/deployments",
     f"{PODS}/x/gizmo", "/apis/apps/v1/namespaces/default/pods"],
)  # fmt: skip
def test_an_unknown_resource_or_version_is_not_found(http: httpx.Client, path: str) -> None:
    said = "the server could not find the requested resource"
    assert Asked(http, "GET", path).is_ == (404, "NotFound", said)


def test_a_method_that_a_resource_has_not_is_not_allowed(http: httpx.Client) -> None:
    said = (405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    assert Asked(http, "PUT", MAPS, SETTINGS).is_ == said
    assert Asked(http, "POST", f"{MAPS}/x", SETTINGS).is_ == said
    everything = Asked(http, "DELETE", "/api/v1/namespaces")
    assert everything.is_ == said and "DELETE" not in everything.answer.headers["allow"]


def test_objects_and_namespaces_that_are_not_there(http: httpx.Client) -> None:
    gone = Asked(http, "GET", f"{DEPLOYMENTS}/nope")
    assert gone.is_ == (404, "NotFound", 'deployments.apps "nope" not found')
    assert gone.details == {"name": "nope", "group": "apps", "kind": "deployments"}
    for method in ("PUT", "DELETE"):
        body = {**SETTINGS, "metadata": {"name": "nope"}} if method == "PUT" else None
        assert Asked(http, method, f"{MAPS}/nope", body).is_ == (404, "NotFound", 'configmaps "nope" not found')
    nowhere = Asked(http, "POST", "/api/v1/namespaces/nope/configmaps", SETTINGS)
    assert nowhere.is_ == (404, "NotFound", 'namespaces "nope" not found')


# --- selections


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("labelSelector=a+in+b", "unable to parse requirement: found 'b' expected: '('"),
        ("labelSelector=a%3D%3D%3Db", "unable to parse requirement: found '=', expected: identifier"),
        ("labelSelector=-a", "unable to parse requirement: <nil>: Invalid value: \"-a\": name part must consist of"),
        ("fieldSelector=x%3Dy", "field label not supported: x"),
        ("fieldSelector=nonsense", "invalid selector: 'nonsense'; can't understand 'nonsense'"),
        ("limit=ten", 'strconv.ParseInt: parsing "ten": invalid syntax'),
        ("continue=garbage", "invalid continue token: continue key is not valid: "),
        ("resourceVersion=abc", 'invalid resource version: resourceVersion: Invalid value: "abc": '),
        ("watch=1&resourceVersion=abc", 'invalid resource version: resourceVersion: Invalid value: "abc": '),
        ("watch=1&labelSelector=a+in+b", "unable to parse requirement: found 'b' expected: '('"),
    ],
)
def test_bad_selections_are_bad_requests(http: httpx.Client, query: str, says: str) -> None:
    asked = Asked(http, "GET", f"/api/v1/pods?{query}")
    assert (asked.code, asked.reason) == (400, "BadRequest") and asked.message.startswith(says), asked.message


def test_versions_that_cannot_be_answered(http: httpx.Client) -> None:
    match = Asked(http, "GET", f"{MAPS}?resourceVersionMatch=Exact")
    assert match.code == 422 and match.fields == [("resourceVersionMatch", "FieldValueForbidden")]
    future = Asked(http, "GET", f"{MAPS}?resourceVersion=99999999")
    assert (future.code, future.reason) == (504, "Timeout")
    assert future.message.startswith("Timeout: Too large resource version: 99999999, current: ")
    assert future.details["causes"] == [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]


# --- stale and mistaken writes


def test_a_stale_resource_version_conflicts(http: httpx.Client) -> None:
    said = (409, "Conflict", f'Operation cannot be fulfilled on configmaps "present": {MODIFIED}')
    stale = {**SETTINGS, "metadata": {"name": "present", "resourceVersion": "1"}}
    put = Asked(http, "PUT", f"{MAPS}/present", stale)
    assert put.is_ == said and put.details == {"name": "present", "kind": "configmaps"}
    patch = {"metadata": {"resourceVersion": "1"}, "data": {"z": "1"}}
    assert Asked(http, "PATCH", f"{MAPS}/present", patch, MERGE).is_ == said
    for precondition, what in (({"uid": "nope"}, "the UID in"), ({"resourceVersion": "1"}, "the ResourceVersion in")):
        asked = Asked(http, "DELETE", f"{MAPS}/present", {"preconditions": precondition})
        assert (asked.code, asked.reason) == (409, "Conflict") and what in asked.message
    twice = Asked(http, "POST", MAPS, {**SETTINGS, "metadata": {"name": "present"}})
    assert twice.is_ == (409, "AlreadyExists", 'configmaps "present" already exists')


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"name": "other"}, "the name of the object (other) does not match the name on the URL (present)"),
        ({"name": "present", "namespace": "kube-system"},
         "the namespace of the provided object does not match the namespace sent on the request"),
    ],
)  # fmt: skip
def test_a_body_that_is_another_object_is_a_bad_request(
    http: httpx.Client, metadata: dict[str, str], says: str
) -> None:
    assert Asked(http, "PUT", f"{MAPS}/present", {**SETTINGS, "metadata": metadata}).is_ == (400, "BadRequest", says)


def test_deletions_that_contradict_themselves_are_invalid(http: httpx.Client) -> None:
    policy = Asked(http, "DELETE", f"{MAPS}/present", {"propagationPolicy": "Sideways"})
    assert policy.code == 422 and policy.fields == [("propagationPolicy", "FieldValueNotSupported")]
    both = Asked(http, "DELETE", f"{MAPS}/present?propagationPolicy=Orphan&orphanDependents=true")
    assert both.code == 422 and both.fields == [("propagationPolicy", "FieldValueInvalid")]


# --- names, labels and the rules of kinds


@pytest.mark.parametrize(
    ("metadata", "field", "reason", "says"),
    [
        ({}, "metadata.name", "FieldValueRequired", "name or generateName is required"),
        ({"name": "Bad_Name"}, "metadata.name", "FieldValueInvalid", SUBDOMAIN),
        ({"name": "a" * 254}, "metadata.name", "FieldValueInvalid", "must be no more than 253 characters"),
        ({"name": "x", "labels": {"a": "b c"}}, "metadata.labels", "FieldValueInvalid",
         "a valid label must be an empty string or consist of alphanumeric characters"),
        ({"name": "x", "labels": {"-a": "b"}}, "metadata.labels", "FieldValueInvalid", "name part must consist of"),
        ({"name": "x", "labels": {"a": "b" * 64}}, "metadata.labels", "FieldValueInvalid", "must be no more than 63"),
        ({"name": "x", "annotations": {"?": "b"}}, "metadata.annotations", "FieldValueInvalid", "name part"),
        ({"name": "x", "annotations": {"a": "b" * 262145}}, "metadata.annotations", "FieldValueTooLong", "Too long"),
        ({"name": "x", "finalizers": ["mine"]}, "metadata.finalizers[0]", "FieldValueInvalid", "mine"),
    ],
)  # fmt: skip
def test_names_labels_and_annotations_keep_their_syntax(
    http: httpx.Client, metadata: dict[str, Any], field: str, reason: str, says: str
) -> None:
    asked = Asked(http, "POST", MAPS, {**SETTINGS, "metadata": metadata})
    name = metadata.get("name", "")
    assert (asked.code, asked.reason) == (422, "Invalid") and says in asked.message
    assert asked.message.startswith(f'ConfigMap "{name}" is invalid: {field}: ')
    assert (field, reason) in asked.fields and asked.details["kind"] == "ConfigMap"


def test_every_fault_of_a_document_is_told_at_once(http: httpx.Client) -> None:
    container = {
        "name": "A b", "ports": [{"containerPort": 70000}],
        "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}},
    }  # fmt: skip
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [container], "restartPolicy": "Sometimes"},
    }  # fmt: skip
    asked = Asked(http, "POST", PODS, pod)
    assert asked.message.startswith('Pod "p" is invalid: [spec.containers[0].name: Invalid value: "A b": ' + LABEL)
    assert set(asked.fields) == {
        ("spec.containers[0].name", "FieldValueInvalid"),
        ("spec.containers[0].image", "FieldValueRequired"),
        ("spec.containers[0].ports[0].containerPort", "FieldValueInvalid"),
        ("spec.containers[0].resources.requests", "FieldValueInvalid"),
        ("spec.restartPolicy", "FieldValueNotSupported"),
    }
    assert 'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"' in (
        asked.message
    )


def test_a_deployment_that_selects_nothing_it_makes_is_invalid(http: httpx.Client) -> None:
    asked = Asked(http, "POST", DEPLOYMENTS, with_spec(selector={"matchLabels": {"app": "other"}}))
    assert asked.is_ == (
        422,
        "Invalid",
        'Deployment.apps "web" is invalid: spec.template.metadata.labels: Invalid value: {"app":"web"}: '
        "`selector` does not match template `labels`",
    )
    assert asked.details["group"] == "apps" and asked.details["name"] == "web"
    empty = Asked(http, "POST", DEPLOYMENTS, {**WEB, "spec": {}})
    assert [field for field, _ in empty.fields] == [
        "spec.selector", "spec.template.metadata.labels", "spec.template.spec.containers",
    ]  # fmt: skip


# --- patches


@pytest.mark.parametrize(
    ("media", "body", "says"),
    [
        (MERGE, "{", "error decoding patch: unexpected end of JSON input"),
        (MERGE, "[]", "error decoding patch: json: cannot unmarshal array into Go value of type "
         "map[string]interface {}"),
        (STEPS, "{}", "error decoding patch: json: cannot unmarshal object into Go value of type "
         "[]handlers.jsonPatchOp"),
    ],
)  # fmt: skip
def test_what_is_no_patch_is_a_bad_request(http: httpx.Client, media: str, body: str, says: str) -> None:
    assert Asked(http, "PATCH", f"{MAPS}/present", body, media).is_ == (400, "BadRequest", says)


@pytest.mark.parametrize("step", [{"op": "leap", "path": "/a"}, {"op": "replace", "path": "/a/b", "value": 1},
                                  {"op": "test", "path": "/kind", "value": "Pod"}])  # fmt: skip
def test_a_patch_that_does_not_fit_is_invalid(http: httpx.Client, step: dict[str, Any]) -> None:
    asked = Asked(http, "PATCH", f"{MAPS}/present", [step], STEPS)
    said = "the server rejected our request due to an error in our request"
    assert asked.is_ == (422, "Invalid", said) and len(asked.details["causes"]) == 1


@pytest.mark.parametrize("media", [MERGE, STRATEGIC])
def test_a_patch_into_another_shape_is_the_invalid_field(http: httpx.Client, media: str) -> None:
    asked = Asked(http, "PATCH", f"{MAPS}/present", {"data": {"a": 1}}, media)
    assert (asked.code, asked.reason, asked.fields) == (422, "Invalid", [("patch", "FieldValueInvalid")])
    strict = Asked(http, "PATCH", f"{MAPS}/present?fieldValidation=Strict", {"dta": {}}, media)
    assert strict.fields == [("patch", "FieldValueInvalid")]
    assert strict.message.endswith('strict decoding error: unknown field "dta"')
    renamed = Asked(http, "PATCH", f"{MAPS}/present", {"metadata": {"name": "z"}}, media)
    said = "the name of the object (z) does not match the name on the URL (present)"
    assert renamed.is_ == (400, "BadRequest", said)
    forced = Asked(http, "PATCH", f"{MAPS}/present?force=true", {}, media)
    assert forced.fields == [("force", "FieldValueForbidden")]


# --- the other doors


def test_graphql_errors_have_a_path_and_a_code_and_no_trace(http: httpx.Client) -> None:
    def errors(query: str) -> list[dict[str, Any]]:
        answer = http.post("/graphql", json={"query": query})
        assert "Traceback" not in answer.text and ".py" not in answer.text
        found: list[dict[str, Any]] = answer.json()["errors"]
        return found

    (unknown,) = errors('{ object(resource: "gizmos", name: "x") { name } }')
    assert unknown["path"] == ["object"] and unknown["extensions"]["code"]
    (future,) = errors('{ past: object(resource: "configmaps", name: "x", at: "99999999") { name } }')
    assert future["path"] == ["past"] and future["extensions"]["code"]
    for query in ("{ nosuchfield }", "{ object("):
        assert all(error["message"] and error["extensions"]["code"] for error in errors(query))


def test_nobody_gets_in_and_strangers_get_nowhere(server: Server, http: httpx.Client) -> None:
    wrong = httpx.get(f"{http.base_url}/api/v1/pods", headers={"authorization": "Bearer nope"}, verify=False)
    assert wrong.status_code == 401
    assert (wrong.json()["reason"], wrong.json()["message"]) == ("Unauthorized", "Unauthorized")
    nobody = httpx.get(f"{http.base_url}/api/v1/pods", verify=False)
    assert nobody.json()["code"] in (401, 403)


def test_no_refusal_has_left_anything_behind(server: Server, http: httpx.Client) -> None:
    """Refused and rehearsed requests use no revision: all that this module made is one ConfigMap."""
    listed = http.get(MAPS).json()["items"]
    assert [one["metadata"]["name"] for one in listed] == ["kube-root-ca.crt", "present"]
    assert listed[1]["data"] == {"a": "b"}
    actors = server.graphql(
        """{ events(filter: {namespace: "default", resources: ["configmaps", "deployments.apps", "pods"]}, first: 99) {
             nodes { verb name actor { user } } } }"""
    )["events"]["nodes"]
    assert [e["name"] for e in actors if e["actor"]["user"] == "kubernetes-admin"] == ["present"]
