"""Deployments: pure plans, and whole rollouts over a world of plain documents."""

from datetime import timedelta

import pytest

from ksql.base.documents import Document
from ksql.control import deployment as deployments
from ksql.control.deployment import Observed, plan
from ksql.control.deployment_revision import HASH_LABEL, REVISION, REVISIONS_BEFORE, template_hash
from ksql.control.deployment_scaling import Scene, bound, proportional
from ksql.control.plan import Create, Remove
from tests.control.objects import NOW, World, deployment, replicaset, template

SETS = "replicasets.apps"


class Rollout:
    """A Deployment and its ReplicaSets; pods become available when the test says so."""

    def __init__(self, wanted: Document) -> None:
        self.world = World()
        self.world.put("deployments.apps", wanted)
        self.now = NOW
        self.plans = 0

    @property
    def deployment(self) -> Document:
        found = self.world.get("deployments.apps", "web")
        assert found is not None
        return found

    @property
    def sets(self) -> list[Document]:
        return self.world.all(SETS)

    def change(self, **spec: object) -> None:
        old = self.deployment
        metadata = {**old["metadata"], "generation": old["metadata"]["generation"] + 1}
        self.world.put("deployments.apps", {**old, "metadata": metadata, "spec": {**old["spec"], **spec}})

    def observed(self) -> Observed:
        living = [each["metadata"]["uid"] for each in self.sets if (each.get("status") or {}).get("replicas")]
        return Observed(self.deployment, self.sets, (), None, living)

    def step(self) -> int:
        """One round of the deployment controller; how many changes it made."""
        changes = list(plan(self.observed(), self.now).changes())
        for change in changes:
            self.world.execute(change)
        self.plans += 1
        return len(changes)

    def report(self, available: int | None = None) -> None:
        """What the ReplicaSets would report: `available` pods of the newest, all of the others."""
        for each in self.sets:
            size = each["spec"]["replicas"]
            up = size if available is None or each is not self.sets[-1] else min(size, available)
            counts = {"replicas": size, "readyReplicas": up, "availableReplicas": up}
            status = {key: count for key, count in counts.items() if count or key == "replicas"}
            status["observedGeneration"] = each["metadata"]["generation"]
            self.world.put(SETS, {**each, "status": status})

    def settle(self, rounds: int = 200) -> None:
        for _ in range(rounds):
            if not self.step():
                before = [each.get("status") for each in self.sets]
                self.report()
                if before == [each.get("status") for each in self.sets] and not self.step():
                    return
        raise AssertionError("the rollout does not settle")

    def condition(self, type: str) -> Document:
        [found] = [each for each in self.deployment["status"]["conditions"] if each["type"] == type]
        return found

    def sizes(self) -> dict[str, int]:
        return {
            each["spec"]["template"]["spec"]["containers"][0]["image"]: each["spec"]["replicas"]
            for each in self.sets
        }


def test_the_first_revision_is_made_whole_and_numbered_one() -> None:
    rollout = Rollout(deployment(3))
    create, report = plan(rollout.observed(), NOW).steps
    assert isinstance(create, Create)
    assert create.document["spec"]["replicas"] == 3
    letters = create.document["metadata"]["labels"][HASH_LABEL]
    assert create.document["metadata"]["name"] == f"web-{letters}"
    assert create.document["spec"]["selector"]["matchLabels"] == {"app": "web", HASH_LABEL: letters}
    assert create.document["spec"]["template"]["metadata"]["labels"] == {"app": "web", HASH_LABEL: letters}
    assert create.remark is not None
    assert create.remark.message == f"Scaled up replica set web-{letters} from 0 to 3"
    assert report.patch["metadata"]["annotations"] == {REVISION: "1"}
    reasons = [each["reason"] for each in report.patch["status"]["conditions"]]
    assert reasons == ["MinimumReplicasUnavailable", "NewReplicaSetCreated"]


def test_a_rollout_ends_with_every_count_and_condition_as_kubectl_expects() -> None:
    rollout = Rollout(deployment(3))
    rollout.settle()
    status = rollout.deployment["status"]
    assert {key: status.get(key) for key in ("replicas", "updatedReplicas", "availableReplicas")} == {
        "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3,
    }  # fmt: skip
    assert "unavailableReplicas" not in status
    assert status["observedGeneration"] == rollout.deployment["metadata"]["generation"]
    assert rollout.condition("Available")["reason"] == "MinimumReplicasAvailable"
    assert rollout.condition("Progressing")["reason"] == "NewReplicaSetAvailable"
    assert rollout.step() == 0


def test_an_image_change_moves_all_pods_to_a_second_revision() -> None:
    rollout = Rollout(deployment(4))
    rollout.settle()
    rollout.change(template=template("web:2"))
    rollout.settle()
    assert rollout.sizes() == {"web:1": 0, "web:2": 4}
    assert rollout.deployment["metadata"]["annotations"][REVISION] == "2"


@pytest.mark.parametrize(
    ("value", "total", "round_up", "wanted"),
    [("25%", 3, True, 1), ("25%", 3, False, 0), ("25%", 10, True, 3), ("25%", 10, False, 2),
     ("0%", 5, True, 0), ("100%", 7, False, 7), (2, 3, True, 2), (None, 8, False, 2)],
)  # fmt: skip
def test_surge_rounds_up_and_unavailability_down(value, total, round_up, wanted) -> None:
    assert bound(value, total, round_up=round_up) == wanted


def test_without_surge_and_unavailability_one_pod_may_be_missing() -> None:
    spec = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}
    assert Scene(deployment(3, strategy=spec), None, ()).unavailable == 1


def test_pods_that_never_come_up_stop_the_rollout_within_its_bounds() -> None:
    rollout = Rollout(deployment(4))
    rollout.settle()
    rollout.change(template=template("broken"))
    for _ in range(20):
        rollout.step()
        rollout.report(available=0)
    assert rollout.sizes() == {"web:1": 3, "broken": 2}


def test_lack_of_progress_is_reported_when_the_deadline_has_passed() -> None:
    rollout = Rollout(deployment(2, progressDeadlineSeconds=60))
    rollout.step()
    for _ in range(3):
        rollout.report(available=0)
        rollout.step()
    again = plan(rollout.observed(), rollout.now).again_seconds
    assert again == pytest.approx(61)
    rollout.now += timedelta(seconds=again)
    rollout.step()
    progressing = rollout.condition("Progressing")
    assert (progressing["status"], progressing["reason"]) == ("False", "ProgressDeadlineExceeded")
    assert rollout.step() == 0
    rollout.settle()
    assert rollout.condition("Progressing")["reason"] == "NewReplicaSetAvailable"


def test_putting_an_old_template_back_reuses_its_replicaset_under_the_next_revision() -> None:
    rollout = Rollout(deployment(2))
    rollout.settle()
    first = rollout.sets[0]["metadata"]["name"]
    rollout.change(template=template("web:2"))
    rollout.settle()
    # As kubectl rollout undo sends it: with the empty fields that Go prints.
    undone = template("web:1")
    undone["metadata"]["creationTimestamp"] = None
    undone["spec"]["containers"][0]["resources"] = {}
    rollout.change(template=undone)
    rollout.settle()
    assert rollout.sizes() == {"web:1": 2, "web:2": 0}
    assert len(rollout.sets) == 2
    current = rollout.world.get(SETS, first)
    assert current is not None
    assert current["metadata"]["annotations"][REVISION] == "3"
    assert current["metadata"]["annotations"][REVISIONS_BEFORE] == "1"
    assert rollout.deployment["metadata"]["annotations"][REVISION] == "3"


def test_old_empty_replicasets_beyond_the_limit_go_lowest_revision_first() -> None:
    rollout = Rollout(deployment(1, revisionHistoryLimit=2))
    for number in range(1, 6):
        rollout.change(template=template(f"web:{number}"))
        rollout.settle()
    assert list(rollout.sizes()) == ["web:3", "web:4", "web:5"]


def test_a_paused_deployment_scales_and_does_not_roll() -> None:
    rollout = Rollout(deployment(2))
    rollout.settle()
    rollout.change(paused=True, template=template("web:2"), replicas=5)
    rollout.settle()
    assert rollout.sizes() == {"web:1": 5}
    assert rollout.condition("Progressing")["reason"] == "DeploymentPaused"
    rollout.change(paused=False)
    rollout.settle()
    assert rollout.sizes() == {"web:1": 0, "web:2": 5}
    assert rollout.condition("Progressing")["reason"] == "NewReplicaSetAvailable"


def test_recreate_ends_all_old_pods_before_the_first_new_one() -> None:
    rollout = Rollout(deployment(3, strategy={"type": "Recreate"}))
    rollout.settle()
    rollout.change(template=template("web:2"))
    rollout.step()
    assert rollout.sizes() == {"web:1": 0}
    # Their sizes are zero, but the pods are still ending.
    rollout.step()
    assert rollout.sizes() == {"web:1": 0}
    rollout.settle()
    assert rollout.sizes() == {"web:1": 0, "web:2": 3}


def test_a_resizing_in_the_middle_of_a_rollout_is_shared_in_proportion() -> None:
    scene_of = deployments.scene_of
    old = replicaset(8, "web-old")
    new = replicaset(4, "web-new")
    for each in (old, new):
        each["metadata"]["annotations"] = {
            "deployment.kubernetes.io/desired-replicas": "10",
            "deployment.kubernetes.io/max-replicas": "12",
        }
    wanted = deployment(20, strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 4}})
    scene = scene_of(wanted, [old, new])
    assert proportional(scene, [old, new]) == [16, 8]


def test_a_namesake_of_another_template_is_met_by_a_salted_hash() -> None:
    wanted = deployment(1)
    [change] = plan(Observed(wanted, namesake=replicaset(1)), NOW).changes()
    assert change.patch["status"] == {"collisionCount": 1}
    assert template_hash(template(), 1) != template_hash(template(), 0)


def test_the_hash_ignores_the_hash_label_and_fields_that_say_nothing() -> None:
    assert template_hash(template(), 0) == template_hash(template(**{HASH_LABEL: "x"}), 0)
    padded = template()
    padded["metadata"]["creationTimestamp"] = None
    assert template_hash(template(), 0) == template_hash(padded, 0)
    assert template_hash(template("web:2"), 0) != template_hash(template("web:1"), 0)


def test_annotations_travel_to_the_current_replicaset_but_not_those_of_kubectl_apply() -> None:
    rollout = Rollout(deployment(1))
    rollout.settle()
    old = rollout.deployment
    annotations = {
        **old["metadata"]["annotations"],
        "kubernetes.io/change-cause": "why",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
    }
    rollout.world.put(
        "deployments.apps", {**old, "metadata": {**old["metadata"], "annotations": annotations}}
    )
    rollout.settle()
    carried = rollout.sets[0]["metadata"]["annotations"]
    assert carried["kubernetes.io/change-cause"] == "why"
    assert "kubectl.kubernetes.io/last-applied-configuration" not in carried


def test_a_deployment_that_ends_only_reports() -> None:
    rollout = Rollout(deployment(3))
    rollout.settle()
    old = rollout.deployment
    ending = {**old, "metadata": {**old["metadata"], "deletionTimestamp": "2030-01-01T12:00:00Z"}}
    changed = {**ending, "spec": {**ending["spec"], "template": template("web:9")}}
    changes = list(plan(Observed(changed, rollout.sets), NOW).changes())
    assert all(change.subresource == "status" and not isinstance(change, Remove) for change in changes)


def test_a_stray_replicaset_with_the_same_template_is_adopted_not_doubled() -> None:
    rollout = Rollout(deployment(2))
    rollout.settle()
    orphan = {**rollout.sets[0], "metadata": {**rollout.sets[0]["metadata"], "ownerReferences": None}}
    [change] = plan(Observed(rollout.deployment, (), [orphan]), NOW).changes()
    assert change.patch["metadata"]["ownerReferences"][0]["uid"] == rollout.deployment["metadata"]["uid"]
