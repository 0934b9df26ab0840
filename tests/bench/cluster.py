"""10,000 simulated pods on 100 simulated nodes: how long until all run, and where the time goes.

    python -m tests.bench.cluster [--pods N] [--nodes N] [--deployments N] [--virtual] [--profile FILE]
        [--database URL]

Without `--virtual` time is real: the log's own threads write to a file (or to the database given), and
containers take their profile's second to start. With it everything runs inline in one thread with a log in
memory: what is left is computation alone.
"""

import argparse
import asyncio
import cProfile
import pstats
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path

from ksql.base.clock import SystemClock, run_virtual
from ksql.log.migrate import migrate
from ksql.simulation import Simulation

SHOWN_MAX = 45
LOOK_SECONDS = 0.25


def deployment(name, replicas):
    labels = {"app": name}
    container = {
        "name": "web", "image": "registry.example.com/shop/web:1.4.2",
        "ports": [{"containerPort": 8080, "name": "http"}],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "env": [{"name": "MODE", "value": "production"}],
    }  # fmt: skip
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }  # fmt: skip


async def fill(clock, arguments, url):
    """Bring the cluster up, ask for the pods, and wait until all are ready."""
    inline = arguments.virtual
    async with Simulation(clock, nodes=arguments.nodes, url=url, inline=inline) as cluster:
        seconds, virtual, first = time.perf_counter(), clock.monotonic(), cluster.log.head
        each = arguments.pods // arguments.deployments
        for number in range(arguments.deployments):
            await cluster.apply(deployment(f"web-{number}", each))
        wanted, placed_at = each * arguments.deployments, None
        while (ready := cluster.running("default")) < wanted:
            if placed_at is None and len(cluster.list("pods", "default")) == wanted:
                placed_at = time.perf_counter() - seconds
            await clock.sleep(LOOK_SECONDS)
        took, passed = time.perf_counter() - seconds, clock.monotonic() - virtual
        await cluster.fleet.flushed()
        report(cluster, await cluster.events(first), ready, took, passed, placed_at)


def report(cluster, events, ready, took, passed, placed_at):
    kinds = Counter((e.stream.resource, e.verb, e.subresource) for e in events)
    nodes = Counter(p["spec"].get("nodeName") for p in cluster.list("pods", "default"))
    written = "" if placed_at is None else f", all created after {placed_at:.1f} s"
    print(f"{ready} pods ready after {took:.1f} s ({passed:.1f} s on the cluster's clock){written}")
    print(f"{len(events)} events, {len(events) / took:.0f} a second; {len(events) / ready:.2f} a pod")
    print(f"pods a node: {min(nodes.values())} to {max(nodes.values())}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    for (name, verb, subresource), count in kinds.most_common(12):
        print(f"  {count:7d} {verb} {name}{'/' + subresource if subresource else ''}")


def run(arguments):
    if arguments.virtual:
        run_virtual(lambda clock: fill(clock, arguments, "sqlite://"), seed=1)
        return
    with tempfile.TemporaryDirectory() as folder:
        url = arguments.database or f"sqlite:///{Path(folder) / 'ksql.db'}"
        migrate(url)
        asyncio.run(fill(SystemClock(1), arguments, url))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pods", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--deployments", type=int, default=20)
    parser.add_argument("--virtual", action="store_true")
    parser.add_argument("--profile", type=Path)
    parser.add_argument("--database", default="")
    arguments = parser.parse_args()
    if arguments.profile is None:
        run(arguments)
        return
    profiler = cProfile.Profile()
    profiler.runcall(run, arguments)
    profiler.dump_stats(arguments.profile)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(SHOWN_MAX)


if __name__ == "__main__":
    main()
