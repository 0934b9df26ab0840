"""Laws of the reconcilers' plans: executed and made again they are empty, and bounds hold at every step."""

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ksql.base.documents import Document
from ksql.control import deployment as deployments
from ksql.control import endpointslice, replicaset
from ksql.control.deployment_scaling import Scene
from ksql.control.endpointslice import ENDPOINTS_MAX
from tests.control.objects import NOW, World, deployment, metadata, pod, template
from tests.control.objects import replicaset as new_replicaset

SETS, SLICES = "replicasets.apps", endpointslice.RESOURCE

pods_of_all_sorts = st.builds(
    dict,
    phase=st.sampled_from(["Pending", "Running", "Running", "Failed", "Unknown"]),
    ready_since=st.none() | st.integers(-100, 0),
    node=st.sampled_from(["", "n1", "n2"]),
    created=st.integers(-1000, 0),
    cost=st.none() | st.integers(-2, 2),
    restarts=st.integers(0, 2),
    ending=st.booleans(),
    labels=st.sampled_from([{"app": "web"}, {"app": "web"}, {"app": "other"}]),
)


@given(replicas=st.integers(0, 12), pods=st.lists(pods_of_all_sorts, max_size=12), strays=st.integers(0, 3))
def test_a_replicaset_comes_to_rest_with_as_many_active_pods_as_wanted(
    replicas: int, pods: list[dict[str, Any]], strays: int
) -> None:
    world = World()
    owner = world.put(SETS, new_replicaset(replicas))
    for number, each in enumerate(pods):
        world.put("pods", pod(f"p{number}", owner, **each))
    for number in range(strays):
        world.put("pods", pod(f"stray{number}"))
    for _ in range(6):
        owner = world.all(SETS)[0]
        uid = owner["metadata"]["uid"]
        owned = [each for each in world.all("pods") if owner_uid(each) == uid]
        free = [each for each in world.all("pods") if owner_uid(each) is None]
        changes = list(replicaset.plan(replicaset.Observed(owner, owned, free), NOW).changes())
        if not changes:
            break
        for change in changes:
            world.execute(change)
    else:
        raise AssertionError("it never rests")
    active = [each for each in owned if replicaset.is_active(each) and matches(each)]
    assert len(active) == replicas
    assert owner["status"]["replicas"] == replicas
    assert not [each for each in free if matches(each) and replicaset.is_active(each)]


def owner_uid(each: Document) -> str | None:
    references = each["metadata"].get("ownerReferences") or []
    return references[0]["uid"] if references else None


def matches(each: Document) -> bool:
    return (each["metadata"].get("labels") or {}).get("app") == "web"


@given(pods=st.lists(pods_of_all_sorts, max_size=10), keep=st.integers(0, 10), data=st.data())
def test_the_choice_of_victims_does_not_depend_on_the_order_of_the_pods(
    pods: list[dict[str, Any]], keep: int, data: st.DataObject
) -> None:
    documents = [pod(f"p{number}", **each) for number, each in enumerate(pods)]
    shuffled = data.draw(st.permutations(documents))
    chosen = {each["metadata"]["name"] for each in replicaset.surplus(documents, keep, {"n1": 2})}
    again = {each["metadata"]["name"] for each in replicaset.surplus(shuffled, keep, {"n1": 2})}
    assert chosen == again
    assert len(chosen) == max(0, len(documents) - keep)


@given(pods=st.lists(pods_of_all_sorts, min_size=2, max_size=10), keep=st.integers(1, 9))
def test_no_victim_is_worth_more_than_a_survivor(pods: list[dict[str, Any]], keep: int) -> None:
    documents = [pod(f"p{number}", **each) for number, each in enumerate(pods)]
    crowd = {"n1": 3, "n2": 1}
    victims = replicaset.surplus(documents, keep, crowd)
    names = {each["metadata"]["name"] for each in victims}
    survivors = [each for each in documents if each["metadata"]["name"] not in names]
    if victims and survivors and len(victims) < len(documents):
        worth = replicaset._expendability
        assert max(worth(each, crowd) for each in victims) <= min(worth(each, crowd) for each in survivors)


class Cluster:
    """A Deployment whose pods come up when the test says so and whose reports may be late."""

    def __init__(self, replicas: int, surge: int, missing: int) -> None:
        rolling = {"maxSurge": surge, "maxUnavailable": missing}
        strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
        self.world = World()
        self.world.put("deployments.apps", deployment(replicas, strategy=strategy))
        self.up: dict[str, int] = {}
        self.there: dict[str, int] = {}

    @property
    def deployment(self) -> Document:
        return self.world.all("deployments.apps")[0]

    @property
    def scene(self) -> Scene:
        return deployments.scene_of(self.deployment, self.world.all(SETS))

    def act(self) -> int:
        observed = deployments.Observed(self.deployment, self.world.all(SETS))
        changes = list(deployments.plan(observed, NOW).changes())
        for change in changes:
            self.world.execute(change)
        self.follow()
        return len(changes)

    def follow(self) -> None:
        """ReplicaSets make and delete pods at once, those that are not up first."""
        for each in self.world.all(SETS):
            name, size = each["metadata"]["name"], each["spec"]["replicas"]
            self.there[name] = size
            self.up[name] = min(self.up.get(name, 0), size)

    def come_up(self, which: int) -> None:
        waiting = [name for name, size in self.there.items() if self.up[name] < size]
        if waiting:
            self.up[waiting[which % len(waiting)]] += 1

    def report(self) -> None:
        for each in self.world.all(SETS):
            name = each["metadata"]["name"]
            up = self.up.get(name, 0)
            status = {"replicas": self.there.get(name, 0), "readyReplicas": up, "availableReplicas": up}
            status["observedGeneration"] = each["metadata"]["generation"]
            if each.get("status") != status:
                self.world.put(SETS, {**each, "status": status})

    def finish(self) -> None:
        for _ in range(400):
            for number in range(50):
                self.come_up(number)
            self.report()
            if not self.act():
                return
        raise AssertionError("the rollout never ends")

    def roll(self, image: str) -> None:
        self.world.put(
            "deployments.apps",
            {**self.deployment, "spec": {**self.deployment["spec"], "template": template(image)}},
        )

    def check(self) -> None:
        scene = self.scene
        wanted = sum(each["spec"]["replicas"] for each in scene.all)
        assert wanted <= scene.replicas + scene.surge
        assert sum(self.up.values()) >= scene.replicas - scene.unavailable


steps = st.lists(st.sampled_from(["act", "act", "report", "up", "up", "roll"]), max_size=60)


@settings(deadline=None)
@given(replicas=st.integers(1, 9), surge=st.integers(0, 4), missing=st.integers(0, 4), steps=steps)
# Down and up again while its report is late: the old size, none of the old pods.
@example(1, 2, 0, ["act", "up", "report", "act", "roll", "roll", "act", "act", "act"])
def test_a_rollout_never_leaves_its_surge_and_availability_bounds(
    replicas: int, surge: int, missing: int, steps: list[str]
) -> None:
    cluster = Cluster(replicas, surge, missing)
    cluster.finish()
    cluster.roll("web:2")
    images = 2
    for number, step in enumerate(steps):
        match step:
            case "act":
                cluster.act()
            case "report":
                cluster.report()
            case "up":
                cluster.come_up(number)
            case "roll":
                # A third template in the middle, or back to an old one.
                images = images % 3 + 1
                cluster.roll(f"web:{images}")
        cluster.check()
    cluster.finish()
    assert cluster.scene.is_complete
    assert cluster.act() == 0
    assert [each["spec"]["replicas"] for each in cluster.scene.old] == [0] * len(cluster.scene.old)


@settings(deadline=None)
@given(before=st.integers(1, 40), after=st.integers(0, 60), ups=st.integers(0, 30))
def test_a_resizing_in_the_middle_of_a_rollout_adds_up(before: int, after: int, ups: int) -> None:
    cluster = Cluster(before, 3, 2)
    cluster.finish()
    cluster.roll("web:2")
    for number in range(ups):
        cluster.act()
        cluster.come_up(number)
        cluster.report()
    cluster.world.put(
        "deployments.apps", {**cluster.deployment, "spec": {**cluster.deployment["spec"], "replicas": after}}
    )
    cluster.act()
    assert sum(each["spec"]["replicas"] for each in cluster.scene.all) <= after + 3
    cluster.finish()
    assert cluster.scene.is_complete


def service() -> Document:
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    spec = {"selector": {"app": "web"}, "ports": ports, "ipFamilies": ["IPv4"]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata("web"), "spec": spec}


@settings(deadline=None, max_examples=40)
@given(rounds=st.lists(st.tuples(st.integers(0, 320), st.integers(0, 60)), min_size=1, max_size=4))
def test_slices_list_every_pod_once_and_rewrite_no_more_than_they_must(
    rounds: list[tuple[int, int]],
) -> None:
    world, of = World(), service()
    for count, start in rounds:
        pods = [
            pod(f"p{n}", address=f"10.0.{n // 250}.{n % 250}", labels={"app": "web"})
            for n in range(start, start + count)
        ]
        before = {each["metadata"]["name"]: each for each in world.all(SLICES)}
        changes = list(endpointslice.plan(endpointslice.Observed(of, pods, world.all(SLICES))).changes())
        for change in changes:
            world.execute(change)
        found = [entry["addresses"][0] for each in world.all(SLICES) for entry in each["endpoints"]]
        assert sorted(found) == sorted(each["status"]["podIP"] for each in pods)
        assert all(len(each["endpoints"]) <= ENDPOINTS_MAX for each in world.all(SLICES))
        for each in world.all(SLICES):
            old = before.get(each["metadata"]["name"])
            if old is not None and old["endpoints"] == each["endpoints"]:
                assert old is each
        assert not list(endpointslice.plan(endpointslice.Observed(of, pods, world.all(SLICES))).changes())
