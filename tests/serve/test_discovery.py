"""What is served is told in every way that clients ask it, and they need not ask twice."""

import pytest

from ksql.schema.protobuf import reading as protobuf

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
KUBECTL = f"{AGGREGATED.format('v2')},{AGGREGATED.format('v2beta1')},application/json"


@pytest.mark.parametrize("path", ["/api", "/apis"])
@pytest.mark.parametrize(
    ("accept", "version"),
    [(KUBECTL, "v2"), (AGGREGATED.format("v2beta1") + ",application/json", "v2beta1")],
)
async def test_aggregated_discovery_speaks_the_version_that_is_asked_for(http, path, accept, version):
    answer = await http.get(path, headers={"accept": accept})
    assert answer.headers["content-type"] == AGGREGATED.format(version)
    found = answer.json()
    assert (found["kind"], found["apiVersion"]) == ("APIGroupDiscoveryList", f"apidiscovery.k8s.io/{version}")


async def test_plain_discovery_for_those_who_do_not_ask(http):
    assert (await http.get("/api")).json()["versions"] == ["v1"]
    groups = (await http.get("/apis")).json()["groups"]
    assert "apps" in [group["name"] for group in groups]
    assert (await http.get("/apis/apps")).json()["preferredVersion"]["version"] == "v1"
    rows = (await http.get("/api/v1")).json()["resources"]
    assert {"pods", "pods/status", "pods/eviction"} <= {row["name"] for row in rows}


async def test_discovery_in_a_form_nobody_knows_is_refused(http):
    answer = await http.get("/apis", headers={"accept": AGGREGATED.format("v9")})
    assert answer.status_code == 406


async def test_every_resource_that_is_told_of_can_be_listed(http):
    for root in ("/api", "/apis"):
        for group in (await http.get(root, headers={"accept": KUBECTL})).json()["items"]:
            for version in group["versions"]:
                name = group["metadata"].get("name", "")
                prefix = f"{root}/{name}/{version['version']}" if name else f"{root}/{version['version']}"
                for resource in version["resources"]:
                    if "list" in resource["verbs"]:
                        answer = await http.get(f"{prefix}/{resource['resource']}")
                        assert answer.status_code == 200, (prefix, resource["resource"], answer.text)


async def test_what_has_not_changed_is_not_sent_again(http):
    for path in ("/api", "/apis/apps/v1", "/openapi/v3", "/openapi/v3/apis/apps/v1"):
        tag = (await http.get(path)).headers["etag"]
        again = await http.get(path, headers={"if-none-match": tag})
        assert (again.status_code, again.content) == (304, b""), path


async def test_an_openapi_document_at_its_hash_may_be_kept(http):
    index = (await http.get("/openapi/v3")).json()["paths"]
    url = index["apis/apps/v1"]["serverRelativeURL"]
    answer = await http.get(url)
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    moved = await http.get("/openapi/v3/apis/apps/v1?hash=OLD")
    assert (moved.status_code, moved.headers["location"]) == (301, url)


async def test_openapi_tells_kubectl_how_to_validate(http):
    paths = (await http.get("/openapi/v3/apis/apps/v1")).json()["paths"]
    patch = paths["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert {"fieldValidation", "dryRun"} <= {p["name"] for p in patch["parameters"]}


async def test_what_openapi_does_not_have_is_said(http):
    assert (await http.get("/openapi/v3/apis/nope/v1")).status_code == 404
    assert (await http.get("/openapi/v2", headers={"accept": "text/html"})).status_code == 406


async def test_openapi_v2_is_json_or_the_protobuf_that_old_clients_read(http):
    answer = await http.get("/openapi/v2?timeout=32s")
    assert answer.headers["content-type"] == "application/json" and answer.json()["swagger"] == "2.0"
    tag = answer.headers["etag"]
    assert (await http.get("/openapi/v2", headers={"if-none-match": tag})).status_code == 304
    plain = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    for accept in (plain, plain.replace("v2.v1", "v2@v1")):
        answer = await http.get("/openapi/v2", headers={"accept": accept})
        assert answer.headers["content-type"] == plain
        assert answer.content.startswith(b"\x0a\x032.0\x12")
        assert answer.headers["etag"] != tag


async def test_the_root_names_what_there_is(http):
    paths = (await http.get("/")).json()["paths"]
    expected = {"/api/v1", "/apis/apps", "/apis/apps/v1", "/openapi/v2", "/readyz/ping", "/livez/ping", "/version"}
    assert paths == sorted(paths) and expected <= set(paths)


async def test_the_version_is_that_of_the_catalogue(http):
    version = (await http.get("/version")).json()
    assert (version["major"], version["minor"], version["gitVersion"]) == ("1", "35", "v1.35.0+ksql")
    assert all(isinstance(value, str) for value in version.values())


async def test_discovery_is_told_in_protobuf_and_yaml_too(http):
    media = "application/vnd.kubernetes.protobuf"
    answer = await http.get("/apis/apps/v1", headers={"accept": media})
    assert answer.headers["content-type"] == media
    found, plain = protobuf.decode_body(answer.content), (await http.get("/apis/apps/v1")).json()
    assert found["resources"] == plain["resources"] and found["groupVersion"] == "apps/v1"
    assert (await http.get("/apis", headers={"accept": media})).content.startswith(b"k8s\0\x0a\x12\x0a\x02v1")
    answer = await http.get("/api", headers={"accept": "application/yaml"})
    assert answer.text.startswith("kind: APIVersions\nserverAddressByClientCIDRs:\n")
    (told,) = (await http.get("/api")).json()["serverAddressByClientCIDRs"]
    assert told["serverAddress"].startswith("ksql:")


# --- health


async def test_health_is_told_short_or_long(http):
    assert (await http.get("/readyz")).text == "ok"
    assert (await http.get("/readyz?verbose")).text == "[+]ping ok\n[+]state ok\nreadyz check passed\n"
    assert (await http.get("/readyz/state")).text == "ok"
    assert (await http.get("/readyz/nope")).status_code == 404
    assert (await http.get("/livez?verbose&exclude=ping&exclude=nope")).text == (
        '[+]ping excluded: ok\nwarn: some health checks cannot be excluded: no matches for "nope"\nlivez check passed\n'
    )


async def test_a_failing_check_makes_it_unready_but_not_dead(server, http):
    server.door.add_check("controllers", lambda: "not started")
    answer = await http.get("/readyz")
    assert answer.status_code == 500
    assert "[-]controllers failed: not started\nreadyz check failed" in answer.text
    assert (await http.get("/readyz/controllers")).status_code == 500
    assert (await http.get("/readyz?exclude=controllers")).status_code == 200
    assert (await http.get("/livez")).status_code == 200


async def test_a_state_that_is_not_loaded_is_not_ready(server, http, monkeypatch):
    monkeypatch.setattr(type(server.log), "head", property(lambda _: 10**6))
    answer = await http.get("/readyz")
    assert answer.status_code == 500 and "the state is not loaded yet" in answer.text


# --- metrics


async def test_metrics_count_what_was_asked(http):
    maps = "/api/v1/namespaces/default/configmaps"
    await http.post(maps, json={"metadata": {"name": "a"}})
    await http.get(f"{maps}/a")
    await http.get(f"{maps}/nope")
    text = (await http.get("/metrics")).text
    for line in (
        'apiserver_request_total{code="201",resource="configmaps",verb="create"} 1.0',
        'apiserver_request_total{code="404",resource="configmaps",verb="get"} 1.0',
        'apiserver_request_duration_seconds_count{code="200",resource="configmaps",verb="get"} 1.0',
        'apiserver_storage_objects{resource="namespaces"} 2.0',
        "ksql_log_head_revision 3.0",
        "ksql_watches 0.0",
    ):
        assert line in text


async def test_metrics_count_what_the_log_did(http):
    def told(text: str) -> dict[str, float]:
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("ksql_log_")]
        return {name: float(value) for name, value in lines}

    before = told((await http.get("/metrics")).text)
    maps = "/api/v1/namespaces/default/configmaps"
    long = "x" * 500
    await http.post(maps, json={"metadata": {"name": "a"}, "data": {"k": long}})
    await http.put(f"{maps}/a", json={"metadata": {"name": "a"}, "data": {"k": long + "y"}})
    lease = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}}
    await http.post("/apis/coordination.k8s.io/v1/namespaces/default/leases", json=lease)
    after = told((await http.get("/metrics")).text)
    grown = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    for name, value in {
        'ksql_log_appended_events_total{retention="full"}': 2,
        'ksql_log_appended_events_total{retention="latest"}': 1,
        'ksql_log_batch_events_bucket{le="1.0"}': 3,
        "ksql_log_batch_events_count": 3,
        "ksql_log_batch_events_sum": 3,
        "ksql_log_commit_duration_seconds_count": 3,
        'ksql_log_images_total{form="whole"}': 2,
        'ksql_log_images_total{form="difference"}': 1,
    }.items():
        assert grown.get(name) == value, name
    given = grown["ksql_log_payload_bytes_total"]
    stored = sum(value for name, value in grown.items() if name.startswith("ksql_log_stored_bytes_total"))
    assert given > 1000 and 0 < stored < given / 2


async def test_what_clients_make_up_makes_no_labels(http):
    for n in range(50):
        await http.get(f"/made-up-{n}")
        await http.get(f"/api/v1/made-up-{n}")
        await http.request(f"VERB{n}", "/api/v1/pods")
    assert "made-up" not in (text := (await http.get("/metrics")).text) and "VERB" not in text
