"""Where pods went and why, and why others wait: the scheduler's decisions, read from what it wrote. Pure.

A bound pod carries its decision as an annotation; one that waits carries the scheduler's sentence in a condition, in
the form that kube-scheduler made known. Both are read here; what would help is worked out from the nodes as they are.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ksql.base.documents import Document, DocumentError, decode
from ksql.schema import quantities, usage
from ksql.schema.quantities import ZERO

ANNOTATION = "scheduler.ksql.dev/decision"
SCHEDULER = "default-scheduler"
EXAMPLES_MAX = 5  # pods named per reason

NOT_TRIED = "not tried yet"
GATED = "waits for its scheduling gates"
NO_NODES = "no nodes available to schedule pods"

_SENTENCE = re.compile(r"0/(\d+) nodes are available: (.*?)\.(?: (preemption: .*|Preemption: .*))?$", re.DOTALL)
_COUNTED = re.compile(r"(?:^|, )(\d+) ")
_INSUFFICIENT = "Insufficient "
_TERMINAL = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reason, and how many nodes were refused for it."""

    reason: str
    nodes: int


@dataclass(frozen=True, slots=True)
class Score:
    """What one node was given: the total and, by view (room, balance, spread…), its parts."""

    node: str
    total: float
    parts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Placing:
    """One decision. `node` is None while the pod waits, and `message` then is the scheduler's own sentence."""

    node: str | None
    nodes: int
    candidates: int
    refusals: tuple[Refusal, ...] = ()
    scores: tuple[Score, ...] = ()
    policy: int | None = None
    profile: str = SCHEDULER
    microseconds: int | None = None
    message: str = ""
    preemption: str = ""  # why driving others out did not help, or would not
    nominated: str | None = None  # the node that others are leaving for this pod


@dataclass(frozen=True, slots=True)
class Waiting:
    """All pods that wait for one reason, and what would help them."""

    reason: str
    pods: int
    examples: tuple[str, ...]  # namespace/name
    remedy: str


@dataclass(slots=True)
class _Group:
    pods: list[Document] = field(default_factory=list)


def placing_of(pod: Document) -> Placing | None:
    """The decision about a pod; None when no scheduler of ours has said anything about it."""
    annotation = (pod["metadata"].get("annotations") or {}).get(ANNOTATION)
    if annotation is not None:
        return _recorded(annotation)
    condition = _scheduled(pod)
    if condition is None or condition.get("status") != "False":
        return None
    status = pod.get("status") or {}
    message = str(condition.get("message") or "")
    nodes, refusals, preemption = sentence(message)
    return Placing(
        None, nodes, 0, tuple(refusals), message=message, preemption=preemption,
        nominated=status.get("nominatedNodeName") or None,
    )  # fmt: skip


def sentence(message: str) -> tuple[int, list[Refusal], str]:
    """The nodes, the reasons and the word on preemption of the scheduler's sentence; nothing of any other text."""
    found = _SENTENCE.match(message)
    if found is None:
        return 0, [], ""
    counted = list(_COUNTED.finditer(found[2]))
    if not counted:
        # One reason for all nodes alike, said without a count.
        return int(found[1]), [Refusal(found[2], int(found[1]))], found[3] or ""
    ends = [*(match.start() for match in counted[1:]), len(found[2])]
    refusals = [Refusal(found[2][m.end() : end], int(m[1])) for m, end in zip(counted, ends, strict=True)]
    return int(found[1]), refusals, found[3] or ""


def waiting(pods: Iterable[Document], nodes: Sequence[Document], bound: Iterable[Document] = ()) -> list[Waiting]:
    """Pods without a node, grouped by what keeps them, those that most wait for first. One pod may be in several.

    `bound` is every pod that runs: with it the remedy for want of room can say how much is left.
    """
    groups: defaultdict[str, _Group] = defaultdict(_Group)
    for pod in pods:
        for reason in reasons_of(pod):
            groups[reason].pods.append(pod)
    left = _left(nodes, bound) if any(reason.startswith(_INSUFFICIENT) for reason in groups) else []
    found = [
        Waiting(reason, len(group.pods), _examples(group.pods), _remedy(reason, group.pods, nodes, left))
        for reason, group in groups.items()
    ]
    return sorted(found, key=lambda one: (-one.pods, one.reason))


def is_waiting(pod: Document) -> bool:
    """Whether a pod is without a node and still wants one."""
    return (
        not (pod.get("spec") or {}).get("nodeName")
        and not pod["metadata"].get("deletionTimestamp")
        and (pod.get("status") or {}).get("phase") not in _TERMINAL
    )


def reasons_of(pod: Document) -> list[str]:
    """What keeps a pod without a node."""
    spec = pod["spec"]
    if gates := spec.get("schedulingGates"):
        return [f"{GATED}: {', '.join(gate['name'] for gate in gates)}"]
    placing = placing_of(pod)
    if placing is not None and placing.refusals:
        return [refusal.reason for refusal in placing.refusals]
    if placing is not None and placing.message:
        return [placing.message.rstrip(".")]
    name = spec.get("schedulerName") or SCHEDULER
    return [NOT_TRIED if name == SCHEDULER else f'waits for the scheduler "{name}"']


def _scheduled(pod: Document) -> Document | None:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one.get("type") == "PodScheduled"), None)


def _recorded(annotation: str) -> Placing | None:
    """The decision in an annotation; None when somebody has put something else there."""
    try:
        said: Any = decode(annotation.encode())
        scores = tuple(_score(node, given) for node, given in (said.get("scores") or {}).items())
        return Placing(
            node=said.get("chosen"),
            nodes=int(said["nodes"]),
            candidates=int(said["candidates"]),
            refusals=tuple(Refusal(reason, int(count)) for reason, count in (said.get("refused") or {}).items()),
            scores=tuple(sorted(scores, key=lambda score: (score.node != said.get("chosen"), -score.total))),
            policy=said.get("policy"),
            profile=said.get("profile") or SCHEDULER,
            microseconds=said.get("microseconds"),
        )
    except (DocumentError, AttributeError, KeyError, TypeError, ValueError):
        return None


def _score(node: str, given: Any) -> Score:
    if not isinstance(given, dict):
        return Score(node, float(given), {})  # as the first policy wrote them
    return Score(node, float(given["total"]), {view: float(part) for view, part in given.items() if view != "total"})


def _examples(pods: Sequence[Document]) -> tuple[str, ...]:
    named = sorted(f"{pod['metadata'].get('namespace', '')}/{pod['metadata']['name']}" for pod in pods)
    return tuple(named[:EXAMPLES_MAX])


def _remedy(reason: str, pods: Sequence[Document], nodes: Sequence[Document], left: Sequence[usage.Amounts]) -> str:
    """What would let at least one of the pods go, as a sentence's end."""
    if reason.startswith(_INSUFFICIENT):
        return _room(reason.removeprefix(_INSUFFICIENT), pods, left)
    if reason.startswith("node(s) had untolerated taint"):
        taint = reason.partition("{")[2].rstrip("}")
        return f"tolerate the taint {taint.removesuffix(': ')}, or take it from a node"
    if reason == "node(s) were unschedulable":
        cordoned = sorted(n["metadata"]["name"] for n in nodes if (n.get("spec") or {}).get("unschedulable"))
        return f"uncordon {' or '.join(cordoned[:EXAMPLES_MAX])}" if cordoned else "uncordon a node"
    for start, remedy in _REMEDIES:
        if reason.startswith(start):
            return remedy
    return ""


_REMEDIES = (
    (GATED, "whoever set the gates removes them when the pod may go"),
    (NO_NODES, "add a node"),
    (NOT_TRIED, "nothing: the scheduler comes to it"),
    ("Too many pods", "add a node, or move pods off one"),
    ("node(s) didn't match Pod's node affinity", "label a node as the pod's nodeSelector or affinity asks"),
    ("node(s) didn't have free ports", "run fewer of them, add nodes, or do without host ports"),
    ("node(s) didn't match pod topology spread", "add nodes where there are too few pods, or allow a larger maxSkew"),
    ("node(s) didn't match pod affinity", "start the pods that it wants to be near"),
    ("node(s) didn't match pod anti-affinity", "add a node, or relax the anti-affinity"),
    ("node(s) didn't satisfy existing pods anti-affinity", "add a node, or relax the anti-affinity of those there"),
    ("persistentvolumeclaim", "create the claim, or correct its name in the pod"),
    ("pod has unbound immediate PersistentVolumeClaims", "add a volume that suits them, or a class that makes one"),
    ("waits for the scheduler", "start that scheduler, or leave schedulerName out"),
)


def _room(resource: str, pods: Sequence[Document], left: Sequence[usage.Amounts]) -> str:
    asked = [usage.totals(pod["spec"], "requests").get(resource, ZERO) for pod in pods]
    most = max((node.get(resource, ZERO) for node in left), default=ZERO)
    least, largest = min(asked), max(asked)
    wanted = str(largest) if least == largest else f"{least} to {largest}"
    return f"they ask for {wanted} each, and no node has more than {most} left: add or free some"


def _left(nodes: Sequence[Document], bound: Iterable[Document]) -> list[usage.Amounts]:
    """What each node has left of everything, never below nothing."""
    used: defaultdict[str, usage.Amounts] = defaultdict(dict)
    for pod in bound:
        spec = pod["spec"]
        if (pod.get("status") or {}).get("phase") not in _TERMINAL:
            taken = used[spec.get("nodeName") or ""]
            for name, amount in usage.totals(spec, "requests").items():
                taken[name] = taken.get(name, ZERO) + amount
    found = []
    for node in nodes:
        allocatable = (node.get("status") or {}).get("allocatable") or {}
        taken = used[node["metadata"]["name"]]
        found.append(
            {
                name: max(ZERO, quantities.parse(text) - taken.get(name, ZERO))
                for name, text in allocatable.items()
            }
        )
    return found
