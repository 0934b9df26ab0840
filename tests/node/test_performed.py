"""Containers whose own command is performed: their ends, files, volumes, variables, probes, hooks and neighbours."""

import base64

import pytest

from ksql.conversations import LogOptions
from ksql.node.images.catalogue import words_of
from tests.node.small import told

AGNHOST = "registry.example/agnhost:2.63"


def container(*command, name="c", image="busybox:1", **more):
    return {"name": name, "image": image, "command": list(command), **more}


def pod_of(*containers, **more):
    return {"containers": list(containers), "restartPolicy": "Never", **more}


async def said(cluster, name="p", container="c", previous=False):
    pod = cluster.pod(name)
    kubelet = cluster.fleet.kubelet(pod["spec"]["nodeName"])
    pieces = [piece async for piece in kubelet.logs(pod, container, LogOptions(previous=previous))]
    return b"".join(pieces).decode()


async def ended(cluster, name="p"):
    await cluster.until(lambda: cluster.phase(name) in ("Succeeded", "Failed"), 300)
    return cluster.phase(name)


async def object_of(cluster, kind, name, **more):
    resource = {"ConfigMap": "configmaps", "Secret": "secrets", "Service": "services"}[kind]
    metadata = {"name": name, "namespace": "default"}
    return await cluster.client.create(resource, {"apiVersion": "v1", "kind": kind, "metadata": metadata, **more})


@pytest.mark.parametrize(
    ("script", "phase", "code"),
    [("exit 0", "Succeeded", 0), ("echo no >&2; exit 3", "Failed", 3), ("sleep 30 && false", "Failed", 1)],
)
def test_a_pod_ends_as_its_own_command_does(script, phase, code):
    async def story(cluster):
        await cluster.create_pod(**pod_of(container("sh", "-c", script)))
        assert await ended(cluster) == phase
        assert cluster.container()["state"]["terminated"]["exitCode"] == code

    told(story)


def test_annotations_say_more_than_the_command():
    async def story(cluster):
        await cluster.create_pod(annotations={"exit-code": "7"}, **pod_of(container("true")))
        assert await ended(cluster) == "Failed"
        assert cluster.container()["state"]["terminated"]["exitCode"] == 7

    told(story)


def test_a_script_of_which_a_command_is_not_known_is_not_performed():
    async def story(cluster):
        await cluster.create_pod(**pod_of(container("sh", "-c", "python3 serve.py || exit 4")))
        assert await ended(cluster) == "Succeeded"

    told(story)


def test_variables_come_from_everywhere_in_their_order():
    async def story(cluster):
        await object_of(cluster, "ConfigMap", "settings", data={"COLOUR": "blue"})
        await object_of(cluster, "Secret", "keys", data={"KEY": base64.b64encode(b"s3cret").decode()})
        env = [
            {"name": "A", "value": "a-$(COLOUR)"}, {"name": "B", "value": "$(A) $$(A) $(NOBODY)"},
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "MIB", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
        ]  # fmt: skip
        sources = [{"configMapRef": {"name": "settings"}}, {"prefix": "X_", "secretRef": {"name": "keys"}}]
        limits = {"limits": {"cpu": "1250m", "memory": "64Mi"}}
        one = container("sh", "-c", "env", env=env, envFrom=sources, resources=limits)
        await cluster.create_pod(**pod_of(one))
        assert await ended(cluster) == "Succeeded"
        found = dict(line.split("=", 1) for line in (await said(cluster)).splitlines())
        address = cluster.pod()["status"]["podIP"]
        assert found["COLOUR"] == "blue" and found["X_KEY"] == "s3cret" and found["HOST"] == address
        assert (found["A"], found["B"]) == ("a-blue", "a-blue $(A) $(NOBODY)")
        assert (found["NAME"], found["CPU"], found["MIB"]) == ("p", "2", "64")

    told(story)


def test_what_a_pod_names_and_the_cluster_has_not_is_waited_for():
    async def story(cluster):
        env = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "a"}}}]
        await cluster.create_pod(**pod_of(container("sh", "-c", "echo $A", env=env)))
        await cluster.until(lambda: "Failed" in cluster.notes())
        waiting = await cluster.until(lambda: cluster.container()["state"].get("waiting", {}).get("message"))
        assert waiting == 'configmap "later" not found'
        assert cluster.container()["state"]["waiting"]["reason"] == "CreateContainerConfigError"
        await object_of(cluster, "ConfigMap", "later", data={"b": "1"})
        await cluster.until(
            lambda: "couldn't find key a in ConfigMap default/later" in str(cluster.container()["state"]), 20
        )
        await cluster.client.patch("configmaps", "default", "later", {"data": {"a": "here"}})
        assert await ended(cluster) == "Succeeded"
        assert await said(cluster) == "here\n"
        assert "Failed" in cluster.notes()

    told(story)


def test_a_volume_that_cannot_be_had_keeps_the_pod_from_starting():
    async def story(cluster):
        volumes = [{"name": "v", "secret": {"secretName": "later"}}]
        mounts = [{"name": "v", "mountPath": "/v"}]
        await cluster.create_pod(**pod_of(container("cat", "/v/key", volumeMounts=mounts), volumes=volumes))
        await cluster.until(lambda: "FailedMount" in cluster.notes())
        assert cluster.container()["state"] == {"waiting": {"reason": "ContainerCreating"}}
        await object_of(cluster, "Secret", "later", data={"key": base64.b64encode(b"opens").decode()})
        assert await ended(cluster) == "Succeeded"
        assert await said(cluster) == "opens\n" or await said(cluster) == "opens"

    told(story)


@pytest.mark.parametrize(
    ("more", "reason", "note"),
    [
        ({"envFrom": [{"configMapRef": {"name": "later"}}]}, "CreateContainerConfigError", "Failed"),
        ({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}, "ContainerCreating", "FailedMount"),
    ],
)
def test_a_container_that_is_not_performed_waits_as_well(more, reason, note):
    async def story(cluster):
        volumes = [{"name": "v", "configMap": {"name": "later"}}] if "volumeMounts" in more else []
        one = {"name": "c", "image": "example.com/web:1", **more}
        await cluster.create_pod(containers=[one], volumes=volumes)
        await cluster.until(lambda: note in cluster.notes())
        assert cluster.container()["state"]["waiting"]["reason"] == reason
        await object_of(cluster, "ConfigMap", "later", data={"a": "1"})
        await cluster.until(lambda: cluster.container().get("ready"))

    told(story)


def test_containers_of_a_pod_share_what_they_mount_and_init_containers_come_first():
    async def story(cluster):
        mounts = [{"name": "d", "mountPath": "/data"}]
        first = container("sh", "-c", "echo prepared > /data/word", name="first", volumeMounts=mounts)
        one = container("sh", "-c", "cat /data/word; echo more >> /data/word; sleep 5", volumeMounts=mounts)
        two = container("sh", "-c", "sleep 2; wc -l < /data/word", name="two", volumeMounts=mounts)
        volumes = [{"name": "d", "emptyDir": {}}]
        await cluster.create_pod(**pod_of(one, two, initContainers=[first], volumes=volumes))
        assert await ended(cluster) == "Succeeded"
        assert await said(cluster) == "prepared\n"
        assert (await said(cluster, container="two")).split() == ["2"]

    told(story)


def test_an_empty_directory_outlives_a_container_but_its_own_files_do_not():
    async def story(cluster):
        mounts = [{"name": "d", "mountPath": "/data"}]
        script = "touch /own; echo x >> /data/runs; [ $(wc -l < /data/runs) -ge 3 ] && ls / && exit 0; exit 1"
        one = container("sh", "-c", script, volumeMounts=mounts)
        spec = {**pod_of(one, volumes=[{"name": "d", "emptyDir": {}}]), "restartPolicy": "OnFailure"}
        await cluster.create_pod(**spec)
        assert await ended(cluster) == "Succeeded"
        assert cluster.container()["restartCount"] == 2

    told(story)


def test_changes_of_objects_are_shown_in_volumes():
    async def story(cluster):
        await object_of(cluster, "ConfigMap", "settings", data={"word": "old", "gone": "1"})
        mounts = [{"name": "v", "mountPath": "/v"}, {"name": "l", "mountPath": "/l"}]
        labels = {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}
        volumes = [{"name": "v", "configMap": {"name": "settings"}}, {"name": "l", "downwardAPI": labels}]
        script = "while [ ! -e /v/new ]; do sleep 1; done; cat /v/word; ls /v; cat /l/labels"
        await cluster.create_pod(**pod_of(container("sh", "-c", script, volumeMounts=mounts), volumes=volumes))
        await cluster.until(lambda: cluster.phase() == "Running")
        await cluster.client.patch("pods", "default", "p", {"metadata": {"labels": {"tier": 'a"b'.replace('"', "-")}}})
        patch = {"data": {"word": "young", "new": "1", "gone": None}}
        await cluster.client.patch("configmaps", "default", "settings", patch)
        assert await ended(cluster) == "Succeeded"
        place = 'topology.kubernetes.io/region="sim"\ntopology.kubernetes.io/zone="zone-1"\n'
        assert await said(cluster) == 'youngnew\nword\ntier="a-b"\n' + place

    told(story)


def test_mounted_files_have_modes_owners_and_kinds():
    async def story(cluster):
        await object_of(cluster, "Secret", "keys", data={"key": base64.b64encode(b"v").decode()})
        item = {"key": "key", "path": "deep/file", "mode": 0o400}
        volumes = [
            {"name": "s", "secret": {"secretName": "keys", "items": [item]}},
            {"name": "m", "emptyDir": {"medium": "Memory"}},
        ]
        mounts = [{"name": "s", "mountPath": "/s"}, {"name": "m", "mountPath": "/m"}]
        args = [
            "mounttest", "--fs_type=/m", "--new_file_0660=/m/f", "--file_perm=/m/f", "--file_mode=/s/deep/file",
            "--file_owner=/m/f",
        ]  # fmt: skip
        one = {"name": "c", "image": AGNHOST, "args": args, "volumeMounts": mounts}
        one["securityContext"] = {"runAsUser": 1001}
        await cluster.create_pod(**pod_of(one, volumes=volumes))
        assert await ended(cluster) == "Succeeded"
        assert (await said(cluster)).splitlines() == [
            'mount type of "/m": tmpfs', 'content of file "/m/f": mount-tester new file', "",
            'mode of file "/s/deep/file": -r--------', 'perms of file "/m/f": -rw-rw----',
            'owner UID of "/m/f": 1001', 'owner GID of "/m/f": 0',
        ]  # fmt: skip

    told(story)


def test_what_is_read_only_cannot_be_written():
    async def story(cluster):
        await object_of(cluster, "ConfigMap", "settings", data={"word": "x"})
        mounts = [{"name": "v", "mountPath": "/v"}]
        script = "echo a > /v/new; echo b > /root/new; echo c > /dev/termination-log; exit 5"
        one = container("sh", "-c", script, volumeMounts=mounts, securityContext={"readOnlyRootFilesystem": True})
        await cluster.create_pod(**pod_of(one, volumes=[{"name": "v", "configMap": {"name": "settings"}}]))
        assert await ended(cluster) == "Failed"
        assert (await said(cluster)).count("Read-only file system") == 2
        assert cluster.container()["state"]["terminated"]["message"] == "c\n"

    told(story)


@pytest.mark.parametrize(
    ("script", "more", "message"),
    [
        ("echo done > /dev/termination-log", {}, "done\n"),
        ("echo done > /last", {"terminationMessagePath": "/last"}, "done\n"),
        ("echo lost; exit 1", {}, None),
        ("echo out; exit 1", {"terminationMessagePolicy": "FallbackToLogsOnError"}, "out\n"),
        ("echo -n out; /bin/false", {"terminationMessagePolicy": "FallbackToLogsOnError"}, "out"),
        ("echo out; exit 0", {"terminationMessagePolicy": "FallbackToLogsOnError"}, None),
    ],
)
def test_the_last_words_of_a_container(script, more, message):
    async def story(cluster):
        await cluster.create_pod(**pod_of(container("sh", "-c", script, **more)))
        await ended(cluster)
        assert cluster.container()["state"]["terminated"].get("message") == message

    told(story)


def test_a_pod_is_ready_when_its_probe_says_so_and_no_longer():
    async def story(cluster):
        probe = {"exec": {"command": ["cat", "/tmp/ready"]}, "periodSeconds": 2, "failureThreshold": 2}
        script = "sleep 10; touch /tmp/ready; sleep 10; rm /tmp/ready; sleep 600"
        one = container("sh", "-c", script, readinessProbe={**probe, "initialDelaySeconds": 1})
        await cluster.create_pod(containers=[one])
        await cluster.until(lambda: cluster.phase() == "Running")
        began = cluster.clock.monotonic()
        assert not cluster.container()["ready"]
        await cluster.until(lambda: cluster.container()["ready"])
        assert 9 <= cluster.clock.monotonic() - began <= 13
        await cluster.until(lambda: not cluster.container()["ready"])
        assert cluster.container()["restartCount"] == 0 and "Unhealthy" in cluster.notes()

    told(story)


def test_a_container_whose_liveness_fails_is_started_again_and_one_that_lives_is_not():
    async def story(cluster):
        def probe(port):
            return {"httpGet": {"path": "/healthz", "port": port}, "periodSeconds": 3, "failureThreshold": 1}

        ill = {"name": "ill", "image": AGNHOST, "args": ["liveness"], "livenessProbe": probe(8080)}
        well = {"name": "well", "image": AGNHOST, "args": ["netexec", "--http-port=81"], "livenessProbe": probe(81)}
        await cluster.create_pod(containers=[ill, well])
        await cluster.until(lambda: cluster.phase() == "Running")
        await cluster.until(lambda: cluster.container(index=0)["restartCount"] >= 2, 120)
        assert cluster.container(index=1)["restartCount"] == 0
        assert {"Unhealthy", "Killing"} <= set(cluster.notes())

    told(story)


def test_a_startup_probe_holds_the_others_back():
    async def story(cluster):
        start = {"exec": {"command": ["test", "-e", "/up"]}, "periodSeconds": 1, "failureThreshold": 30}
        live = {"exec": {"command": ["test", "-e", "/up"]}, "periodSeconds": 1, "failureThreshold": 1}
        one = container("sh", "-c", "sleep 15; touch /up; sleep 600", startupProbe=start, livenessProbe=live)
        await cluster.create_pod(containers=[one])
        await cluster.until(lambda: cluster.phase() == "Running")
        assert not cluster.container()["started"]
        await cluster.until(lambda: cluster.container()["started"])
        await cluster.clock.sleep(10)
        assert cluster.container()["restartCount"] == 0 and cluster.container()["ready"]

    told(story)


def test_hooks_run_at_the_start_and_before_the_end():
    async def story(cluster):
        await cluster.create_pod("hearer", containers=[{"name": "c", "image": AGNHOST, "args": ["netexec"]}])
        await cluster.until(lambda: cluster.phase("hearer") == "Running")
        host = cluster.pod("hearer")["status"]["podIP"]
        hooks = {
            "postStart": {"exec": {"command": ["sh", "-c", f"curl http://{host}:8080/echo?msg=begun"]}},
            "preStop": {"httpGet": {"host": host, "port": 8080, "path": "/echo?msg=ending"}},
        }
        await cluster.create_pod(containers=[container("sleep", "600", lifecycle=hooks)])
        await cluster.until(lambda: cluster.phase() == "Running")
        await cluster.clock.sleep(2)
        assert "GET /echo?msg=begun" in await said(cluster, "hearer")
        await cluster.client.delete("pods", "default", "p")
        await cluster.until(lambda: cluster.pod() is None)
        assert "GET /echo?msg=ending" in await said(cluster, "hearer")

    told(story)


def test_a_post_start_hook_that_fails_ends_the_container():
    async def story(cluster):
        hooks = {"postStart": {"exec": {"command": ["false"]}}}
        await cluster.create_pod(containers=[container("sleep", "600", lifecycle=hooks)])
        await cluster.until(lambda: cluster.phase() == "Running")
        await cluster.until(lambda: cluster.container().get("restartCount", 0) >= 1)
        assert "FailedPostStartHook" in cluster.notes()

    told(story)


def test_pods_reach_each_other_and_know_nobody_by_chance():
    async def story(cluster):
        server = {"name": "c", "image": AGNHOST, "args": ["netexec"]}
        await cluster.create_pod("server", containers=[server])
        await cluster.until(lambda: cluster.phase("server") == "Running")
        host = cluster.pod("server")["status"]["podIP"]
        script = (
            f"curl -s http://{host}:8080/hostname; echo; wget -q -O- http://{host}:8080/echo?msg=hi; echo; "
            f"curl -s http://{host}:9/ || echo refused $?; curl -s http://nowhere.example/ || echo unknown $?; "
            f"nc -z -w 1 {host} 8080 && echo open; echo hostname | nc -u {host} 8081"
        )
        await cluster.create_pod(**pod_of(container("sh", "-c", script)))
        assert await ended(cluster) == "Succeeded"
        assert (await said(cluster)).split() == [
            "server", "hi", "refused", "7", "unknown", "6", "open", "server",
        ]  # fmt: skip

    told(story, nodes=2)


def test_a_process_goes_on_where_it_would_be_after_the_agents_restart():
    async def story(cluster):
        await cluster.create_pod(**pod_of(container("sh", "-c", "sleep 40; exit 6")))
        await cluster.until(lambda: cluster.phase() == "Running")
        began = cluster.clock.monotonic()
        await cluster.fleet.aclose()
        await cluster.clock.sleep(10)
        await cluster.start_fleet()
        assert await ended(cluster) == "Failed"
        assert cluster.container()["state"]["terminated"]["exitCode"] == 6
        assert 39 <= cluster.clock.monotonic() - began <= 43

    told(story)


def test_a_loop_for_a_day_costs_few_looks():
    async def story(cluster):
        await cluster.create_pod(**pod_of(container("sh", "-c", "while true; do date; sleep 5; done")))
        await cluster.until(lambda: cluster.phase() == "Running")
        await cluster.clock.sleep(3600)
        lines = (await said(cluster)).splitlines()
        assert 715 <= len(lines) <= 725
        assert cluster.container()["restartCount"] == 0

    told(story)


def test_words_of_an_image_give_way_to_a_pods():
    assert words_of({"image": AGNHOST}) == ["/agnhost", "pause"]
    assert words_of({"image": AGNHOST, "args": ["netexec"]}) == ["/agnhost", "netexec"]
    assert words_of({"image": AGNHOST, "command": ["sh"]}) == ["sh"]
    assert words_of({"image": "registry.example:5000/team/busybox@sha256:1"}) == ["sh"]
    assert words_of({"image": "example.com/unknown"}) == []


def test_a_node_turns_away_what_it_has_no_room_for():
    async def story(cluster):
        def on_node(name, **more):
            return cluster.create_pod(name, nodeName="node-1", containers=[{"name": "c", "image": "nginx:1", **more}])

        port = {"ports": [{"containerPort": 80, "hostPort": 8080}]}
        await on_node("first", **port)
        await cluster.until(lambda: cluster.phase("first") == "Running")
        await on_node("second", **port)
        await on_node("large", resources={"requests": {"cpu": "17"}})
        await on_node("udp", ports=[{"containerPort": 80, "hostPort": 8080, "protocol": "UDP"}])
        await cluster.until(lambda: cluster.phase("second") == cluster.phase("large") == "Failed")
        status = cluster.pod("second")["status"]
        assert (status["reason"], "containerStatuses" in status) == ("NodePorts", False)
        assert status["message"].startswith("Pod was rejected: Predicate NodePorts failed: ")
        assert cluster.pod("large")["status"]["message"].endswith(
            "Node didn't have enough resource: cpu, requested: 17000, used: 0, capacity: 15800"
        )
        await cluster.until(lambda: cluster.phase("udp") == "Running")
        assert "NodePorts" in cluster.notes("second")

    told(story)
