"""Decisions of the scheduler as they are read again, and what is said to help those who wait."""

import json

import pytest

from ksql.history.placing import ANNOTATION, Refusal, placing_of, reasons_of, sentence, waiting


def pod(name="p", *, message=None, annotation=None, cpu=None, node=None, **spec):
    metadata = {"name": name, "namespace": "shop"}
    if annotation is not None:
        metadata["annotations"] = {ANNOTATION: annotation}
    requests = {"cpu": cpu} if cpu else {}
    document = {
        "metadata": metadata, "spec": {"containers": [{"name": "c", "resources": {"requests": requests}}], **spec},
    }  # fmt: skip
    if node:
        document["spec"]["nodeName"] = node
    if message is not None:
        document["status"] = {"conditions": [{"type": "PodScheduled", "status": "False", "message": message}]}
    return document


def node(name, cpu="4", **spec):
    return {"metadata": {"name": name}, "spec": spec, "status": {"allocatable": {"cpu": cpu}}}


@pytest.mark.parametrize(
    ("message", "read"),
    [
        (
            "0/3 nodes are available: 1 node(s) had untolerated taint {gpu: yes}, 2 Insufficient cpu. "
            "preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod.",
            (
                3,
                [Refusal("node(s) had untolerated taint {gpu: yes}", 1), Refusal("Insufficient cpu", 2)],
                "preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod.",
            ),
        ),
        ("0/12 nodes are available: 12 Too many pods.", (12, [Refusal("Too many pods", 12)], "")),
        (
            '0/2 nodes are available: persistentvolumeclaim "data" not found.',
            (2, [Refusal('persistentvolumeclaim "data" not found', 2)], ""),
        ),
        ("no nodes available to schedule pods", (0, [], "")),
        ("", (0, [], "")),
    ],
)
def test_the_schedulers_sentence_is_read(message, read):
    assert sentence(message) == read


def test_a_recorded_decision_is_read_with_the_chosen_node_first():
    said = {
        "policy": 2, "nodes": 3, "candidates": 2, "refused": {"Too many pods": 1}, "chosen": "b", "microseconds": 90,
        "scores": {"a": {"total": 10, "room": 10}, "b": {"total": 10, "room": 4, "spread": 6}},
    }  # fmt: skip
    found = placing_of(pod(annotation=json.dumps(said), node="b"))
    assert (found.node, found.candidates, found.refusals) == ("b", 2, (Refusal("Too many pods", 1),))
    assert [score.node for score in found.scores] == ["b", "a"]
    assert found.scores[0].parts == {"room": 4.0, "spread": 6.0}


@pytest.mark.parametrize("annotation", ["", "{", "[]", "{}", '{"nodes": "x", "candidates": 1}', '{"nodes":1}'])
def test_somebody_elses_annotation_is_no_decision(annotation):
    assert placing_of(pod(annotation=annotation, node="b")) is None


def test_pods_are_grouped_by_what_keeps_them_and_told_what_would_help():
    pods = [
        pod("a", message="0/2 nodes are available: 2 Insufficient cpu.", cpu="3"),
        pod("b", message="0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable.", cpu="2500m"),
        pod("c", schedulingGates=[{"name": "example.com/quota"}]),
        pod("d", schedulerName="batch"),
        pod("e"),
    ]
    nodes = [node("n"), node("m", unschedulable=True)]
    found = {one.reason: one for one in waiting(pods, nodes, [pod("r", cpu="1500m", node="n")])}
    cpu = found["Insufficient cpu"]
    assert (cpu.pods, cpu.examples) == (2, ("shop/a", "shop/b"))
    assert "ask for 2500m to 3 each" in cpu.remedy and "more than 4 left" in cpu.remedy
    assert found["node(s) were unschedulable"].remedy == "uncordon m"
    assert found["waits for its scheduling gates: example.com/quota"].pods == 1
    assert found['waits for the scheduler "batch"'].examples == ("shop/d",)
    assert found["not tried yet"].examples == ("shop/e",)
    assert next(iter(waiting(pods, nodes))).reason == "Insufficient cpu", "the commonest first"


def test_every_reason_that_a_scheduler_of_ours_gives_has_a_remedy():
    from ksql.control.scheduling import filters, room, terms

    reasons = [
        *filters.COMPANY_REASONS, filters.SPREAD_LABEL, room.TOO_MANY_PODS, "Insufficient cpu", terms.NODE_AFFINITY,
        terms.NODE_UNSCHEDULABLE, "node(s) had untolerated taint {k: }", 'persistentvolumeclaim "x" not found',
    ]  # fmt: skip
    for reason in reasons:
        (found,) = waiting([pod(message=f"0/1 nodes are available: 1 {reason}.")], [node("n")])
        assert (found.reason, bool(found.remedy)) == (reason, True)


def test_another_schedulers_words_are_kept():
    assert reasons_of(pod(message="quota of the team is used up.")) == ["quota of the team is used up"]
