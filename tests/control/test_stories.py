"""All controllers at once, over the real pipeline on virtual time: what people do, and what becomes of it."""

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ksql.base.clock import VirtualClock, run_virtual
from ksql.base.documents import Document
from ksql.control.deployment_revision import REVISION
from ksql.log.event import Change, Event
from ksql.schema.errors import TooManyRequestsError
from ksql.simulation import Simulation

Story = Callable[[Simulation], Awaitable[None]]


def told(story: Story, seed: int = 1) -> None:
    async def main(clock: VirtualClock) -> None:
        async with Simulation(clock, nodes=3) as cluster:
            await story(cluster)

    run_virtual(main, seed=seed)


def deployment(name: str = "web", replicas: int = 3, image: str = "web:1", **spec: Any) -> Document:
    labels = {"app": name}
    containers = [{"name": "c", "image": image, "ports": [{"name": "http", "containerPort": 8080}]}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
            **spec,
        },
    }


def service(name: str = "web") -> Document:
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"app": name}, "ports": ports},
    }


def condition(document: Document | None, type: str) -> Document:
    assert document is not None
    return next(each for each in document["status"]["conditions"] if each["type"] == type)


async def events(cluster: Simulation, after: int = 0) -> list[Event]:
    found: list[Event] = []
    while page := await cluster.log.read(after, 1000):
        found += page
        after = page[-1].revision
    return found


def sizes(cluster: Simulation) -> dict[str, int]:
    return {
        each["metadata"]["annotations"][REVISION]: each["spec"]["replicas"]
        for each in cluster.list("replicasets.apps", "default")
    }


def test_a_rollout_and_its_undoing_settle_and_then_nothing_is_written() -> None:
    async def story(cluster: Simulation) -> None:
        await cluster.apply(service())
        await cluster.apply(deployment())
        await cluster.until(lambda: cluster.running("default") == 3)
        await cluster.settle()
        await cluster.apply(deployment(image="web:2"))
        await cluster.settle()
        assert sizes(cluster) == {"1": 0, "2": 3}
        await cluster.apply(deployment(image="web:1"))
        settled = await cluster.settle()
        assert sizes(cluster) == {"2": 0, "3": 3}
        web = cluster.get("deployments.apps", "default", "web")
        assert condition(web, "Progressing")["reason"] == "NewReplicaSetAvailable"
        assert cluster.running("default") == 3
        await cluster.clock.sleep(280)
        authors = {
            event.actor.user
            for event in await events(cluster, settled)
            if event.stream.resource != "nodes" and not event.transient
        }
        assert authors == set()

    told(story)


def test_every_write_of_a_controller_has_a_cause_and_the_chain_ends_at_a_person_or_the_server() -> None:
    async def story(cluster: Simulation) -> None:
        await cluster.apply(service())
        await cluster.apply(deployment(minReadySeconds=10))
        await cluster.settle()
        after = await cluster.settle()
        await cluster.apply(deployment(image="web:2", minReadySeconds=10), user="alice")
        await cluster.settle()
        by_revision = {event.revision: event for event in await events(cluster)}
        controllers = [
            event
            for event in by_revision.values()
            if event.actor.user.startswith("system:serviceaccount:kube-system:")
        ]
        assert len(controllers) > 50
        for event in controllers:
            assert event.cause is not None, event
            assert event.cause < event.revision
        for event in controllers:
            if event.revision <= after or event.stream.resource != "pods":
                continue
            first = event
            while first.cause is not None:
                first = by_revision[first.cause]
            assert first.actor.user == "alice"

    told(story)


def test_deleting_a_deployment_takes_everything_below_it_and_its_endpoints_empty() -> None:
    async def story(cluster: Simulation) -> None:
        await cluster.apply(service())
        await cluster.apply(deployment())
        await cluster.until(lambda: cluster.running("default") == 3)
        await cluster.user().delete("deployments.apps", "default", "web")
        await cluster.settle()
        assert not cluster.list("replicasets.apps", "default")
        assert not cluster.list("pods", "default")
        [piece] = [
            each
            for each in cluster.list("endpointslices.discovery.k8s.io", "default")
            if each["metadata"]["name"].startswith("web-")
        ]
        assert not piece["endpoints"]
        await cluster.user().delete("services", "default", "web")
        await cluster.settle()
        names = [each["metadata"]["name"] for each in cluster.list("endpoints", "default")]
        assert "web" not in names
        assert not any(
            each["metadata"]["name"].startswith("web-")
            for each in cluster.list("endpointslices.discovery.k8s.io", "default")
        )

    told(story)


def test_a_foreground_deletion_ends_from_the_leaves_up() -> None:
    async def story(cluster: Simulation) -> None:
        await cluster.apply(deployment())
        await cluster.until(lambda: cluster.running("default") == 3)
        before = cluster.log.head
        await cluster.user().delete("deployments.apps", "default", "web", propagation_policy="Foreground")
        await cluster.settle()
        gone = [
            event.stream.resource
            for event in await events(cluster, before)
            if event.change == "DELETED"
            and event.stream.resource in ("pods", "replicasets.apps", "deployments.apps")
        ]
        assert gone == ["pods"] * 3 + ["replicasets.apps", "deployments.apps"]

    told(story)


def test_orphans_outlive_their_owner_and_are_taken_in_by_the_next() -> None:
    async def story(cluster: Simulation) -> None:
        await cluster.apply(deployment())
        await cluster.until(lambda: cluster.running("default") == 3)
        pods = [each["metadata"]["uid"] for each in cluster.list("pods", "default")]
        await cluster.user().delete("deployments.apps", "default", "web", propagation_policy="Orphan")
        await cluster.settle()
        assert cluster.get("deployments.apps", "default", "web") is None
        [replicaset] = cluster.list("replicasets.apps", "default")
        assert not replicaset["metadata"].get("ownerReferences")
        await cluster.apply(deployment())
        await cluster.settle()
        assert [each["metadata"]["uid"] for each in cluster.list("pods", "default")] == pods
        [replicaset] = cluster.list("replicasets.apps", "default")
        assert replicaset["metadata"]["ownerReferences"][0]["kind"] == "Deployment"

    told(story)


def test_a_relabelled_pod_is_let_go_and_replaced_and_the_relabelling_is_the_cause() -> None:
    async def story(cluster: Simulation) -> None:
        await cluster.apply(deployment(replicas=1))
        await cluster.until(lambda: cluster.running("default") == 1)
        await cluster.settle()
        [pod] = cluster.list("pods", "default")
        name = pod["metadata"]["name"]
        patch = {"metadata": {"labels": {"app": "debug"}}}
        changed = await cluster.user("bob").patch("pods", "default", name, patch)
        await cluster.settle()
        assert cluster.running("default") == 2
        freed = cluster.get("pods", "default", name)
        assert freed is not None
        assert not freed["metadata"].get("ownerReferences")
        release = next(
            event
            for event in await events(cluster, int(changed["metadata"]["resourceVersion"]))
            if event.stream.name == name and "replicaset" in event.actor.user
        )
        assert release.cause == int(changed["metadata"]["resourceVersion"])

    told(story)


def test_a_namespace_goes_with_everything_in_it() -> None:
    async def story(cluster: Simulation) -> None:
        user = cluster.user()
        await user.create("namespaces", {"metadata": {"name": "shop"}})
        for document in (service(), deployment()):
            await cluster.apply(
                {**document, "metadata": {**document["metadata"], "namespace": "shop"}}
            )
        await user.create("configmaps", {"metadata": {"name": "c", "namespace": "shop"}, "data": {"a": "b"}})
        await cluster.until(lambda: cluster.running("shop") == 3)
        await user.delete("namespaces", "", "shop")
        await cluster.until(lambda: cluster.get("namespaces", "", "shop") is None, within_seconds=120)
        await cluster.settle()
        left = [
            (type.key, entry.stream.name)
            for type in cluster.catalogue.types
            if type.namespaced
            for entry in cluster.objects.list(type.key, "shop")
        ]
        assert left == []

    told(story)


def test_a_namespace_says_what_it_waits_for_and_goes_when_that_is_over() -> None:
    async def story(cluster: Simulation) -> None:
        user = cluster.user()
        await user.create("namespaces", {"metadata": {"name": "shop"}})
        held = {"metadata": {"name": "c", "namespace": "shop", "finalizers": ["example.com/hold"]}}
        await user.create("configmaps", held)
        await user.delete("namespaces", "", "shop")
        await cluster.clock.sleep(10)
        told = cluster.get("namespaces", "", "shop")["status"]["conditions"]
        assert [(one["type"], one["status"]) for one in told] == [
            ("NamespaceDeletionDiscoveryFailure", "False"),
            ("NamespaceDeletionGroupVersionParsingFailure", "False"),
            ("NamespaceDeletionContentFailure", "False"),
            ("NamespaceContentRemaining", "True"),
            ("NamespaceFinalizersRemaining", "True"),
        ]
        content = condition(cluster.get("namespaces", "", "shop"), "NamespaceContentRemaining")
        assert content["message"] == "Some resources are remaining: configmaps. has 1 resource instances"
        await user.patch("configmaps", "shop", "c", {"metadata": {"finalizers": None}})
        await cluster.until(lambda: cluster.get("namespaces", "", "shop") is None)

    told(story)


def test_new_namespaces_get_their_default_account() -> None:
    async def story(cluster: Simulation) -> None:
        await cluster.user().create("namespaces", {"metadata": {"name": "shop"}})
        await cluster.until(lambda: cluster.get("serviceaccounts", "shop", "default"))
        await cluster.user().delete("serviceaccounts", "shop", "default")
        await cluster.until(lambda: cluster.get("serviceaccounts", "shop", "default"))

    told(story)


def test_objects_of_absent_owners_go_and_of_unknown_kinds_stay() -> None:
    async def story(cluster: Simulation) -> None:
        user = cluster.user()

        def owned(name: str, owner: Document) -> Document:
            return {"metadata": {"name": name, "namespace": "default", "ownerReferences": [owner]}}

        absent = {"apiVersion": "v1", "kind": "ConfigMap", "name": "never", "uid": "no-such-uid"}
        foreign = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "uid": "widget-uid"}
        await user.create("configmaps", owned("orphan", absent))
        await user.create("configmaps", owned("of-a-widget", foreign))
        # The name is there, but it is another's: the owner meant is gone all the same.
        await user.create("configmaps", {"metadata": {"name": "never", "namespace": "default"}})
        await cluster.settle()
        names = [each["metadata"]["name"] for each in cluster.list("configmaps", "default")]
        assert names == ["never", "of-a-widget"]

    told(story)


def test_an_owner_in_another_namespace_holds_nothing_but_what_lies_beside_it() -> None:
    async def story(cluster: Simulation) -> None:
        user = cluster.user()
        await user.create("namespaces", {"metadata": {"name": "shop"}})
        owner = await user.create("configmaps", {"metadata": {"name": "owner", "namespace": "shop"}})
        ref = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
        for namespace in ("default", "shop"):
            metadata = {"name": "owned", "namespace": namespace, "ownerReferences": [ref]}
            await user.create("configmaps", {"metadata": metadata})
        await cluster.until(lambda: cluster.get("configmaps", "default", "owned") is None)
        said = [each for each in cluster.list("events", "default") if each["reason"] == "OwnerRefInvalidNamespace"]
        assert said[0]["message"].endswith('does not exist in namespace "default"')
        # Looked at once more, the one beside its owner is still held by it.
        again = {"metadata": {"ownerReferences": [{**ref, "controller": True}]}}
        await user.patch("configmaps", "shop", "owned", again)
        await cluster.clock.sleep(10)
        assert cluster.get("configmaps", "shop", "owned") is not None
        await user.delete("configmaps", "shop", "owner")
        await cluster.until(lambda: cluster.get("configmaps", "shop", "owned") is None)

    told(story)


def test_a_circle_of_owners_goes_in_the_foreground() -> None:
    async def story(cluster: Simulation) -> None:
        user = cluster.user()
        first = await user.create("configmaps", {"metadata": {"name": "a", "namespace": "default"}})

        def held_by(owner: Document) -> list[Document]:
            meta = owner["metadata"]
            return [{
                "apiVersion": "v1", "kind": "ConfigMap", "name": meta["name"], "uid": meta["uid"],
                "blockOwnerDeletion": True,
            }]  # fmt: skip

        second = await user.create(
            "configmaps",
            {"metadata": {"name": "b", "namespace": "default", "ownerReferences": held_by(first)}},
        )
        await user.patch("configmaps", "default", "a", {"metadata": {"ownerReferences": held_by(second)}})
        await cluster.settle()
        assert len(cluster.list("configmaps", "default")) == 2
        await user.delete("configmaps", "default", "a", propagation_policy="Foreground")
        await cluster.settle()
        assert cluster.list("configmaps", "default") == []

    told(story)


def test_a_refusal_is_reported_in_the_replicaset_and_its_deployment() -> None:
    async def story(cluster: Simulation) -> None:
        # A template that is well formed for a ReplicaSet, and whose pods are refused: no such account.
        refused = deployment(replicas=2)
        refused["spec"]["template"]["spec"]["serviceAccountName"] = "absent"
        await cluster.apply(refused)
        await cluster.clock.sleep(60)
        assert not cluster.list("pods", "default")
        [replicaset] = cluster.list("replicasets.apps", "default")
        assert condition(replicaset, "ReplicaFailure")["reason"] == "FailedCreate"
        web = cluster.get("deployments.apps", "default", "web")
        assert condition(web, "ReplicaFailure")["status"] == "True"
        await cluster.user().create(
            "serviceaccounts", {"metadata": {"name": "absent", "namespace": "default"}}
        )
        await cluster.until(lambda: cluster.running("default") == 2, within_seconds=600)
        await cluster.settle()
        [replicaset] = cluster.list("replicasets.apps", "default")
        assert not replicaset["status"].get("conditions")

    told(story)


def test_events_go_after_their_hour() -> None:
    async def story(cluster: Simulation) -> None:
        await cluster.apply(deployment(replicas=1))
        await cluster.until(lambda: cluster.running("default") == 1)
        assert cluster.list("events", "default")
        await cluster.clock.sleep(3700)
        assert not cluster.list("events", "default")

    told(story)


def test_a_rollout_of_a_broken_image_stops_and_says_so_after_its_deadline() -> None:
    async def story(cluster: Simulation) -> None:
        await cluster.apply(deployment(replicas=4, progressDeadlineSeconds=60))
        await cluster.until(lambda: cluster.running("default") == 4)
        await cluster.settle()
        broken = deployment(replicas=4, image="web:broken", progressDeadlineSeconds=60)
        broken["spec"]["template"]["spec"]["nodeSelector"] = {"no": "such-node"}
        await cluster.apply(broken)
        await cluster.clock.sleep(90)
        web = cluster.get("deployments.apps", "default", "web")
        assert condition(web, "Progressing")["reason"] == "ProgressDeadlineExceeded"
        assert condition(web, "Available")["status"] == "True"
        assert sizes(cluster) == {"1": 3, "2": 2}

    told(story)


def test_the_same_seed_tells_the_same_story() -> None:
    digests = []
    for _ in range(2):

        async def story(cluster: Simulation) -> None:
            await cluster.apply(service())
            await cluster.apply(deployment(replicas=5))
            await cluster.settle()
            await cluster.apply(deployment(replicas=5, image="web:2"))
            await cluster.settle()
            digests.append([(event.revision, event.cause, event.payload) for event in await events(cluster)])

        told(story, seed=7)
    assert digests[0] == digests[1]


def test_a_replication_controller_keeps_its_number_and_takes_in_strays() -> None:
    async def story(cluster: Simulation) -> None:
        containers = [{"name": "c", "image": "web:1"}]
        template = {"metadata": {"labels": {"app": "old"}}, "spec": {"containers": containers}}
        stray = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stray", "namespace": "default",
                 "labels": {"app": "old"}}, "spec": {"containers": containers}}  # fmt: skip
        await cluster.apply(stray)
        elder = {
            "apiVersion": "v1",
            "kind": "ReplicationController",
            "metadata": {"name": "old", "namespace": "default"},
            "spec": {"replicas": 3, "selector": {"app": "old"}, "template": template},
        }
        await cluster.apply(elder)
        await cluster.until(lambda: cluster.running("default") == 3)
        await cluster.settle()
        found = cluster.get("replicationcontrollers", "default", "old")
        assert found is not None and found["status"]["availableReplicas"] == 3
        owners = {each["metadata"]["name"]: each["metadata"]["ownerReferences"][0]["kind"]
                  for each in cluster.list("pods", "default")}  # fmt: skip
        assert owners["stray"] == "ReplicationController" and len(owners) == 3
        await cluster.apply({**elder, "spec": {**elder["spec"], "replicas": 1}})  # type: ignore[dict-item]
        await cluster.settle()
        assert len(cluster.list("pods", "default")) == 1

    told(story)


def test_a_budget_lets_evictions_pass_one_by_one() -> None:
    async def story(cluster: Simulation) -> None:
        await cluster.apply(deployment(replicas=3))
        budget = {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "guard", "namespace": "default"},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}},
        }
        await cluster.apply(budget)
        await cluster.until(lambda: cluster.running("default") == 3)
        await cluster.settle()

        def allowed() -> int:
            found = cluster.get("poddisruptionbudgets.policy", "default", "guard")
            assert found is not None
            return int(found["status"]["disruptionsAllowed"])

        async def evict(name: str) -> None:
            named = {"name": name, "namespace": "default"}
            eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": named}
            await cluster.user().create("pods", eviction, subresource="eviction")

        assert allowed() == 1
        pods = [each["metadata"]["name"] for each in cluster.list("pods", "default")]
        await evict(pods[0])
        with pytest.raises(TooManyRequestsError):
            await evict(pods[1])
        await cluster.settle()
        assert allowed() == 1 and cluster.running("default") == 3
        await evict(pods[1])
        await cluster.settle()

    told(story)


def test_a_daemon_runs_on_every_node_rolls_and_is_taken_back() -> None:
    async def story(cluster: Simulation) -> None:
        def agent(image: str) -> Document:
            containers = [{"name": "c", "image": image}]
            return {
                "apiVersion": "apps/v1",
                "kind": "DaemonSet",
                "metadata": {"name": "agent", "namespace": "default"},
                "spec": {
                    "selector": {"matchLabels": {"app": "agent"}},
                    "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": containers}},
                },
            }

        def status(key: str) -> int:
            found = cluster.get("daemonsets.apps", "default", "agent")
            return int((found or {}).get("status", {}).get(key, -1))

        await cluster.apply(agent("agent:1"))
        await cluster.until(lambda: status("numberAvailable") == 3)
        nodes = {each["spec"]["nodeName"] for each in cluster.list("pods", "default")}
        assert len(nodes) == 3
        start = await cluster.settle()
        await cluster.apply(agent("agent:2"))
        await cluster.settle()
        assert status("updatedNumberScheduled") == status("numberAvailable") == 3
        images = {each["spec"]["containers"][0]["image"] for each in cluster.list("pods", "default")}
        assert images == {"agent:2"}
        # Never more than one node without an available pod.
        for event in await events(cluster, start):
            if event.stream.resource == "daemonsets.apps" and event.document["status"].get("numberUnavailable", 0) > 1:
                raise AssertionError(f"r{event.revision}: {event.document['status']}")
        await cluster.apply(agent("agent:1"))
        await cluster.settle()
        numbers = sorted(each["revision"] for each in cluster.list("controllerrevisions.apps", "default"))
        assert numbers == [2, 3]
        settled = await cluster.settle()
        assert await cluster.settle() == settled

    told(story)


def test_a_stateful_set_comes_up_in_order_rolls_from_above_and_goes_down_in_order() -> None:
    async def story(cluster: Simulation) -> None:
        def database(image: str, replicas: int = 3) -> Document:
            containers = [{"name": "c", "image": image}]
            return {
                "apiVersion": "apps/v1",
                "kind": "StatefulSet",
                "metadata": {"name": "db", "namespace": "default"},
                "spec": {
                    "replicas": replicas,
                    "serviceName": "db",
                    "selector": {"matchLabels": {"app": "db"}},
                    "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": containers}},
                },
            }

        async def named(change: Change, after: int) -> list[str]:
            found = await events(cluster, after)
            return [each.stream.name for each in found if each.stream.resource == "pods" and each.change is change]

        await cluster.apply(database("db:1"))
        await cluster.until(lambda: cluster.running("default") == 3)
        start = await cluster.settle()
        assert await named(Change.ADDED, 0) == ["db-0", "db-1", "db-2"]
        await cluster.apply(database("db:2"))
        rolled = await cluster.settle()
        assert await named(Change.DELETED, start) == ["db-2", "db-1", "db-0"]
        status = (cluster.get("statefulsets.apps", "default", "db") or {})["status"]
        assert status["currentRevision"] == status["updateRevision"] and status["availableReplicas"] == 3
        await cluster.apply(database("db:2", 1))
        last = await cluster.settle()
        assert await named(Change.DELETED, rolled) == ["db-2", "db-1"]
        assert await cluster.settle() == last

    told(story)


def job(name: str = "work", **spec: Any) -> Document:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "work:1"}]}},
            **spec,
        },
    }


def test_a_job_runs_to_its_end_and_goes_with_its_pods_when_its_time_is_up() -> None:
    async def story(cluster: Simulation) -> None:
        await cluster.apply(job(completions=5, parallelism=2, ttlSecondsAfterFinished=100))

        def found() -> Document:
            return cluster.get("jobs.batch", "default", "work") or {"status": {}}

        await cluster.until(lambda: found()["status"].get("completionTime"))
        assert found()["status"]["succeeded"] == 5 and condition(found(), "Complete")["status"] == "True"
        await cluster.until(lambda: cluster.get("jobs.batch", "default", "work") is None, within_seconds=200)
        await cluster.settle()
        assert cluster.list("pods", "default") == []

    told(story)


def test_a_job_whose_pods_fail_fails_after_its_limit_and_waits_longer_each_time() -> None:
    async def story(cluster: Simulation) -> None:
        failing = job(backoffLimit=2)
        failing["spec"]["template"]["metadata"] = {"annotations": {"simulation.ksql.dev/lifecycle": "fail"}}
        await cluster.apply(failing)
        await cluster.until(
            lambda: any(
                each["type"] == "Failed"
                for each in (cluster.get("jobs.batch", "default", "work") or {})["status"].get("conditions", ())
            ),
            within_seconds=300,
        )
        await cluster.settle()
        status = (cluster.get("jobs.batch", "default", "work") or {})["status"]
        assert status["failed"] == 3 and condition({"status": status}, "Failed")["reason"] == "BackoffLimitExceeded"
        made = [each.time for each in await events(cluster)
                if each.stream.resource == "pods" and each.change is Change.ADDED]  # fmt: skip
        gaps = [(later - sooner).total_seconds() for sooner, later in itertools.pairwise(made)]
        assert len(gaps) == 2 and gaps[1] > gaps[0] > 10
        assert not [each for each in cluster.list("pods", "default") if each["metadata"].get("finalizers")]

    told(story)


def test_an_indexed_job_completes_each_index_once_though_a_node_is_lost() -> None:
    async def story(cluster: Simulation) -> None:
        await cluster.apply(job(completions=6, parallelism=3, completionMode="Indexed"))
        await cluster.until(lambda: cluster.running("default") >= 2)
        for each in list(cluster.list("pods", "default"))[:1]:
            await cluster.user().delete("pods", "default", each["metadata"]["name"])
        await cluster.until(
            lambda: (cluster.get("jobs.batch", "default", "work") or {})["status"].get("completionTime"),
            within_seconds=300,
        )
        status = (cluster.get("jobs.batch", "default", "work") or {})["status"]
        assert (status["completedIndexes"], status["succeeded"]) == ("0-5", 6)

    told(story)


def test_a_cron_job_starts_a_job_a_minute_and_keeps_three() -> None:
    async def story(cluster: Simulation) -> None:
        spec = {"schedule": "* * * * *", "jobTemplate": {"spec": job()["spec"]}}
        named = {"name": "report", "namespace": "default"}
        report = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": named, "spec": spec}
        await cluster.apply(report)
        await cluster.clock.sleep(60 * 6)
        jobs = cluster.list("jobs.batch", "default")
        assert 3 <= len(jobs) <= 4
        status = (cluster.get("cronjobs.batch", "default", "report") or {})["status"]
        assert status["lastScheduleTime"] and status["lastSuccessfulTime"]
        await cluster.user().delete("cronjobs.batch", "default", "report")
        await cluster.settle()
        assert cluster.list("jobs.batch", "default") == [] and cluster.list("pods", "default") == []

    told(story)
