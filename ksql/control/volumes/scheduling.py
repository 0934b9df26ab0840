"""What the scheduler asks about volumes, and what is written before a pod is bound: the shell around `needs`.

A pod is bound only once its claims are: volumes are reserved and nodes selected in the pod's binding task, which then
waits for the binder and the provisioner. Meanwhile the pod counts on its node as every assumed pod does.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from ksql.base.documents import Document
from ksql.client import Client
from ksql.control.controller import Kit, write
from ksql.control.informer import Informer, Update, revision_of
from ksql.control.pods import is_terminal, node_name
from ksql.control.volumes import binder, words
from ksql.control.volumes.limits import Attached, Limits, limits_of, merged, volumes_of
from ksql.control.volumes.matching import Place
from ksql.control.volumes.needs import NOTHING_NEEDED, Known, Needs, needs_of
from ksql.control.volumes.words import CLAIMS, CLASSES, VOLUMES

CSI_NODES = "csinodes.storage.k8s.io"
# A binding waits that long for its volumes, as kube-scheduler's does.
BOUND_SECONDS_MAX = 600.0


class UnboundError(Exception):
    """The claims of a pod did not come to volumes: it is to be placed again."""


class PodVolumes:
    """Looks at claims, volumes and classes for the scheduler. `changed` is told the revision of whatever may help."""

    def __init__(
        self, kit: Kit, client: Client, changed: Callable[[int], None],
        assumed: Callable[[], Mapping[str, str]] = dict,
    ) -> None:  # fmt: skip
        self._client, self._tell, self._assumed = client, changed, assumed
        self._csi_nodes = kit.informers.of(CSI_NODES)
        kit.informers.of("pods").add_index("node", lambda pod: [node_name(pod)])
        self._claims, self._volumes = kit.informers.of(CLAIMS), kit.informers.of(VOLUMES)
        self._classes, self._pods = kit.informers.of(CLASSES), kit.informers.of("pods")
        binder.index(kit)
        self._moved: set[asyncio.Future[None]] = set()
        for informer in self.informers:
            informer.add_handler(self._changed)

    @property
    def informers(self) -> tuple[Informer, ...]:
        """What must have listed before anything is asked."""
        return self._claims, self._volumes, self._classes, self._csi_nodes

    def _changed(self, update: Update) -> None:
        for future in self._moved:
            if not future.done():
                future.set_result(None)
        self._tell(update.revision)

    def needs(self, pod: Document) -> Needs:
        """What the pod's claims ask, as of now."""
        names = [name for name, _ in words.claims_of(pod)]
        if not names:
            return NOTHING_NEEDED
        namespace = pod["metadata"]["namespace"]
        claims = {name: claim for name in names if (claim := self._claims.get(namespace, name)) is not None}
        classes, volumes, free, users = {}, {}, {}, {}
        for name, claim in claims.items():
            key = f"{namespace}/{name}"
            named, volume = words.class_of(claim) or "", self._volumes.by_key(claim["spec"].get("volumeName") or "")
            if volume is not None:
                volumes[volume["metadata"]["name"]] = volume
            if (found := self._classes.by_key(named)) is not None:
                classes[named] = found
            users[name] = self._pods.indexed(binder.CLAIM, key)
            free[name] = (*self._volumes.indexed(binder.CLAIM, key), *self._volumes.indexed(binder.FREE, named))
        needs = needs_of(pod, Known(claims, volumes, classes, free, users))
        if not len(self._csi_nodes) or needs.refusal:
            return needs
        return replace(needs, limits=Limits(self._used_by(pod), self._most, self._there))

    def _used_by(self, pod: Document) -> Attached:
        namespace, found = pod["metadata"]["namespace"], []
        for name, _ in words.claims_of(pod):
            if (claim := self._claims.get(namespace, name)) is not None:
                volume = self._volumes.by_key(claim["spec"].get("volumeName") or "")
                found.append((claim, volume, self._classes.by_key(words.class_of(claim) or "")))
        return volumes_of(found)

    def _most(self, node: str) -> Mapping[str, int]:
        return limits_of(self._csi_nodes.get("", node))

    def _there(self, node: str) -> Attached:
        """What pods on a node use, those included that are only on their way to it."""
        pods = {pod["metadata"]["uid"]: pod for pod in self._pods.indexed("node", node)}
        for uid, at in self._assumed().items():
            if at == node and (pod := self._pods.by_uid(uid)) is not None:
                pods[uid] = pod
        return merged(self._used_by(pod) for pod in pods.values() if not is_terminal(pod))

    async def ready(self, pod: Document, needs: Needs, node: str, labels: Mapping[str, str], cause: int | None) -> None:
        """Write what binds the waiting claims there, and return once all are bound; `UnboundError` when they are not.

        `ApiError` when a write is refused: somebody else has taken a volume, or the claim is gone.
        """
        if not needs.waiting:
            return
        for change in needs.changes(Place(node, labels)):
            stored = await write(self._client, change, cause)
            if stored is not None and stored["kind"] == "PersistentVolumeClaim":
                # What is looked at from here on must not be older than what was just written.
                await self._claims.seen(revision_of(stored))
        names = [each.claim["metadata"]["name"] for each in needs.waiting]
        try:
            async with asyncio.timeout(BOUND_SECONDS_MAX):
                while not self._are_bound(pod["metadata"]["namespace"], names, node):
                    await self._move()
        except TimeoutError:
            raise UnboundError(f"claims not bound within {BOUND_SECONDS_MAX:.0f} s") from None

    def _are_bound(self, namespace: str, names: list[str], node: str) -> bool:
        are_bound = True
        for name in names:
            claim = self._claims.get(namespace, name)
            if claim is None:
                raise UnboundError(f'persistentvolumeclaim "{name}" not found')
            marks = words.annotations_of(claim)
            if words.phase(claim) == "Bound" and words.BIND_COMPLETED in marks:
                continue
            is_rejected = words.PROVISIONER in marks and words.SELECTED_NODE not in marks
            if is_rejected or marks.get(words.SELECTED_NODE, node) != node:
                raise UnboundError(f'provisioning of persistentvolumeclaim "{name}" failed on the selected node')
            are_bound = False
        return are_bound

    async def _move(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._moved.add(future)
        try:
            await future
        finally:
            self._moved.discard(future)
