"""Several servers of one cluster: each controller is led by exactly one, and the work is shared."""

from collections import Counter
from contextlib import asynccontextmanager
from random import Random

from ksql.auth.identity import ADMIN_GROUP, User
from ksql.base.clock import run_virtual
from ksql.control.leadership import LEASE_SECONDS, NAMESPACE, preferred
from ksql.control.supervisor import Controllers
from ksql.log.store import open_log
from ksql.schema import catalogue
from ksql.simulation.faults import Faults, Rates
from ksql.state.objects import Objects
from ksql.verbs import bootstrap, roles
from ksql.verbs.local import connect
from ksql.verbs.permissions import Permissions
from ksql.verbs.pipeline import Pipeline
from tests.simulation.stories import deployment

NAMES = [f"controller-{n}" for n in range(60)]


class Cluster:
    """A log and a door, and as many sets of controllers before it as wanted."""

    def __init__(self, clock):
        self.clock, self.catalogue = clock, catalogue.load()
        self.log, self.objects = open_log("sqlite://", clock, inline=True), Objects(clock)
        self.pipeline = Pipeline(self.log, self.objects, self.catalogue, Permissions(self.objects), clock)
        self.servers, self.faults = {}, {}

    async def join(self, identity):
        faults = self.faults[identity] = Faults(self.clock, Random(identity))
        door = faults.connect(connect(self.pipeline))
        self.servers[identity] = Controllers(door, self.clock, catalogue=self.catalogue, identity=identity)
        await self.servers[identity].start()

    async def crash(self, identity):
        """Nothing it does from now on happens; its leases stay as they are."""
        self.faults[identity].crash("by hand")
        controllers = self.servers.pop(identity)
        await controllers._tasks.aclose()
        await controllers.informers.aclose()

    async def leave(self, identity):
        await self.servers.pop(identity).aclose()

    def leaders(self):
        """Who runs each controller now."""
        found = {}
        for identity, controllers in self.servers.items():
            for standing in controllers.standings:
                if standing.is_running:
                    found.setdefault(standing.name, []).append(identity)
        return found

    async def until(self, claim, within):
        deadline = self.clock.monotonic() + within
        while not claim():
            assert self.clock.monotonic() < deadline, Counter(map(str, self.leaders().values()))
            await self.clock.sleep(0.2)
            assert all(len(servers) == 1 for servers in self.leaders().values()), "two lead at once"

    def is_led(self, *identities):
        leaders = self.leaders()
        total = len(next(iter(self.servers.values())).standings)
        return len(leaders) == total and {one for servers in leaders.values() for one in servers} == {*identities}


@asynccontextmanager
async def opened(clock):
    cluster = Cluster(clock)
    cluster.log.fold_into(cluster.objects.fold)
    await cluster.log.open()
    await cluster.objects.load(cluster.log)
    await bootstrap.bootstrap(cluster.pipeline)
    await roles.reconcile(cluster.pipeline)
    try:
        yield cluster
    finally:
        for identity in list(cluster.servers):
            await cluster.leave(identity)
        await cluster.log.aclose()


def told(story):
    async def main(clock):
        async with opened(clock) as cluster:
            return await story(cluster)

    return run_virtual(main, 1)


def test_who_comes_or_goes_moves_only_his_own_share():
    two = {name: preferred(name, ["a", "b"]) for name in NAMES}
    three = {name: preferred(name, ["a", "b", "c"]) for name in NAMES}
    assert all(three[name] in (two[name], "c") for name in NAMES)
    assert all(count >= 10 for count in Counter(three.values()).values())


def test_one_server_alone_leads_everything_at_once():
    async def story(cluster):
        await cluster.join("a")
        await cluster.until(lambda: cluster.is_led("a"), 2)
        assert cluster.servers["a"].is_healthy

    told(story)


def test_a_second_server_takes_its_share_and_gives_it_back_when_it_leaves():
    async def story(cluster):
        await cluster.join("a")
        await cluster.until(lambda: cluster.is_led("a"), 2)
        await cluster.join("b")
        await cluster.until(lambda: cluster.is_led("a", "b"), 30)
        await cluster.clock.sleep(30)
        shares = Counter(servers[0] for servers in cluster.leaders().values())
        assert min(shares.values()) >= sum(shares.values()) // 4
        assert all(one.is_healthy for one in cluster.servers.values())
        await cluster.leave("b")
        await cluster.until(lambda: cluster.is_led("a"), 10)

    told(story)


def test_a_crashed_servers_work_is_taken_over_when_its_leases_have_run_out():
    async def story(cluster):
        await cluster.join("a")
        await cluster.join("b")
        await cluster.until(lambda: cluster.is_led("a", "b"), 30)
        await cluster.crash("b")
        await cluster.clock.sleep(LEASE_SECONDS / 2)
        assert not cluster.is_led("a")
        await cluster.until(lambda: cluster.is_led("a"), 2 * LEASE_SECONDS)
        # And it does work: a Deployment has its ReplicaSet, whoever led those two before.
        client = connect(cluster.pipeline)
        await client(User("alice", (ADMIN_GROUP,)), "kubectl").create("deployments.apps", deployment())
        await cluster.until(lambda: len(cluster.objects.list("pods", "default")) == 3, 5)

    told(story)


def test_a_server_that_starts_again_has_its_leases_at_once():
    async def story(cluster):
        await cluster.join("a")
        await cluster.until(lambda: cluster.is_led("a"), 2)
        await cluster.crash("a")
        await cluster.join("a")
        await cluster.until(lambda: cluster.is_led("a"), 2)

    told(story)


def test_who_cannot_renew_stops_before_another_begins():
    async def story(cluster):
        await cluster.join("a")
        await cluster.join("b")
        await cluster.until(lambda: cluster.is_led("a", "b"), 30)
        cluster.faults["b"].rates = Rates(refused=1.0)
        # `until` sees to it that no two ever lead at once.
        await cluster.until(lambda: cluster.is_led("a"), 60)
        cluster.faults["b"].rates = Rates()
        await cluster.until(lambda: cluster.is_led("a", "b"), 60)

    told(story)


def test_leases_say_who_leads_and_how_often_that_changed():
    async def story(cluster):
        await cluster.join("a")
        await cluster.until(lambda: cluster.is_led("a"), 2)
        lease = cluster.objects.get("leases.coordination.k8s.io", NAMESPACE, "deployment-controller").document
        assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseDurationSeconds"]) == ("a", 15)
        await cluster.leave("a")
        await cluster.join("b")
        await cluster.until(lambda: cluster.is_led("b"), 10)
        lease = cluster.objects.get("leases.coordination.k8s.io", NAMESPACE, "deployment-controller").document
        assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseTransitions"]) == ("b", 2)

    told(story)
