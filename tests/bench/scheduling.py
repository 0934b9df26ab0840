"""Pods a second that the scheduler places, bindings durable in the log, on thousands of nodes.

    python -m tests.bench.scheduling [CASE ...] [--nodes N] [--pods N] [--profile FILE]

Nodes and pods are there before the scheduler starts, as in kube-scheduler's own benchmark of a full queue; time runs
from its first decision to the last binding that is on disk. Nothing else runs: no controllers, no nodes' agents.
"""

import argparse
import asyncio
import cProfile
import gc
import pstats
import tempfile
import time
from pathlib import Path

import uvloop

from ksql.auth.authorize import AdminAuthorizer
from ksql.auth.identity import ADMIN_GROUP, User, controller_user
from ksql.base.clock import SystemClock
from ksql.config import COLLECTOR_THRESHOLDS
from ksql.control.controller import Kit
from ksql.control.informer import Informers
from ksql.control.scheduling.scheduler import Scheduler
from ksql.log.migrate import migrate
from ksql.log.store import open_log
from ksql.schema import catalogue
from ksql.state.objects import Objects
from ksql.verbs import bootstrap
from ksql.verbs.local import connect
from ksql.verbs.pipeline import Pipeline

HOSTNAME, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
ZONES = ("zone-1", "zone-2", "zone-3")
WRITERS = 64
SHOWN_MAX = 45
LOOK_SECONDS = 0.02


def node(number):
    name = f"node-{number:05d}"
    room = {"cpu": "4", "memory": "32Gi", "pods": "110"}
    labels = {HOSTNAME: name, ZONE: ZONES[number % 3]}
    status = {"capacity": room, "allocatable": room, "conditions": [{"type": "Ready", "status": "True"}]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "status": status}


def pod(number, *, name="pod", labels=None, cpu="100m", memory="500Mi", **spec):
    container = {
        "name": "pause", "image": "registry.k8s.io/pause:3.9", "resources": {"requests": {"cpu": cpu, "memory": memory}}
    }  # fmt: skip
    metadata = {"name": f"{name}-{number:05d}", "namespace": "default", "labels": labels or {"app": "plain"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container], **spec}}


def plain(number):
    return pod(number)


def spreading(number):
    constraint = {
        "maxSkew": 5, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"color": "blue"}},
    }  # fmt: skip
    return pod(number, labels={"color": "blue"}, topologySpreadConstraints=[constraint])


def required(kind, topology, color):
    term = {"labelSelector": {"matchLabels": {"color": color}}, "topologyKey": topology}
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def apart(number):
    return pod(number, labels={"color": "green"}, affinity=required("podAntiAffinity", HOSTNAME, "green"))


def together(number):
    return pod(number, labels={"color": "blue"}, affinity=required("podAffinity", ZONE, "blue"))


def urgent(number):
    return pod(number, name="urgent", cpu="3000m", priority=10, priorityClassName="urgent")


# case: pods to place, how many at most a round of 5,000 nodes takes, pods that are there before.
CASES = {
    "plain": (plain, 10_000),
    "spread": (spreading, 10_000),
    "anti-affinity": (apart, 4_000),
    "affinity": (together, 10_000),
    "preemption": (urgent, 5_000),
}


async def made(client, resource, documents):
    waiting = iter(documents)

    async def write():
        for document in waiting:
            await client.create(resource, document)

    await asyncio.gather(*(write() for _ in range(WRITERS)))


async def opened(client, nodes):
    """Lift the taint that new nodes come with, for there is no controller here that would."""
    waiting = iter(range(nodes))

    async def write():
        for number in waiting:
            await client.patch("nodes", "", node(number)["metadata"]["name"], {"spec": {"taints": None}})

    await asyncio.gather(*(write() for _ in range(WRITERS)))


async def measure(clock, case, arguments, url):
    make, most = CASES[case]
    pods = min(arguments.pods or most, most)
    log = open_log(url, clock)
    objects = Objects(clock)
    pipeline = Pipeline(log, objects, catalogue.load(), AdminAuthorizer(), clock)
    log.fold_into(objects.fold)
    await log.open()
    await bootstrap.bootstrap(pipeline)
    door = connect(pipeline)
    client = door(User("admin", (ADMIN_GROUP,)), "bench")
    await made(client, "nodes", (node(n) for n in range(arguments.nodes)))
    await opened(client, arguments.nodes)
    before = 0
    if case == "preemption":
        weighty = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 10}
        await client.create("priorityclasses.scheduling.k8s.io", {**weighty, "metadata": {"name": "urgent"}})
        before = 4 * arguments.nodes
        await made(
            client, "pods",
            (
                pod(n, name="low", cpu="900m", priority=0, terminationGracePeriodSeconds=0,
                    nodeName=f"node-{n % arguments.nodes:05d}")
                for n in range(before)
            ),
        )  # fmt: skip
    await made(client, "pods", (make(n) for n in range(pods)))
    informers = Informers(door(controller_user("bench"), "bench"), clock)
    scheduler = Scheduler(Kit(door, clock, informers))
    informers.start()
    await informers.synced()
    gc.collect()
    gc.freeze()
    # As `ksql up` runs.
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    profile = cProfile.Profile() if arguments.profile else None
    if profile is not None:
        profile.enable()
    first, cpu, started = log.head, time.process_time(), time.perf_counter()
    task = asyncio.create_task(scheduler.run())

    while len(scheduler.queue):
        await asyncio.sleep(LOOK_SECONDS)
        if task.done():
            task.result()
        if time.perf_counter() - started > arguments.seconds:
            break
    took, cpu = time.perf_counter() - started, time.process_time() - cpu
    if profile is not None:
        profile.disable()
        profile.dump_stats(arguments.profile)
        pstats.Stats(profile).sort_stats("tottime").print_stats(SHOWN_MAX)
    placed = pods - len(scheduler.queue)
    print(
        f"{case}: {placed} of {pods} pods on {arguments.nodes} nodes in {took:.2f} s, {placed / took:.0f}/s; "
        f"processor {cpu / max(placed, 1) * 1e6:.0f} us a pod; {log.head - first} events"
    )
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await scheduler.aclose()
    await informers.aclose()
    await log.aclose()
    gc.unfreeze()


def run(case, arguments):
    with tempfile.TemporaryDirectory() as folder:
        url = arguments.database or f"sqlite:///{Path(folder) / 'ksql.db'}"
        if not arguments.database:
            migrate(url)
        uvloop.run(measure(SystemClock(), case, arguments, url))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE")
    parser.add_argument("--nodes", type=int, default=5_000)
    parser.add_argument("--pods", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=120.0, help="give up a case after so long")
    parser.add_argument("--profile")
    parser.add_argument("--database")
    arguments = parser.parse_args()
    for case in arguments.cases:
        if case not in CASES:
            parser.error(f"no case {case!r}: there are {', '.join(CASES)}")
        run(case, arguments)


if __name__ == "__main__":
    main()
