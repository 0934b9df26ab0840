"""What must hold after every event of a cluster, and what must hold once it is quiet.

`Invariants.fold` is given each committed batch, as the state is, and keeps its own books from the events alone: it
shares no line with the code that it watches. It never raises (it runs inside the log's round); what it finds broken it
keeps, with the event, and `hold` raises.
"""

import asyncio
from collections import defaultdict

from ksql.schema import quantities, selectors
from tests.simulation.stories import is_ready

TERMINAL = ("Succeeded", "Failed")
REPLICASETS, DEPLOYMENTS, STATEFULSETS = "replicasets.apps", "deployments.apps", "statefulsets.apps"
JOBS, BUDGETS, QUOTAS = "jobs.batch", "poddisruptionbudgets.policy", "resourcequotas"
CONTROLLER = "system:serviceaccount:kube-system:"
# What the scheduler, the nodes or the storage may be late with before it counts as forgotten.
COMPONENTS = ("system:kube-scheduler", "system:node:", CONTROLLER)
# A controller whose news are late, and which was dead for a while before, has seen a change by then.
NOTICED_SECONDS = 60


def meta(document):
    return document["metadata"]


def controller_of(document):
    for reference in meta(document).get("ownerReferences") or ():
        if reference.get("controller"):
            return reference
    return None


def is_ending(document):
    return "deletionTimestamp" in meta(document)


def is_over(pod):
    return (pod.get("status") or {}).get("phase") in TERMINAL


def is_active(pod):
    return not is_ending(pod) and not is_over(pod)


def cpu_of(pod):
    return sum(
        quantities.milli(((c.get("resources") or {}).get("requests") or {}).get("cpu", 0))
        for c in pod["spec"]["containers"]
    )


def bound(value, total, round_up):
    if isinstance(value, str):
        product = int(value[:-1]) * total
        return -(-product // 100) if round_up else product // 100
    return int(value)


class Invariants:
    """Follows one cluster. `peaceful`: nobody takes pods or nodes away, so availability is the controllers' doing."""

    def __init__(self, peaceful=False):
        self.peaceful = peaceful
        self.broken = []
        self.objects = {}  # by uid: (resource, document)
        self.pods = defaultdict(dict)  # by controller's uid, then by uid: pods that are there
        self.on_node = defaultdict(dict)  # cpu by node and uid
        self.succeeded = defaultdict(dict)  # by job's uid: pods that ever succeeded, with their index
        self.failed = defaultdict(set)  # by job's uid: pods that failed, or were taken before they ended
        self.ceilings = {}  # by uid: the most pods that a workload was allowed since it was last caught up with
        self.floors = {}  # by uid: the fewest that had to be available
        self.generations = {}  # by uid: a job's generation, and when it was first seen
        self.checks = 0

    def hold(self):
        """Raise with the first broken invariant."""
        if self.broken:
            raise AssertionError(f"{len(self.broken)} broken, the first: {self.broken[0]}")

    def breaks(self, event, claim):
        self.broken.append(f"{claim} at {event!r}")

    def fold(self, events):
        for event in events:
            try:
                self.take(event)
            except Exception as error:  # a fault of the books, which must not stop the log
                self.breaks(event, f"cannot be checked: {error!r}")

    # Books.

    def take(self, event):
        uid, resource = event.stream.uid, event.stream.resource
        document, old = event.document, self.objects.get(uid, ("", None))[1]
        if event.change == "DELETED":
            self.objects.pop(uid, None)
            self.forget_pod(uid, old)
        else:
            self.objects[uid] = (resource, document)
        if resource == "pods":
            self.take_pod(event, uid, document, old)
        elif resource in (DEPLOYMENTS, REPLICASETS, STATEFULSETS, JOBS):
            self.note_bounds()
        if resource == JOBS and event.change != "DELETED":
            self.check_job(event, uid, document, old)
        if resource in (BUDGETS, JOBS):
            self.checks += 1
        joins = resource == "nodes" and event.verb == "create"
        if event.cause is None and event.actor.user.startswith(COMPONENTS) and not event.transient and not joins:
            self.breaks(event, "a component's write has no cause")

    def forget_pod(self, uid, old):
        if old is not None:
            for books in (self.pods, self.on_node):
                for kept in books.values():
                    kept.pop(uid, None)

    def take_pod(self, event, uid, pod, old):
        reference = controller_of(pod)
        owner = reference["uid"] if reference else ""
        if event.change == "DELETED":
            self.note_lost(owner, uid, old or pod)
            if not self.is_wanted_gone(event):
                self.breaks(event, "a pod went that nobody asked to end")
            return
        for kept in self.pods.values():
            kept.pop(uid, None)
        self.pods[owner][uid] = pod
        if reference and reference["kind"] == "Job":
            self.note_job_pod(owner, uid, pod)
        self.check_binding(event, uid, pod, old)
        self.checks += 1
        if old is None and event.actor.user.startswith(CONTROLLER):
            self.check_creation(event, pod, reference)
        if old is not None and is_ending(pod) and not is_ending(old):
            self.check_ending(event, pod, reference)
        if old is None:
            self.check_quota(event, pod)

    def is_wanted_gone(self, event):
        # Ending at once (no grace, or nothing ran yet) is one event.
        return event.verb in ("delete", "deletecollection", "create", "update", "patch")

    def note_job_pod(self, job, uid, pod):
        phase = (pod.get("status") or {}).get("phase")
        if phase == "Succeeded":
            index = (meta(pod).get("annotations") or {}).get("batch.kubernetes.io/job-completion-index")
            # One that was asked to end before may have been counted as failed, or given up.
            is_clean = not is_ending(pod) and "batch.kubernetes.io/job-tracking" in (meta(pod).get("finalizers") or ())
            self.succeeded[job].setdefault(uid, (index, is_clean))
        elif phase == "Failed" or is_ending(pod):
            self.failed[job].add(uid)

    def note_lost(self, owner, uid, pod):
        found = self.objects.get(owner)
        if found is not None and found[0] == JOBS and (pod.get("status") or {}).get("phase") != "Succeeded":
            self.failed[owner].add(uid)

    # Bounds of workloads.

    def note_bounds(self):
        """What each workload allows now; less than before only once its controllers have caught up with it."""
        for uid, (resource, document) in self.objects.items():
            if resource == DEPLOYMENTS:
                sets = [d for r, d in self.objects.values() if r == REPLICASETS and self.is_owned(d, uid)]
                most, least = self.of_deployment(document)
                caught_up = self.is_observed(document) and all(self.is_observed(s) for s in sets)
                caught_up &= sum(s["spec"]["replicas"] for s in sets) <= most
            elif resource in (REPLICASETS, STATEFULSETS):
                most = least = document["spec"]["replicas"]
                caught_up = self.is_observed(document)
            elif resource == JOBS:
                most = least = 0 if document["spec"].get("suspend") else document["spec"]["parallelism"]
                # Nothing in a Job says which generation was looked at: its controller is given its time.
                now = asyncio.get_running_loop().time()
                if self.generations.get(uid, (0, 0))[0] != meta(document)["generation"]:
                    self.generations[uid] = meta(document)["generation"], now
                caught_up = now - self.generations[uid][1] > NOTICED_SECONDS
            else:
                continue
            known = uid in self.ceilings and not caught_up
            self.ceilings[uid] = max(most, self.ceilings[uid]) if known else most
            self.floors[uid] = min(least, self.floors[uid]) if known else least

    def is_owned(self, document, uid):
        reference = controller_of(document)
        return reference is not None and reference["uid"] == uid

    def is_observed(self, document):
        return (document.get("status") or {}).get("observedGeneration", 0) >= meta(document)["generation"]

    def of_deployment(self, document):
        replicas = document["spec"]["replicas"]
        if document["spec"]["strategy"]["type"] == "Recreate":
            return replicas, 0
        rolling = document["spec"]["strategy"]["rollingUpdate"]
        surge = bound(rolling["maxSurge"], replicas, True)
        missing = bound(rolling["maxUnavailable"], replicas, False)
        return replicas + surge, replicas - (missing or (0 if surge else 1))

    def own_pods(self, uid):
        return [pod for pod in self.pods[uid].values() if is_active(pod)]

    def pods_of_deployment(self, uid):
        sets = [u for u, (r, d) in self.objects.items() if r == REPLICASETS and self.is_owned(d, uid)]
        return [pod for each in sets for pod in self.own_pods(each)]

    def deployment_of(self, reference):
        found = self.objects.get(reference["uid"]) if reference else None
        above = controller_of(found[1]) if found else None
        found = self.objects.get(above["uid"]) if above else None
        return found[1] if found else None

    def check_creation(self, event, pod, reference):
        if reference is None or reference["uid"] not in self.objects:
            return
        uid, kind = reference["uid"], reference["kind"]
        owner = self.objects[uid][1]
        active = len(self.own_pods(uid))
        if kind in ("ReplicaSet", "Job"):
            self.note_bounds()
            # A Job's parallelism may have been lowered while its controller had not looked yet.
            if active > self.ceilings[uid]:
                self.breaks(event, f"{active} pods of {kind} {meta(owner)['name']}, {self.ceilings[uid]} wanted")
        deployment = self.deployment_of(reference) if kind == "ReplicaSet" else None
        if deployment is not None:
            uid = meta(deployment)["uid"]
            active = len(self.pods_of_deployment(uid))
            if active > self.ceilings[uid]:
                self.breaks(event, f"{active} pods of {meta(deployment)['name']}, {self.ceilings[uid]} allowed")
            if deployment["spec"]["strategy"]["type"] == "Recreate":
                self.check_recreate(event, uid, reference)
        if kind == "StatefulSet":
            self.check_ordinal(event, owner, pod)
        if kind == "DaemonSet":
            self.check_daemon(event, owner)

    def check_recreate(self, event, deployment, reference):
        """A pod of a new revision is made only when all of the others have ended."""
        for uid, (resource, document) in self.objects.items():
            if resource == REPLICASETS and self.is_owned(document, deployment) and uid != reference["uid"]:
                left = [meta(p)["name"] for p in self.pods[uid].values() if not is_over(p)]
                if left and not document["spec"]["replicas"]:
                    self.breaks(event, f"a recreated Deployment runs beside its old pods {left}")

    def check_ordinal(self, event, owner, pod):
        ordinal = int(meta(pod)["name"].rpartition("-")[2])
        start = (owner["spec"].get("ordinals") or {}).get("start", 0)
        self.note_bounds()
        if not start <= ordinal < start + self.ceilings[meta(owner)["uid"]]:
            self.breaks(event, f"ordinal {ordinal} of StatefulSet {meta(owner)['name']} is not wanted")
        if not self.peaceful or owner["spec"].get("podManagementPolicy") == "Parallel":
            return
        there = {meta(p)["name"]: p for p in self.pods[meta(owner)["uid"]].values()}
        for lower in range(start, ordinal):
            below = there.get(f"{meta(owner)['name']}-{lower}")
            if below is None or not is_ready(below):
                self.breaks(event, f"ordinal {ordinal} of an ordered set was made before {lower} was ready")

    def check_daemon(self, event, owner):
        nodes = defaultdict(int)
        for pod in self.own_pods(meta(owner)["uid"]):
            nodes[pod["spec"].get("nodeName") or wanted_node(pod)] += 1
        doubled = {node: count for node, count in nodes.items() if count > 1}
        if doubled:
            self.breaks(event, f"more than one daemon pod on {doubled}")

    def check_ending(self, event, pod, reference):
        """A controller that ends pods by its own will leaves as many as it must."""
        if not event.actor.user.startswith(CONTROLLER) or not self.peaceful or not is_ready_before(pod):
            return
        if event.actor.user.endswith("replicaset-controller"):
            deployment = self.deployment_of(reference)
            if deployment is None or is_ending(deployment):
                return
            uid = meta(deployment)["uid"]
            left = sum(1 for p in self.pods_of_deployment(uid) if is_ready(p))
            if left < self.floors[uid]:
                self.breaks(event, f"{left} available of {meta(deployment)['name']}, {self.floors[uid]} needed")

    # Jobs.

    def check_job(self, event, uid, job, old):
        status = job.get("status") or {}
        succeeded, failed = status.get("succeeded", 0), status.get("failed", 0)
        _, most = self.succeeded_of(uid, job)
        if succeeded > most:
            self.breaks(event, f"{succeeded} succeeded, but only {most} pods have")
        if failed > len(self.failed[uid]):
            self.breaks(event, f"{failed} failed, but only {len(self.failed[uid])} pods have")
        if old is not None and is_finished(old) and not is_finished(job):
            self.breaks(event, "a finished job has begun again")
        complete = any(c["type"] == "Complete" and c["status"] == "True" for c in status.get("conditions") or ())
        completions = job["spec"].get("completions")
        if complete and completions is not None and succeeded < completions and not job["spec"].get("successPolicy"):
            self.breaks(event, f"complete with {succeeded} of {completions}")

    def succeeded_of(self, uid, job):
        """How many successes a job must have counted in the end, and how many it may have."""
        known = self.succeeded[uid].values()
        if job["spec"].get("completionMode") == "Indexed":
            return len({index for index, is_clean in known if is_clean}), len({index for index, _ in known})
        return sum(is_clean for _, is_clean in known), len(known)

    # Nodes, quotas.

    def check_binding(self, event, uid, pod, old):
        node, before = pod["spec"].get("nodeName"), (old or {}).get("spec", {}).get("nodeName")
        if before and node != before:
            self.breaks(event, f"moved from {before} to {node}")
        if not node:
            return
        if is_over(pod):
            self.on_node[node].pop(uid, None)
            return
        self.on_node[node][uid] = cpu_of(pod)
        if before is None:
            there = next((d for r, d in self.objects.values() if r == "nodes" and meta(d)["name"] == node), None)
            total = sum(self.on_node[node].values())
            if there is not None and total > quantities.milli(there["status"]["allocatable"]["cpu"]):
                self.breaks(event, f"{node} is over-committed: {total}m")

    def check_quota(self, event, pod):
        for resource, quota in self.objects.values():
            if resource != QUOTAS or meta(quota)["namespace"] != event.stream.namespace:
                continue
            there = [
                d for r, d in self.objects.values()
                if r == "pods" and meta(d)["namespace"] == event.stream.namespace and not is_over(d)
            ]  # fmt: skip
            hard = quota["spec"]["hard"]
            if "pods" in hard and len(there) > int(hard["pods"]):
                self.breaks(event, f"{len(there)} pods, the quota is {hard['pods']}")
            used = sum(cpu_of(d) for d in there)
            if "requests.cpu" in hard and used > quantities.milli(hard["requests.cpu"]):
                self.breaks(event, f"{used}m of cpu asked for, the quota is {hard['requests.cpu']}")

    # Once it is quiet.

    def check_settled(self):
        """What holds of a cluster that nothing disturbs any more."""
        self.broken += self.unsettled()

    def unsettled(self):
        """What does not hold yet."""
        before, self.broken = self.broken, []
        self.look_at_all()
        found, self.broken = self.broken, before
        return found

    def look_at_all(self):
        for uid, (resource, document) in self.objects.items():
            name = f"{resource} {meta(document).get('namespace', '')}/{meta(document)['name']}"
            owners = meta(document).get("ownerReferences") or ()
            if owners and not any(o["uid"] in self.objects for o in owners):
                self.broken.append(f"{name} outlives its owner {owners[0]['kind']} {owners[0]['name']}")
            if is_ending(document):
                self.broken.append(f"{name} never ends: {meta(document).get('finalizers')}")
            if resource == "pods" and (document.get("status") or {}).get("phase") == "Pending":
                self.broken.append(f"{name} never starts: {document['status'].get('conditions')}")
            self.check_settled_one(uid, resource, document, name)

    def check_settled_one(self, uid, resource, document, name):
        status = document.get("status") or {}
        if resource in (DEPLOYMENTS, REPLICASETS, STATEFULSETS):
            wanted = document["spec"]["replicas"]
            counts = {key: status.get(key, 0) for key in ("replicas", "readyReplicas", "availableReplicas")}
            pods = self.pods_of_deployment(uid) if resource == DEPLOYMENTS else self.own_pods(uid)
            if {*counts.values()} != {wanted} or len(pods) != wanted or not self.is_observed(document):
                self.broken.append(f"{name} wants {wanted} and has {len(pods)}, says {counts}")
        elif resource == JOBS:
            if not is_finished(document) or "ttlSecondsAfterFinished" in document["spec"]:
                self.broken.append(f"{name} is not over: {status}")
                return
            least, most = self.succeeded_of(uid, document)
            if not least <= status.get("succeeded", 0) <= most or status.get("uncountedTerminatedPods"):
                self.broken.append(f"{name} counts {status}, but {least} to {most} pods have succeeded")
        elif resource == "daemonsets.apps":
            nodes = sum(1 for r, _ in self.objects.values() if r == "nodes")
            counts = {key: status.get(key, 0) for key in ("desiredNumberScheduled", "numberReady")}
            if {*counts.values(), len(self.own_pods(uid))} != {nodes}:
                self.broken.append(f"{name} says {counts} on {nodes} nodes")
        elif resource == BUDGETS:
            if status.get("disruptedPods"):
                self.broken.append(f"{name} waits for {status['disruptedPods']}")
        elif resource == "services" and document["spec"].get("selector"):
            self.check_endpoints(document, name)
        elif resource == "persistentvolumeclaims" and document["spec"].get("volumeName"):
            volume = next(
                d for r, d in self.objects.values()
                if r == "persistentvolumes" and meta(d)["name"] == document["spec"]["volumeName"]
            )  # fmt: skip
            if volume["spec"]["claimRef"]["uid"] != uid:
                self.broken.append(f"{name} and its volume disagree")

    def check_endpoints(self, service, name):
        selector = selectors.from_document({"matchLabels": service["spec"]["selector"]})
        namespace = meta(service)["namespace"]
        ready = {
            d["status"]["podIP"] for r, d in self.objects.values()
            if r == "pods" and meta(d)["namespace"] == namespace and is_active(d) and is_ready(d)
            and selector.matches(meta(d).get("labels"))
        }  # fmt: skip
        told = [
            address
            for r, d in self.objects.values() if r == "endpointslices.discovery.k8s.io"
            and meta(d)["namespace"] == namespace
            and meta(d)["labels"].get("kubernetes.io/service-name") == meta(service)["name"]
            for e in d.get("endpoints") or () if e["conditions"].get("ready") for address in e["addresses"]
        ]  # fmt: skip
        if sorted(told) != sorted(ready):
            self.broken.append(f"{name} tells {sorted(told)}, ready are {sorted(ready)}")


def wanted_node(pod):
    """The node that a daemon pod is made for."""
    affinity = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    return affinity["nodeSelectorTerms"][0]["matchFields"][0]["values"][0]


def is_ready_before(pod):
    return is_ready(pod)


def is_finished(job):
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)
