"""Who wrote, in the words people use: alice, replicaset-controller, scheduler, node-2.

Pure readings of `Actor`. The kind decides where a chain of causes ends: at a person, or at a component
that acted on its own (a lease lapsed, a timer fired).
"""

from enum import StrEnum

from ksql.auth.identity import SCHEDULER_USER
from ksql.log.event import Actor

_SERVICE_ACCOUNT = "system:serviceaccount:"
_CONTROLLER = f"{_SERVICE_ACCOUNT}kube-system:"
_NODE = "system:node:"


# Of what somebody says a write is for; it stands in the log with the program that wrote.
REASON_CHARACTERS_MAX = 200
_REASON = "; reason: "
# How an undo has always said what it is for: ksql undo of r1042: the port was wrong.
_WAYS_BACK = ("ksql undo of r", "ksql restore to r")


class ActorKind(StrEnum):
    PERSON = "PERSON"
    CONTROLLER = "CONTROLLER"
    SCHEDULER = "SCHEDULER"
    NODE = "NODE"
    SERVICE_ACCOUNT = "SERVICE_ACCOUNT"
    SYSTEM = "SYSTEM"


def kind_of(user: str) -> ActorKind:
    """What kind of actor a user name belongs to. Names outside `system:` are people (or their tools)."""
    if user == SCHEDULER_USER:
        return ActorKind.SCHEDULER
    if user.startswith(_NODE):
        return ActorKind.NODE
    if user.startswith(_CONTROLLER):
        return ActorKind.CONTROLLER
    if user.startswith(_SERVICE_ACCOUNT):
        return ActorKind.SERVICE_ACCOUNT
    if user.startswith("system:") and user != "system:admin":
        return ActorKind.SYSTEM
    return ActorKind.PERSON


def is_outside(actor: Actor) -> bool:
    """Whether the write came from outside the cluster's own machinery: where the question why ends."""
    return bool(actor.impersonator) or kind_of(actor.user) in (ActorKind.PERSON, ActorKind.SERVICE_ACCOUNT)


def short(user: str) -> str:
    """The name without its prefix: system:node:node-2 is node-2."""
    if user == SCHEDULER_USER:
        return "scheduler"
    if user.startswith(_CONTROLLER):
        return user.removeprefix(_CONTROLLER)
    if user.startswith(_SERVICE_ACCOUNT):
        return "service account " + user.removeprefix(_SERVICE_ACCOUNT).replace(":", "/", 1)
    return user.removeprefix(_NODE).removeprefix("system:")


def called(actor: Actor) -> str:
    """How a sentence names the actor; whoever acted in another's name comes first."""
    name = short(actor.user) or "somebody"
    return f"{actor.impersonator} as {name}" if actor.impersonator else name


def users_called(name: str) -> tuple[str, ...]:
    """The user names that a short name may stand for, the literal one first."""
    if ":" in name:
        return (name,)
    if name == "scheduler":
        return (name, SCHEDULER_USER)
    return (name, _CONTROLLER + name, _NODE + name)


def with_reason(agent: str, reason: str | None) -> str:
    """What the log keeps of a program and of what somebody wrote for with it."""
    return f"{agent}{_REASON}{reason}" if reason else agent


def reason_of(agent: str) -> str | None:
    """What a write was for, as its author said; None where nothing was said."""
    separator = ": " if agent.startswith(_WAYS_BACK) else _REASON
    return agent.partition(separator)[2] or None
