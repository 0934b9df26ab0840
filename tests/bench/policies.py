"""What 100 admission policies cost a pod, and what none cost: `python -m tests.bench.policies`.

The process's own time, since a busy machine says nothing about what was done. Aim: under a millisecond for a
hundred policies, and nothing that can be measured where no guard is.
"""

import asyncio
import time
from collections.abc import Callable

from ksql.base.clock import SystemClock
from tests.verbs.room import Room, opened, pod

PODS, ROUNDS = 60, 5
POLICIES = 100
_GROUP = "admissionregistration.k8s.io"
# Of the shapes that policies in the field have.
_SHAPES: tuple[Callable[[int], str], ...] = (
    lambda n: f"object.spec.containers.all(c, !has(c.securityContext) || c.image != 'forbidden:{n}')",
    lambda n: f"!has(object.spec.hostNetwork) || object.metadata.name != 'host-{n}'",
    lambda n: f"object.metadata.?labels['tier-{n}'].orValue('web') == 'web'",
    lambda n: f"variables.images.all(i, !i.startsWith('registry-{n}.example.com/'))",
)


async def add_policies(room: Room) -> None:
    rules = [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]
    for number in range(POLICIES):
        name = f"policy-{number}"
        spec = {
            "matchConstraints": {"resourceRules": rules},
            "variables": [{"name": "images", "expression": "object.spec.containers.map(c, c.image)"}],
            "validations": [{"expression": _SHAPES[number % len(_SHAPES)](number)}],
        }
        await room.create(f"validatingadmissionpolicies.{_GROUP}", {"metadata": {"name": name}, "spec": spec})
        bound = {"policyName": name, "validationActions": ["Deny"]}
        await room.create(f"validatingadmissionpolicybindings.{_GROUP}", {"metadata": {"name": name}, "spec": bound})


async def milliseconds(room: Room) -> float:
    """What a pod's dry run costs, the best of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        begun = time.process_time()
        for number in range(PODS):
            body = pod(f"web-{number}")
            await room.perform("create", "pods", "shop", body=body, options={"dry_run": True})
        best = min(best, (time.process_time() - begun) / PODS * 1000)
    return best


async def main() -> None:
    async with opened(SystemClock(seed=1)) as room:
        without = await milliseconds(room)
        await add_policies(room)
        print(f"a pod without policies: {without:.3f} ms")
        with_all = await milliseconds(room)
        print(f"a pod with {POLICIES} policies: {with_all:.3f} ms, of which theirs {with_all - without:.3f} ms")


if __name__ == "__main__":
    asyncio.run(main())
