"""GraphQL's offers: what is free on each node, told to schedulers outside as it changes."""

from collections.abc import AsyncIterator, Mapping
from typing import Annotated

import strawberry

from ksql.schema import quantities, selectors
from ksql.schema.quantities import Quantity
from ksql.serve.gql.errors import refusal
from ksql.serve.gql.fields import about, followed, resolved
from ksql.serve.gql.nodes import Info
from ksql.serve.gql.scalars import Revision
from ksql.verbs.offers import OFFER_ANNOTATION, Offer

# How long changes are gathered before they are told: a burst of bindings is one update and not a thousand.
GATHER_SECONDS = 0.05


@strawberry.type(name="OfferedAmount", description="How much of one resource a node has left.")
class OfferedAmount:
    resource: str = strawberry.field(description="cpu, memory, pods, or an extended resource.")
    free: str = strawberry.field(description="What is left, as a quantity; negative where it is over-committed.")
    allocatable: str = strawberry.field(description="What there is for pods in all.")


@strawberry.type(name="Offer", description="What one node has to give.")
class NodeOffer:
    offer: strawberry.Private[Offer]

    @resolved("The node's name.")
    def node(self) -> str:
        return str(self.offer.node["metadata"]["name"])

    @resolved("What it has left, by resource.")
    def amounts(self) -> list[OfferedAmount]:
        allocatable = self.offer.node["status"]["allocatable"]
        return [
            OfferedAmount(resource=name, free=str(amount), allocatable=str(allocatable[name]))
            for name, amount in sorted(self.offer.free.items())
        ]

    @resolved("The node's labels, as key=value.")
    def labels(self) -> list[str]:
        return sorted(f"{key}={value}" for key, value in (self.offer.node["metadata"].get("labels") or {}).items())

    @resolved("The node's taints, as key=value:effect.")
    def taints(self) -> list[str]:
        taints = self.offer.node["spec"].get("taints") or ()
        return [f"{one['key']}={one.get('value') or ''}:{one['effect']}" for one in taints]

    @resolved("Whether the node is cordoned off.")
    def unschedulable(self) -> bool:
        return bool(self.offer.node["spec"].get("unschedulable"))

    @resolved(
        "When what is left last changed. Bind a pod (POST …/pods/NAME/binding) with this as the annotation "
        f"{OFFER_ANNOTATION}, and it is refused when the node has not enough left any more."
    )
    def revision(self) -> Revision:
        return Revision(self.offer.revision)


@strawberry.type(name="OffersUpdate", description="What has become of the offers.")
class OffersUpdate:
    offers: list[NodeOffer] = strawberry.field(description="Offers that are new or not what they were.")
    withdrawn: list[str] = strawberry.field(description="Nodes that went, or no longer have the least asked for.")
    revision: Revision = strawberry.field(description="The revision that this is seen from.")


@strawberry.type
class Offering:
    """The subscription of schedulers outside."""

    @followed("What is free on each node: first of all nodes, then of those where it has changed. For schedulers "
        "outside of the cluster, which bind pods on the strength of it.")
    async def offers(
        self, info: Info,
        label_selector: Annotated[str | None, about("Only nodes with these labels, as kubectl's -l.")] = None,
        cpu: Annotated[str | None, about("Only nodes with so much cpu left, such as 500m.")] = None,
        memory: Annotated[str | None, about("Only nodes with so much memory left, such as 2Gi.")] = None,
    ) -> AsyncIterator[OffersUpdate]:  # fmt: skip
        ctx = info.context
        for resource in ("nodes", "pods"):
            for verb in ("list", "watch"):
                ctx.require(verb, resource)
        least = {"cpu": _least("cpu", cpu), "memory": _least("memory", memory)}
        selector = selectors.parse_labels(label_selector or "")
        rooms, course = ctx.rooms, ctx.course
        told: dict[str, int] = {}
        position = -1
        while True:
            now = rooms.objects.revision
            changed, gone = rooms.offers.changed(position)
            made, withdrawn = [], [name for name in gone if told.pop(name, None) is not None]
            for offer in changed:
                name = offer.node["metadata"]["name"]
                if selector.matches(offer.node["metadata"].get("labels")) and _is_enough(offer, least):
                    made.append(NodeOffer(offer=offer))
                    told[name] = offer.revision
                elif told.pop(name, None) is not None:
                    withdrawn.append(name)
            is_first, position = position < 0, now
            course.position = now
            if made or withdrawn or is_first:
                yield OffersUpdate(offers=made, withdrawn=withdrawn, revision=Revision(now))
            if course.arrive(now):
                return
            while rooms.objects.revision == position:
                await rooms.objects.changed.wait()
            await rooms.clock.sleep(GATHER_SECONDS)


def _least(name: str, text: str | None) -> Quantity:
    try:
        return quantities.parse(text or "0")
    except ValueError:
        raise refusal(f"{name}: {text!r} is no quantity") from None


def _is_enough(offer: Offer, least: Mapping[str, Quantity]) -> bool:
    return all(not amount or (name in offer.free and not offer.free[name] < amount) for name, amount in least.items())
