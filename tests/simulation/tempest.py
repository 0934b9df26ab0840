"""Seeded tempests: what people and machines do to a cluster while the door to it is unreliable.

A seed chooses the workloads, the faults and the deeds. `Tempest.play` does them one after another with random pauses,
then calms everything, waits until it is quiet, and holds the invariants once more.
"""

import contextlib
from random import Random

from ksql.base.clock import run_virtual
from ksql.control.volumes.provisioning import SIMULATED
from ksql.schema.errors import ApiError
from ksql.simulation import Simulation
from ksql.simulation.faults import Rates
from tests.simulation.invariants import Invariants
from tests.simulation.stories import deployment

PAUSES = (0, 0, 0.05, 0.5, 2, 8, 30, 90)
STEPS = 14
LATE_SECONDS = 2000
NODES = 4
FAULTY = Rates(
    crash=0.015, refused=0.02, unanswered=0.02, late=0.3, lag_seconds=4.0, twice=0.1, ended=0.05, gone=0.02
)  # fmt: skip


def pod_spec(image="app:1", **more):
    container = {"name": "c", "image": image, "resources": {"requests": {"cpu": "100m"}}}
    return {"containers": [container], "terminationGracePeriodSeconds": 5, **more}


def document(kind, name, spec, api="apps/v1", **metadata):
    return {
        "apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "default", **metadata}, "spec": spec
    }  # fmt: skip


def template(name, image, annotations=None, **more):
    metadata = {"labels": {"app": name}}
    if annotations:
        metadata["annotations"] = {f"simulation.ksql.dev/{k}": v for k, v in annotations.items()}
    return {"metadata": metadata, "spec": pod_spec(image, **more)}


def selecting(name, image, **more):
    return {"selector": {"matchLabels": {"app": name}}, "template": template(name, image), **more}


STORAGE = {
    "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": SIMULATED, "reclaimPolicy": "Delete",
    "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
}  # fmt: skip


class Workload:
    """One workload of a tempest: how it is made, what can be done to it."""

    def __init__(self, random, name):
        self.random, self.name, self.image, self.replicas = random, name, 1, random.randint(1, 5)
        self.choose()

    def choose(self):
        """Draw what stays the same for its whole life."""

    @property
    def app(self):
        return f"app:{self.image}"

    def change(self):
        if self.random.random() < 0.5:
            self.image = self.random.randint(1, 3)
        else:
            self.replicas = self.random.randint(0, 6)


class Rolling(Workload):
    key = "deployments.apps"

    def choose(self):
        surge, missing = self.random.choice(((1, 0), (0, 1), (2, 1), ("25%", "25%"), ("50%", 0)))
        self.strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": missing}}
        self.min_ready = self.random.choice((0, 0, 3))

    def document(self):
        more = {"strategy": self.strategy, "minReadySeconds": self.min_ready, "revisionHistoryLimit": 2}
        return deployment(self.name, self.replicas, self.app, **more)


class Recreated(Workload):
    key = "deployments.apps"

    def document(self):
        return deployment(self.name, self.replicas, self.app, strategy={"type": "Recreate"})


class Bare(Workload):
    key = "replicasets.apps"

    def document(self):
        return document("ReplicaSet", self.name, selecting(self.name, self.app, replicas=self.replicas))


class Ordered(Workload):
    key = "statefulsets.apps"

    def choose(self):
        self.policy = self.random.choice(("OrderedReady", "OrderedReady", "Parallel"))
        self.claims = self.random.random() < 0.4
        self.replicas = self.random.randint(1, 3)

    def change(self):
        super().change()
        self.replicas = min(self.replicas, 4)

    def document(self):
        more = {"podManagementPolicy": self.policy, "serviceName": self.name, "replicas": self.replicas}
        if self.claims:
            claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
            more["volumeClaimTemplates"] = [{"metadata": {"name": "data"}, "spec": claim}]
            more["persistentVolumeClaimRetentionPolicy"] = {"whenDeleted": "Delete", "whenScaled": "Retain"}
        return document("StatefulSet", self.name, selecting(self.name, self.app, **more))


class Daemons(Workload):
    key = "daemonsets.apps"

    def document(self):
        return document("DaemonSet", self.name, selecting(self.name, self.app))


class Batch(Workload):
    key = "jobs.batch"

    def choose(self):
        random = self.random
        spec = {"completions": random.randint(1, 6), "parallelism": random.randint(1, 3)}
        lives = {"run-seconds": str(random.choice((1, 4, 20)))}
        if random.random() < 0.4:
            spec["completionMode"] = "Indexed"
        if random.random() < 0.3:
            lives |= {"lifecycle": "fail"}
            spec["backoffLimit"] = random.randint(0, 3)
        if random.random() < 0.3:
            spec["podReplacementPolicy"] = "Failed"
        if random.random() < 0.2:
            spec["ttlSecondsAfterFinished"] = 30
        self.spec, self.lives, self.is_suspended = spec, lives, False

    def change(self):
        self.is_suspended = not self.is_suspended
        if self.random.random() < 0.5:
            self.spec["parallelism"] = self.random.randint(1, 4)

    def document(self):
        made = {"metadata": {"annotations": {f"simulation.ksql.dev/{k}": v for k, v in self.lives.items()}}}
        made["spec"] = pod_spec(restartPolicy="Never")
        spec = {**self.spec, "suspend": self.is_suspended, "template": made}
        return document("Job", self.name, spec, "batch/v1")


class Reports(Workload):
    key = "cronjobs.batch"

    def choose(self):
        self.concurrency = self.random.choice(("Allow", "Forbid", "Replace"))
        self.seconds = self.random.choice(("5", "100"))

    def change(self):
        pass

    def document(self):
        made = {"metadata": {"annotations": {"simulation.ksql.dev/run-seconds": self.seconds}}}
        made["spec"] = pod_spec(restartPolicy="Never")
        spec = {"schedule": "* * * * *", "concurrencyPolicy": self.concurrency}
        return document("CronJob", self.name, {**spec, "jobTemplate": {"spec": {"template": made}}}, "batch/v1")


KINDS = (Rolling, Rolling, Recreated, Bare, Ordered, Ordered, Daemons, Batch, Batch, Reports)


class Tempest:
    """One seed's story."""

    def __init__(self, cluster, seed, watch):
        self.cluster, self.random, self.watch = cluster, Random(f"tempest {seed}"), watch
        chosen = self.random.sample(KINDS, self.random.randint(2, 4))
        self.workloads = [kind(self.random, f"w{number}") for number, kind in enumerate(chosen)]
        self.there, self.down, self.cordoned = {}, [], set()
        self.peaceful = watch.peaceful
        self.said, self.stepped = [], 0

    @property
    def user(self):
        return self.cluster.user("alice")

    async def play(self):
        await self.furnish()
        for _ in range(STEPS):
            deed = self.random.choice(self.deeds())
            self.said.append(deed.__name__)
            with contextlib.suppress(ApiError):
                await deed()
            await self.cluster.clock.sleep(self.random.choice(PAUSES))
            self.watch.hold()
        await self.calm()

    def deeds(self):
        deeds = [self.apply, self.apply, self.apply, self.change, self.change, self.change, self.drop, self.step_clock]
        if not self.peaceful:
            deeds += [
                self.kill_pod, self.kill_pod, self.evict, self.evict, self.fail_node, self.recover_node, self.cordon,
                self.delete_node, self.disown, self.crash,
            ]  # fmt: skip
        return deeds

    async def furnish(self):
        """A service and a budget for the first workload, and for some seeds a quota over all."""
        await self.cluster.apply(STORAGE)
        name = self.workloads[0].name
        ports = {"selector": {"app": name}, "ports": [{"port": 80}]}
        await self.cluster.apply(document("Service", name, ports, "v1"))
        if self.random.random() < 0.5:
            budget = {"selector": {"matchLabels": {"app": name}}, "maxUnavailable": 1}
            await self.cluster.apply(document("PodDisruptionBudget", name, budget, "policy/v1"))
        self.is_limited = self.random.random() < 0.25
        if self.is_limited:
            hard = {"hard": {"pods": str(self.random.randint(4, 9)), "requests.cpu": "800m"}}
            await self.cluster.apply(document("ResourceQuota", "all", hard, "v1"))

    async def apply(self):
        missing = [one for one in self.workloads if one.name not in self.there]
        one = self.random.choice(missing or self.workloads)
        await self.cluster.apply(one.document(), "alice")
        self.there[one.name] = one

    async def change(self):
        if not self.there:
            return await self.apply()
        one = self.there[self.random.choice(sorted(self.there))]
        one.change()
        await self.cluster.apply(one.document(), "alice")
        return None

    async def drop(self):
        if len(self.there) < 2:
            return
        name = self.random.choice(sorted(self.there))
        policy = self.random.choice(("Background", "Foreground", "Orphan"))
        one = self.there.pop(name)
        await self.user.delete(one.key, "default", name, propagation_policy=policy)
        if policy == "Orphan":
            # What was let go is nobody's: people clear it away.
            await self.cluster.clock.sleep(20)
            for resource in ("replicasets.apps", "jobs.batch", "pods"):
                for left in self.cluster.list(resource, "default"):
                    if meta(left)["name"].startswith(f"{name}-") and not meta(left).get("ownerReferences"):
                        with contextlib.suppress(ApiError):
                            await self.user.delete(resource, "default", meta(left)["name"])

    async def step_clock(self):
        seconds = self.random.choice((-3600, -60, -1, 1, 60, 3600))
        self.stepped += seconds
        self.cluster.step_clock(seconds)

    def some_pod(self):
        pods = self.cluster.list("pods", "default")
        return meta(self.random.choice(pods))["name"] if pods else None

    async def kill_pod(self):
        if name := self.some_pod():
            await self.user.delete("pods", "default", name, grace_period_seconds=self.random.choice((None, 0, 2)))

    async def evict(self):
        if name := self.some_pod():
            eviction = document("Eviction", name, {}, "policy/v1")
            eviction.pop("spec")
            await self.user.create("pods", eviction, subresource="eviction")

    async def disown(self):
        """Take a pod out of its selector, or put it back."""
        if name := self.some_pod():
            label = self.random.choice(("stray", *(one.name for one in self.workloads)))
            await self.user.patch("pods", "default", name, {"metadata": {"labels": {"app": label}}})

    async def fail_node(self):
        up = [name for name in self.cluster.fleet.agents if name not in self.down]
        if len(up) > 2:
            self.down.append(self.random.choice(up))
            self.cluster.fail_node(self.down[-1])

    async def recover_node(self):
        if self.down:
            await self.cluster.recover_node(self.down.pop(0))

    async def delete_node(self):
        gone = [name for name in self.down if self.cluster.get("nodes", "", name)]
        if gone:
            await self.user.delete("nodes", "", gone[0])

    async def cordon(self):
        name = self.random.choice(sorted(self.cluster.fleet.agents))
        await self.user.patch("nodes", "", name, {"spec": {"unschedulable": self.random.choice((True, None))}})

    async def crash(self):
        self.cluster.faults.crash("by chance")

    async def calm(self):
        """No more faults, every node up and open, strays gone; then quiet, and quiet it stays."""
        cluster = self.cluster
        cluster.calm()
        while self.down:
            await self.recover_node()
        for node in cluster.list("nodes"):
            await self.user.patch("nodes", "", meta(node)["name"], {"spec": {"unschedulable": None}})
        with contextlib.suppress(ApiError):
            await self.user.delete("resourcequotas", "default", "all")
        for one in self.there.values():
            if isinstance(one, Reports):
                with contextlib.suppress(ApiError):
                    await self.user.delete(one.key, "default", one.name)
            elif isinstance(one, Batch) and one.is_suspended:
                one.is_suspended = False
                with contextlib.suppress(ApiError):
                    await cluster.apply(one.document(), "alice")
        cluster.step_clock(-self.stepped)
        head = await self.quiet()
        self.watch.check_settled()
        self.watch.hold()
        # Nodes tell their status every five minutes: what is left between two of them is nothing.
        await cluster.clock.sleep(100)
        later = [e for e in await cluster.events(head) if e.stream.resource not in ("nodes", "events")]
        assert not later, f"a quiet cluster writes: {later[:4]}"

    async def quiet(self):
        """Wait until everything is as it is wanted and nothing but nodes' reports is written; answers the head.

        Whoever was refused for long looks again after a quarter of an hour at most, and a Job after six minutes.
        """
        deadline = self.cluster.clock.monotonic() + LATE_SECONDS
        await self.clear_strays()
        while unsettled := self.watch.unsettled():
            assert self.cluster.clock.monotonic() < deadline, f"never settles: {unsettled[:3]}"
            await self.clear_strays()
            await self.cluster.clock.sleep(5)
        while True:
            head = self.cluster.log.head
            await self.cluster.clock.sleep(60)
            later = [e for e in await self.cluster.events(head) if e.stream.resource not in ("nodes", "events")]
            if not later:
                return head

    async def clear_strays(self):
        """Pods that were let go of may hold names that others need: people clear them away."""
        for pod in self.cluster.list("pods", "default"):
            if not meta(pod).get("ownerReferences"):
                with contextlib.suppress(ApiError):
                    await self.user.delete("pods", "default", meta(pod)["name"])


def meta(document):
    return document["metadata"]


def played(seed):
    """Play one seed; what it came to, for those who want to know more."""
    peaceful = seed % 3 == 0

    async def main(clock):
        watch = Invariants(peaceful)
        cluster = Simulation(clock, nodes=NODES, rates=FAULTY)
        cluster.log.fold_into(watch.fold)
        async with cluster:
            tempest = Tempest(cluster, seed, watch)
            try:
                await tempest.play()
            except BaseException:
                watch.hold()
                raise
            await cluster.check()
            return cluster, tempest, watch

    return run_virtual(main, seed)
