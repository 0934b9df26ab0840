"""Pods' lives on a simulated node, as their status and their events tell them."""

from itertools import pairwise

import pytest

from tests.node.small import told

CONDITIONS = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]


def conditions(pod):
    return {one["type"]: one["status"] for one in pod["status"]["conditions"]}


def test_a_pod_becomes_running_and_ready_in_few_events():
    async def story(cluster):
        await cluster.create_pod()
        await cluster.until(lambda: cluster.phase() == "Running")
        await cluster.fleet.flushed()
        return cluster.pod(), await cluster.history(), cluster.notes()

    pod, history, notes = told(story)
    status = pod["status"]
    assert list(conditions(pod)) == CONDITIONS
    assert set(conditions(pod).values()) == {"True"}
    container = status["containerStatuses"][0]
    assert container["ready"] and container["started"] and container["restartCount"] == 0
    assert container["containerID"].startswith("simulated://")
    assert container["imageID"].startswith("nginx@sha256:")
    assert status["hostIP"] == "172.18.0.2"
    assert status["podIP"] == "10.244.0.2" and status["podIPs"] == [{"ip": "10.244.0.2"}]
    assert status["qosClass"] == "BestEffort"
    assert status["startTime"] == "2030-01-01T00:00:00Z"
    # Created, bound, creating its container, running: no more than that.
    assert [(e.verb, e.subresource) for e in history] == [
        ("create", ""), ("create", "binding"), ("patch", "status"), ("patch", "status"),
    ]  # fmt: skip
    assert [e.cause for e in history] == [None, history[0].revision, history[1].revision, history[1].revision]
    assert sorted(notes) == ["Created", "Pulled", "Scheduled", "Started"]


def test_readiness_comes_after_its_delay():
    async def story(cluster):
        await cluster.create_pod(annotations={"start-seconds": "1", "ready-seconds": "5"})
        await cluster.until(lambda: cluster.phase() == "Running")
        before = conditions(cluster.pod())["Ready"], cluster.container()["ready"]
        await cluster.until(lambda: conditions(cluster.pod())["Ready"] == "True")
        return before, cluster.clock.monotonic()

    before, at = told(story)
    assert before == ("False", False)
    assert at == pytest.approx(6, abs=0.2)


@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [("Never", "0", "Succeeded"), ("OnFailure", "0", "Succeeded"), ("Never", "3", "Failed")],
)
def test_a_pod_that_runs_to_its_end(policy, code, phase):
    async def story(cluster):
        await cluster.create_pod(annotations={"run-seconds": "7", "exit-code": code}, restartPolicy=policy)
        await cluster.until(lambda: cluster.phase() == phase)
        return cluster.pod(), cluster.clock.monotonic()

    pod, at = told(story)
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert ended["exitCode"] == int(code)
    assert ended["reason"] == ("Error" if int(code) else "Completed")
    assert at == pytest.approx(8, abs=0.2)
    ready = next(one for one in pod["status"]["conditions"] if one["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "PodFailed" if int(code) else "PodCompleted")


def test_a_job_like_pod_ends_by_itself():
    async def story(cluster):
        await cluster.create_pod(restartPolicy="OnFailure")
        await cluster.until(lambda: cluster.phase() == "Succeeded", within=10)

    told(story)


def test_a_crash_loop_backs_off_longer_each_time():
    async def story(cluster):
        await cluster.create_pod(annotations={"lifecycle": "crash-loop"})
        starts = []
        last = None
        while len(starts) < 5:
            status = cluster.pod()["status"].get("containerStatuses") or [{}]
            running = status[0].get("state", {}).get("running")
            if running and running["startedAt"] != last:
                last = running["startedAt"]
                starts.append(cluster.clock.monotonic())
            await cluster.clock.sleep(0.1)
        await cluster.until(lambda: "waiting" in cluster.container()["state"])
        await cluster.fleet.flushed()
        return starts, cluster.container(), cluster.phase(), cluster.notes()

    starts, container, phase, notes = told(story)
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    # One second of running, one of starting, and the back-off between them: none, 10, 20, 40.
    assert gaps == pytest.approx([2, 12, 22, 42], abs=0.5)
    assert phase == "Running"
    waiting = container["state"]["waiting"]
    assert waiting["reason"] == "CrashLoopBackOff"
    assert waiting["message"].startswith("back-off 1m20s restarting failed container=c pod=p_default(")
    assert container["lastState"]["terminated"]["exitCode"] == 1
    assert container["restartCount"] == 4
    assert "BackOff" in notes


def test_a_container_heals_after_so_many_crashes():
    async def story(cluster):
        await cluster.create_pod(annotations={"run-seconds": "1", "exit-code": "1", "crashes": "2"})
        await cluster.until(lambda: cluster.phase() == "Running")
        await cluster.clock.sleep(60)
        return cluster.container()

    container = told(story)
    assert container["restartCount"] == 2 and container["ready"]


def test_an_image_that_cannot_be_pulled():
    async def story(cluster):
        await cluster.create_pod(annotations={"lifecycle": "image-pull-failure"})
        reasons = []
        while cluster.clock.monotonic() < 60:
            await cluster.clock.sleep(0.5)
            waiting = cluster.container()["state"]["waiting"]["reason"]
            if not reasons or reasons[-1] != waiting:
                reasons.append(waiting)
        await cluster.fleet.flushed()
        return reasons, cluster.phase(), cluster.container(), cluster.notes()

    reasons, phase, container, notes = told(story)
    assert reasons[:4] == ["ErrImagePull", "ImagePullBackOff", "ErrImagePull", "ImagePullBackOff"]
    assert phase == "Pending"
    assert 'Back-off pulling image "nginx:1"' in container["state"]["waiting"]["message"]
    assert {"Failed", "BackOff"} <= set(notes)


def test_an_image_pull_that_works_at_the_third_attempt():
    async def story(cluster):
        await cluster.create_pod(annotations={"image-pull-failures": "2", "pull-seconds": "1.5"})
        await cluster.until(lambda: cluster.phase() == "Running")
        return cluster.clock.monotonic()

    # Three pulls of 1.5 s, back-offs of 10 and 20, and the start.
    assert told(story) == pytest.approx(4.5 + 30 + 1, abs=0.3)


def test_init_containers_run_one_after_another_before_the_rest():
    async def story(cluster):
        inits = [{"name": "one", "image": "i"}, {"name": "two", "image": "i"}]
        await cluster.create_pod(annotations={"init-seconds": "3"}, initContainers=inits)
        await cluster.clock.sleep(4)
        middle = cluster.pod()["status"]
        await cluster.until(lambda: cluster.phase() == "Running")
        return middle, cluster.pod()["status"], cluster.clock.monotonic()

    middle, status, at = told(story)
    assert middle["phase"] == "Pending"
    one, two = middle["initContainerStatuses"]
    assert one["state"]["terminated"]["reason"] == "Completed" and "running" in two["state"]
    assert middle["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing"
    initialized = next(c for c in middle["conditions"] if c["type"] == "Initialized")
    assert (initialized["status"], initialized["reason"]) == ("False", "ContainersNotInitialized")
    assert initialized["message"] == "containers with incomplete status: [two]"
    assert status["containerStatuses"][0]["ready"]
    assert at == pytest.approx(7, abs=0.2)


def test_a_failing_init_container_fails_a_pod_that_never_restarts():
    async def story(cluster):
        await cluster.create_pod(
            annotations={"init-exit-code": "2"}, initContainers=[{"name": "one", "image": "i"}],
            restartPolicy="Never",
        )  # fmt: skip
        await cluster.until(lambda: cluster.phase() == "Failed")
        return cluster.container(kind="initContainerStatuses")

    assert told(story)["state"]["terminated"]["exitCode"] == 2


def test_a_sidecar_starts_first_and_ends_with_the_pod():
    async def story(cluster):
        sidecar = {"name": "proxy", "image": "i", "restartPolicy": "Always"}
        await cluster.create_pod(
            initContainers=[sidecar], restartPolicy="Never",
            annotations={"run-seconds.c": "5", "run-seconds.proxy": "always"},
        )  # fmt: skip
        await cluster.until(lambda: cluster.phase() == "Running")
        running = cluster.container(kind="initContainerStatuses")
        await cluster.until(lambda: cluster.phase() == "Succeeded")
        return running, cluster.container(kind="initContainerStatuses")

    running, ended = told(story)
    assert running["ready"] and "running" in running["state"]
    assert "terminated" in ended["state"]


def test_a_deleted_pod_is_stopped_then_removed_by_its_node():
    async def story(cluster):
        await cluster.create_pod(annotations={"stop-seconds": "4"})
        await cluster.until(lambda: cluster.phase() == "Running")
        begun = cluster.clock.monotonic()
        await cluster.client.delete("pods", "default", "p")
        still = cluster.pod()["metadata"]["deletionGracePeriodSeconds"]
        await cluster.until(lambda: cluster.pod() is None)
        await cluster.fleet.flushed()
        return still, cluster.clock.monotonic() - begun, await cluster.history(), cluster.notes()

    still, seconds, history, notes = told(story)
    assert still == 30
    assert seconds == pytest.approx(4, abs=0.2)
    asked, stopped, removed = history[-3:]
    assert (asked.actor.user, asked.verb) == ("alice", "delete")
    assert stopped.document["status"]["phase"] == "Succeeded"
    assert stopped.document["status"]["containerStatuses"][0]["state"]["terminated"]["reason"] == "Completed"
    assert (removed.change, removed.actor.user) == ("DELETED", "system:node:node-1")
    assert stopped.cause == removed.cause == asked.revision
    assert "Killing" in notes


def test_a_pod_deleted_before_it_ran_has_failed_for_whoever_holds_it():
    async def story(cluster):
        await cluster.create_pod(annotations={"start-seconds": "60"})
        held = {"metadata": {"finalizers": ["example.com/hold"]}}
        await cluster.until(lambda: cluster.pod()["spec"].get("nodeName"))
        await cluster.client.patch("pods", "default", "p", held)
        await cluster.client.delete("pods", "default", "p")
        await cluster.until(lambda: cluster.phase() == "Failed")
        await cluster.client.patch("pods", "default", "p", {"metadata": {"finalizers": None}})
        await cluster.until(lambda: cluster.pod() is None)

    told(story)


def test_a_container_that_does_not_stop_is_killed_at_the_end_of_its_grace():
    async def story(cluster):
        await cluster.create_pod(annotations={"lifecycle": "stuck"}, terminationGracePeriodSeconds=9)
        await cluster.until(lambda: cluster.phase() == "Running")
        begun = cluster.clock.monotonic()
        await cluster.client.delete("pods", "default", "p")
        await cluster.until(lambda: cluster.pod() is None)
        return cluster.clock.monotonic() - begun, (await cluster.history())[-2].document

    seconds, last = told(story)
    assert seconds == pytest.approx(9, abs=0.2)
    assert last["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137


def test_a_shorter_grace_overtakes_a_longer_one():
    async def story(cluster):
        await cluster.create_pod(annotations={"lifecycle": "stuck"}, terminationGracePeriodSeconds=600)
        await cluster.until(lambda: cluster.phase() == "Running")
        await cluster.client.delete("pods", "default", "p")
        await cluster.clock.sleep(1)
        await cluster.client.delete("pods", "default", "p", grace_period_seconds=2)
        await cluster.until(lambda: cluster.pod() is None, within=10)

    told(story)


def test_a_forced_deletion_frees_the_address_at_once():
    async def story(cluster):
        await cluster.create_pod()
        await cluster.until(lambda: cluster.phase() == "Running")
        await cluster.client.delete("pods", "default", "p", grace_period_seconds=0)
        await cluster.clock.sleep(1)
        return cluster.fleet.agents["node-1"].workers

    assert told(story) == {}


def test_addresses_are_not_given_twice_while_held():
    async def story(cluster):
        for number in range(30):
            await cluster.create_pod(f"p{number}")
        await cluster.until(lambda: all(cluster.phase(f"p{n}") == "Running" for n in range(30)))
        return [cluster.pod(f"p{number}")["status"]["podIP"] for number in range(30)]

    addresses = told(story)
    assert len(set(addresses)) == 30


def test_a_pod_on_the_host_network_has_its_nodes_address():
    async def story(cluster):
        await cluster.create_pod(hostNetwork=True)
        await cluster.until(lambda: cluster.phase() == "Running")
        return cluster.pod()["status"]

    status = told(story)
    assert status["podIP"] == status["hostIP"]


def test_a_deadline_ends_a_pod():
    async def story(cluster):
        await cluster.create_pod(activeDeadlineSeconds=5)
        await cluster.until(lambda: cluster.phase() == "Failed")
        return cluster.pod()["status"], cluster.clock.monotonic()

    status, at = told(story)
    assert status["reason"] == "DeadlineExceeded"
    assert at == pytest.approx(5.5, abs=0.3)


def test_a_deadline_that_is_set_later_counts_from_the_start():
    async def story(cluster):
        await cluster.create_pod()
        await cluster.until(lambda: cluster.phase() == "Running")
        await cluster.clock.sleep(20)
        await cluster.client.patch("pods", "default", "p", {"spec": {"activeDeadlineSeconds": 40}})
        began = cluster.clock.monotonic()
        await cluster.until(lambda: cluster.phase() == "Failed")
        assert cluster.pod()["status"]["reason"] == "DeadlineExceeded"
        assert 15 <= cluster.clock.monotonic() - began <= 25

    told(story)


def test_bad_annotations_give_an_event_and_the_default():
    async def story(cluster):
        bad = {"start-seconds": "soon", "exit-code": "999", "lifecycle": "chaos"}
        await cluster.create_pod(annotations=bad)
        await cluster.until(lambda: cluster.phase() == "Running")
        await cluster.fleet.flushed()
        notes = [e.document for e in cluster.objects.list("events")]
        return sorted(n["message"] for n in notes if n["reason"] == "InvalidSimulation")

    messages = told(story)
    assert len(messages) == 3
    assert messages[0] == "simulation.ksql.dev/exit-code: '999' is not an exit code from 0 to 255"
    assert "'chaos' is none of serve" in messages[1]


def test_a_readiness_gate_holds_readiness_back():
    async def story(cluster):
        await cluster.create_pod(readinessGates=[{"conditionType": "example.com/feature"}])
        await cluster.until(lambda: cluster.phase() == "Running")
        ready = next(c for c in cluster.pod()["status"]["conditions"] if c["type"] == "Ready")
        gate = {"type": "example.com/feature", "status": "True", "lastTransitionTime": "2030-01-01T00:00:00Z"}
        patch = {"status": {"conditions": [gate]}}
        await cluster.client.patch("pods", "default", "p", patch, kind="strategic", subresource="status")
        await cluster.until(lambda: conditions(cluster.pod())["Ready"] == "True")
        return ready, conditions(cluster.pod())

    ready, after = told(story)
    assert (ready["status"], ready["reason"]) == ("False", "ReadinessGatesNotReady")
    assert after["example.com/feature"] == "True"


def test_running_pods_are_adopted_by_the_next_process():
    async def story(cluster):
        await cluster.create_pod("serves")
        await cluster.create_pod("ends", annotations={"run-seconds": "30"}, restartPolicy="Never")
        await cluster.until(lambda: cluster.phase("serves") == cluster.phase("ends") == "Running")
        await cluster.fleet.flushed()
        before, head = cluster.pod("serves"), cluster.log.head
        await cluster.fleet.aclose()
        await cluster.clock.sleep(5)
        await cluster.start_fleet()
        await cluster.create_pod("new")
        await cluster.until(lambda: cluster.phase("new") == "Running")
        addresses = {cluster.pod(name)["status"]["podIP"] for name in ("serves", "ends", "new")}
        await cluster.until(lambda: cluster.phase("ends") == "Succeeded")
        return before, cluster.pod("serves"), addresses, cluster.clock.monotonic(), head

    before, after, addresses, at, _ = told(story)
    assert after == before
    assert len(addresses) == 3
    # Its thirty seconds were counted from its own start, not from the agent's.
    assert at == pytest.approx(31, abs=0.3)


def test_status_survives_somebody_elses_label():
    async def story(cluster):
        await cluster.create_pod(annotations={"ready-seconds": "3"})
        await cluster.until(lambda: cluster.phase() == "Running")
        await cluster.client.patch("pods", "default", "p", {"metadata": {"labels": {"mine": "yes"}}})
        await cluster.until(lambda: conditions(cluster.pod())["Ready"] == "True")
        return cluster.pod()["metadata"]["labels"]

    assert told(story)["mine"] == "yes"


