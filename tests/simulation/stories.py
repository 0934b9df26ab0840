"""Documents and invariants that the simulations share."""

from ksql.base.clock import run_virtual
from ksql.simulation import Simulation


def deployment(name="web", replicas=3, image="nginx:1", namespace="default", annotations=None, **spec):
    labels = {"app": name}
    metadata = {"labels": labels}
    if annotations:
        metadata["annotations"] = {f"simulation.ksql.dev/{k}": v for k, v in annotations.items()}
    pod = {"containers": [{"name": "c", "image": image, "resources": {"requests": {"cpu": "100m"}}}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": metadata, "spec": pod},
            **spec,
        },
    }


def namespace(name):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def told(story, seed=1, **more):
    """Run `story(cluster)` on a whole cluster; at its end state must be the fold of the log."""

    async def main(clock):
        async with Simulation(clock, **more) as cluster:
            answer = await story(cluster)
            await cluster.check()
            return answer

    return run_virtual(main, seed)


def is_ready(pod):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions") or ())


def is_complete(cluster, name="web", namespace="default"):
    """As `kubectl rollout status` judges."""
    found = cluster.get("deployments.apps", namespace, name)
    status, wanted = found.get("status") or {}, found["spec"]["replicas"]
    return (
        status.get("observedGeneration", 0) >= found["metadata"]["generation"]
        and status.get("updatedReplicas", 0) == status.get("replicas", 0) == wanted
        and status.get("availableReplicas", 0) == wanted
    )


def images(cluster, namespace="default"):
    return {
        pod["spec"]["containers"][0]["image"]
        for pod in cluster.list("pods", namespace)
        if "deletionTimestamp" not in pod["metadata"]
    }


class Bounds:
    """Replays pod events and remembers the widest and the narrowest that a set of pods has been."""

    def __init__(self, app="web"):
        self._app, self._pods = app, {}
        self.most, self.least_ready = 0, None

    def take(self, event):
        if event.stream.resource != "pods":
            return
        document = event.document
        if (document["metadata"].get("labels") or {}).get("app") != self._app:
            return
        if event.change == "DELETED" or "deletionTimestamp" in document["metadata"]:
            self._pods.pop(event.stream.uid, None)
        else:
            self._pods[event.stream.uid] = is_ready(document)
        self.most = max(self.most, len(self._pods))
        ready = sum(self._pods.values())
        self.least_ready = ready if self.least_ready is None else min(self.least_ready, ready)

    def begin(self):
        """From here on counts."""
        self.most, self.least_ready = len(self._pods), sum(self._pods.values())
