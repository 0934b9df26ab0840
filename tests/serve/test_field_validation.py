"""Fields that nobody knows and keys said twice: dropped in silence, warned of, or refused, by what was asked."""

import httpx
import pytest

MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
JSON = """{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","unknownMeta":1},
"spec":{"replicas":1,"replicas":2,"foo":1,"foo":1,"selector":{"matchLabels":{"a":"b"}},
"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"x","image":"z",
"imagePullPolicy":"Never","imagePullPolicy":"Always","bar":{"q":1,"q":2},"ports":[{"containerPort":1,"prot":"x"}]}]}}},
"xx":1}"""
YAML = """apiVersion: apps/v1
kind: Deployment
metadata:
  name: d
  unknownMeta: 1
spec:
  replicas: 1
  replicas: 2
  foo: 1
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec:
      containers:
      - name: x
        image: z
        imagePullPolicy: Never
        imagePullPolicy: Always
"""
# In the order of the text; what is unknown is looked at no further.
IN_JSON = [
    'unknown field "metadata.unknownMeta"', 'duplicate field "spec.replicas"', 'unknown field "spec.foo"',
    'duplicate field "spec.template.spec.containers[0].imagePullPolicy"',
    'unknown field "spec.template.spec.containers[0].bar"',
    'unknown field "spec.template.spec.containers[0].ports[0].prot"', 'unknown field "xx"',
]  # fmt: skip
IN_YAML = ['line 8: key "replicas" already set in map', 'line 18: key "imagePullPolicy" already set in map']
UNKNOWN_IN_YAML = ['unknown field "metadata.unknownMeta"', 'unknown field "spec.foo"']
BODIES = {"application/json": JSON, "application/yaml": YAML}


async def asked(http: httpx.AsyncClient, media: str, validation: str) -> httpx.Response:
    query = f"?dryRun=All&fieldValidation={validation}" if validation else "?dryRun=All"
    return await http.post(DEPLOYMENTS + query, content=BODIES[media], headers={"content-type": media})


def warnings(answer: httpx.Response) -> list[str]:
    found = answer.headers.get_list("warning")
    assert all(text.startswith('299 - "') and text.endswith('"') for text in found)
    return [text[7:-1].replace('\\"', '"') for text in found]


@pytest.mark.parametrize("media", BODIES)
async def test_ignored_is_not_mentioned(http, media):
    answer = await asked(http, media, "Ignore")
    assert answer.status_code == 201 and warnings(answer) == []
    spec = answer.json()["spec"]
    # Of two values the last one counts.
    assert spec["replicas"] == 2 and "foo" not in spec
    assert spec["template"]["spec"]["containers"][0]["imagePullPolicy"] == "Always"


@pytest.mark.parametrize("validation", ["", "Warn"])
async def test_warnings_come_in_the_order_of_the_text(http, validation):
    answer = await asked(http, "application/json", validation)
    assert answer.status_code == 201 and warnings(answer) == IN_JSON
    answer = await asked(http, "application/yaml", validation)
    assert answer.status_code == 201 and warnings(answer) == IN_YAML + UNKNOWN_IN_YAML


async def test_strict_refuses_with_all_of_it(http):
    said = 'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: '
    answer = await asked(http, "application/json", "Strict")
    assert (answer.status_code, answer.json()["message"]) == (400, said + ", ".join(IN_JSON))
    answer = await asked(http, "application/yaml", "Strict")
    of_yaml = "yaml: unmarshal errors:\n  " + "\n  ".join(IN_YAML)
    assert answer.json()["message"] == said + ", ".join((of_yaml, *UNKNOWN_IN_YAML))
    assert (answer.json()["reason"], warnings(answer)) == ("BadRequest", [])


async def test_a_refusal_for_another_reason_warns_all_the_same(http):
    body = '{"metadata":{"name":"A_b"},"Data":{"x":"y"}}'
    answer = await http.post(MAPS, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422 and warnings(answer) == ['unknown field "Data"']


@pytest.mark.parametrize(
    ("media", "patch", "told"),
    [
        ("merge-patch", '{"metadata":{"foo":1},"data":{"x":"2","x":"3"}}',
         ['duplicate field "data.x"', 'unknown field "metadata.foo"']),
        ("strategic-merge-patch", '{"metadata":{"foo":1},"data":{"x":"2","x":"3"}}',
         ['duplicate field "data.x"', 'unknown field "metadata.foo"']),
        ("json-patch", '[{"op":"add","op":"add","path":"/data/z","value":"1","foo":1}]',
         ['json patch duplicate field "[0].op"', 'json patch unknown field "[0].foo"']),
        ("merge-patch", '{"data":{"x":"a:b"}}', []),
    ],
)  # fmt: skip
async def test_patches_are_judged_alike(http, media, patch, told):
    assert (await http.post(MAPS, json={"metadata": {"name": "a"}, "data": {"x": "1"}})).status_code == 201
    headers = {"content-type": f"application/{media}+json"}
    answer = await http.patch(f"{MAPS}/a?dryRun=All", content=patch, headers=headers)
    assert answer.status_code == 200 and warnings(answer) == told
    answer = await http.patch(f"{MAPS}/a?fieldValidation=Strict&dryRun=All", content=patch, headers=headers)
    if not told:
        assert answer.status_code == 200
        return
    assert answer.status_code == 422
    assert answer.json()["message"].endswith(f": strict decoding error: {', '.join(told)}")
    assert answer.json()["details"]["causes"][0]["field"] == "patch"


async def test_lists_of_faults_end_somewhere(http):
    fields = ",".join(f'"f{n}":1' for n in range(120))
    body = f'{{"metadata":{{"name":"a"}},{fields}}}'
    headers = {"content-type": "application/json"}
    answer = await http.post(f"{MAPS}?dryRun=All", content=body, headers=headers)
    assert warnings(answer) == [f'unknown field "f{n}"' for n in range(100)]
    answer = await http.post(f"{MAPS}?fieldValidation=Strict", content=body, headers=headers)
    assert answer.json()["message"].endswith('unknown field "f98", unknown field "f99"')


async def test_long_warnings_are_cut_where_together_they_are_too_long(http):
    body = '{"metadata":{"name":"a"},' + ",".join(f'"{"x" * 300}{n}":1' for n in range(30)) + "}"
    answer = await http.post(f"{MAPS}?dryRun=All", content=body, headers={"content-type": "application/json"})
    found = answer.headers.get_list("warning")
    assert len(found) == 4096 // 256
    assert all(len(text) == 256 + len('299 - ""') + len('\\') for text in found)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"kind":1}', "couldn't get version/kind; json parse error: json: cannot unmarshal number into Go struct "
         'field .kind of type string ({"kind":1})'),
        ('{"apiVersion":"a/b/c"}', 'unexpected GroupVersion string: a/b/c ({"apiVersion":"a/b/c"})'),
    ],
)  # fmt: skip
async def test_a_body_that_says_wrongly_what_it_is(http, body, message):
    answer = await http.post(MAPS, content=body, headers={"content-type": "application/json"})
    said = f"the object provided is unrecognized (must be of type ConfigMap): {message}"
    assert (answer.status_code, answer.json()["message"]) == (400, said)


async def test_nothing_at_all_is_an_object_without_a_name(http):
    answer = await http.post(MAPS, content="null", headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["message"].endswith("metadata.name: Required value: name or generateName is required")


async def test_a_broken_character_is_replaced(http):
    body = b'{"metadata":{"name":"a"},"data":{"x":"\xff"}}'
    answer = await http.post(MAPS, content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["data"]) == (201, {"x": "�"})


async def test_a_single_letter_of_yaml_says_yes(http):
    body = "metadata: {name: a}\ndata: {x: y}\n"
    answer = await http.post(MAPS, content=body, headers={"content-type": "application/yaml"})
    assert answer.status_code == 400
    assert "cannot unmarshal bool into Go struct field ConfigMap.data of type string" in answer.json()["message"]
    quoted = body.replace("x: y", "x: 'y'")
    answer = await http.post(MAPS, content=quoted, headers={"content-type": "application/yaml"})
    assert answer.json()["data"] == {"x": "y"}


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("{1: a, true: b, 1.5: c}", {"1": "a", "true": "b", "1.5": "c"}),
        ("{x: a}\n---\nmetadata: {name: other}", {"x": "a"}),
        ("&a {x: b}\nbinaryData: {}", {"x": "b"}),
    ],
)
async def test_yaml_is_read_as_the_json_it_means(http, text, data):
    body = f"metadata: {{name: a}}\ndata: {text}\n"
    answer = await http.post(MAPS, content=body, headers={"content-type": "application/yaml"})
    assert (answer.status_code, answer.json().get("data")) == (201, data)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x: &a [*a]", "yaml: anchor 'a' value contains itself"),
        ("? [a]\n: b", "yaml: a key that is neither text nor number"),
        ("null: b", "yaml: a key that is neither text nor number"),
        ("a: [", "yaml: line 1: did not find expected node content"),
        ("a: b: c", "yaml: mapping values are not allowed in this context"),
        ("x: y\nb: c: d", "yaml: line 2: mapping values are not allowed in this context"),
    ],
)
async def test_yaml_that_is_none_is_refused_in_the_words_of_its_reader(http, text, words):
    answer = await http.post(MAPS, content=text, headers={"content-type": "application/yaml"})
    said = f"the object provided is unrecognized (must be of type ConfigMap): {words} ("
    assert answer.status_code == 400 and answer.json()["message"].startswith(said), answer.json()


@pytest.mark.parametrize("media", ["application/json", "application/cbor", "text/plain", ""])
async def test_a_patch_of_no_known_kind_is_refused(http, media):
    answer = await http.patch(f"{MAPS}/a", content="{}", headers={"content-type": media})
    status = answer.json()
    assert (answer.status_code, status["message"], status["details"]) == (415, "415: Unsupported Media Type", {})


@pytest.mark.parametrize("depth", [240, 900])
@pytest.mark.parametrize(
    ("method", "media"),
    [
        ("POST", "application/json"), ("POST", "application/yaml"), ("PATCH", "application/merge-patch+json"),
        ("PATCH", "application/strategic-merge-patch+json"), ("PATCH", "application/apply-patch+yaml"),
    ],
)  # fmt: skip
async def test_what_nests_too_deep_is_refused_before_it_is_looked_into(http, method, media, depth):
    # A key said twice and one with a colon: whoever looks for repetitions would have to go all the way.
    text = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"a:b":1,"a:b":%s}'
    path = MAPS if method == "POST" else f"{MAPS}/a?fieldManager=me"
    body = text % ('{"a":' * depth + "1" + "}" * depth)
    answer = await http.request(method, path, content=body, headers={"content-type": media})
    assert answer.status_code == 400 and "exceeded max depth" in answer.json()["message"]
