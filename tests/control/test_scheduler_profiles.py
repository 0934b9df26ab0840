"""Scheduler configurations: what is honoured, what is refused by name, and that a profile changes choices."""

from random import Random

import pytest
import yaml

from ksql.control.scheduling.cluster import Cluster
from ksql.control.scheduling.demand import demand_of
from ksql.control.scheduling.placement import place
from ksql.control.scheduling.profiles import DEFAULT, WEIGHTS, ConfigurationError, read
from tests.control.test_placement import HOSTNAME, node, pod

HEAD = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}


def configured(**more):
    return read(yaml.safe_dump({**HEAD, **more}))


def packing(name="packer"):
    args = {"scoringStrategy": {"type": "MostAllocated"}}
    return {"schedulerName": name, "pluginConfig": [{"name": "NodeResourcesFit", "args": args}]}


def test_an_empty_configuration_is_the_default():
    assert configured().profiles == {"default-scheduler": DEFAULT}


def test_a_profile_that_packs_prefers_the_fuller_node():
    profile = configured(profiles=[packing()]).profiles["packer"]
    cluster = Cluster.of([node("empty"), node("busy")], [pod("r", cpu="1", memory="2Gi", on="busy")])
    wanted = demand_of(pod("p", cpu="1", memory="2Gi"))
    assert place(wanted, cluster, Random(0)).chosen == "empty"
    assert place(wanted, cluster, Random(0), profile).chosen == "busy"
    cluster.assume(demand_of(pod("q", cpu="1", memory="2Gi")), "empty")
    cluster.assume(demand_of(pod("s", cpu="1", memory="2Gi")), "empty")
    assert place(wanted, cluster, Random(0), profile).chosen == "empty", "kept up to date row by row"


def test_weights_are_read_and_scores_switched_off():
    score = {"disabled": [{"name": "*"}], "enabled": [{"name": "InterPodAffinity", "weight": 7}]}
    profile = configured(profiles=[{"plugins": {"score": score}}]).profiles["default-scheduler"]
    assert profile.weights == {**dict.fromkeys(WEIGHTS, 0), "company": 7}


def test_a_score_that_is_off_no_longer_decides():
    off = {"disabled": [{"name": "NodeAffinity"}]}
    profile = configured(profiles=[{"plugins": {"score": off}}]).profiles["default-scheduler"]
    term = {"weight": 100, "preference": {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}}
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [term]}}
    nodes = [node("empty"), node("busy", labels={"disk": "ssd"})]
    cluster = Cluster.of(nodes, [pod("r", cpu="2", memory="4Gi", on="busy")])
    wanted = demand_of(pod(affinity=affinity, cpu="1", memory="2Gi"))
    assert place(wanted, cluster, Random(0)).chosen == "busy"
    assert place(wanted, cluster, Random(0), profile).chosen == "empty"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"leaderElection": {}}, "leaderElection: not honoured by ksql"),
        ({"profiles": {}}, "profiles: must be a list"),
        ({"profiles": [packing("a"), packing("a")]}, "profiles[1].schedulerName: 'a' is there twice"),
        ({"profiles": [{"plugins": {"filter": {}}}]}, "profiles[0].plugins.filter: not honoured"),
        ({"profiles": [{"plugins": {"multiPoint": {"disabled": [{"name": "*"}]}}}]}, "filters cannot be switched off"),
        ({"profiles": [{"plugins": {"score": {"enabled": [{"name": "Mine"}]}}}]}, "'Mine' is no score of ksql's"),
        (
            {"profiles": [{"plugins": {"score": {"enabled": [{"name": "ImageLocality", "weight": -1}]}}}]},
            "profiles[0].plugins.score.enabled[0].weight: must be an integer from 1",
        ),
        ({"extenders": [{"urlPrefix": "ftp://x"}]}, "extenders[0].urlPrefix: must be an http or https URL"),
        ({"extenders": [{"urlPrefix": "http://x", "httpTimeout": "soon"}]}, "httpTimeout: must be a duration"),
        ({"extenders": [{"urlPrefix": "http://x", "preemptVerb": "p"}]}, "extenders[0].preemptVerb: not honoured"),
    ],
)
def test_what_is_not_honoured_is_refused_by_name(more, words):
    with pytest.raises(ConfigurationError) as error:
        configured(**more)
    assert words in str(error.value)


@pytest.mark.parametrize("text", ["a: [", "- 1", "kind: Pod"])
def test_what_is_no_configuration_is_refused(text):
    with pytest.raises(ConfigurationError):
        read(text)


def test_images_that_are_there_attract():
    size = 500 * 1024 * 1024
    holder = node("holder")
    holder["status"]["images"] = [{"names": ["registry.example.com/big:1"], "sizeBytes": size}]
    wanted = pod(containers=[{"name": "c", "image": "registry.example.com/big:1"}])
    cluster = Cluster.of([node("a"), node("b"), holder])
    decision = place(demand_of(wanted), cluster, Random(0))
    assert decision.chosen == "holder"
    assert decision.scores[0].parts["images"] > 0


def test_company_wanted_by_those_already_there_counts():
    term = {"topologyKey": HOSTNAME, "labelSelector": {"matchLabels": {"app": "web"}}}
    preferred = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 50, "podAffinityTerm": term}]}
    lonely = pod("lonely", on="b", affinity={"podAffinity": preferred})
    cluster = Cluster.of([node("a"), node("b")], [lonely])
    assert place(demand_of(pod(labels={"app": "web"})), cluster, Random(0)).chosen == "b"


def test_a_decision_says_what_its_scores_are_made_of():
    decision = place(demand_of(pod(cpu="1")), Cluster.of([node("a"), node("b", cpu="8")]), Random(0))
    best = decision.scores[0]
    assert best.node == decision.chosen == "b"
    assert best.total == pytest.approx(sum(best.parts.values()), abs=0.02)
    assert set(best.parts) == {"room", "balance"}
    recorded = decision.document("packer", 0.000123)
    assert recorded["scores"]["b"]["total"] == best.total
    assert (recorded["profile"], recorded["microseconds"]) == ("packer", 123)
