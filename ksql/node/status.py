"""A pod's status as a kubelet writes it, computed from what the worker knows. Pure.

Everything is computed anew each time from the records; what the API already shows is only asked for the
moment since when a condition stands, and for conditions that are others' (the scheduler's, gates').
"""

from collections.abc import Sequence

from ksql.base.documents import Document
from ksql.node.record import Record, Role, Stage

READY_TO_START = "PodReadyToStartContainers"
OWN_CONDITIONS = (READY_TO_START, "Initialized", "Ready", "ContainersReady", "PodScheduled")

Fact = tuple[bool, str, str]  # whether it stands, reason, message


def phase_of(pod: Document, records: Sequence[Record], is_stopped: bool) -> str:
    """The one word for a pod. `is_stopped`: it was told to end and all its containers have."""
    policy = pod["spec"].get("restartPolicy", "Always")
    mains = [record for record in records if record.role is Role.MAIN]
    if is_stopped:
        return "Succeeded" if all(record.succeeded for record in mains) else "Failed"
    inits = [record for record in records if record.role is Role.INIT]
    if any(record.exit_code for record in inits):
        return "Failed"
    if any(not record.succeeded for record in inits):
        return "Pending"
    if any(record.state.get("waiting") and not record.last for record in mains):
        return "Pending"
    sidecars_run = any(record.role is Role.SIDECAR and record.stage is Stage.RUNNING for record in records)
    if policy == "Always" or sidecars_run or any(record.stage is not Stage.ENDED for record in mains):
        return "Running"
    return "Succeeded" if all(record.succeeded for record in mains) else "Failed"


def status_of(
    pod: Document,
    records: Sequence[Record],
    *,
    phase: str,
    addresses: Sequence[str],
    host_address: str,
    start_time: str,
    now: str,
    failure: tuple[str, str] | None = None,
) -> Document:
    """The whole status. `failure` is the reason and message of a pod that its node gave up."""
    old: Document = pod.get("status") or {}
    conditions = _conditions(pod, records, phase, bool(addresses), now)
    status: Document = {}
    if pod["metadata"].get("generation"):
        status["observedGeneration"] = pod["metadata"]["generation"]
    status["phase"] = phase
    status["conditions"] = conditions
    if failure is not None:
        status["reason"], status["message"] = failure
    status["hostIP"], status["hostIPs"] = host_address, [{"ip": host_address}]
    if addresses:
        status["podIP"], status["podIPs"] = addresses[0], [{"ip": address} for address in addresses]
    status["startTime"] = start_time
    inits = [record.document() for record in records if record.role in (Role.INIT, Role.SIDECAR)]
    if inits:
        status["initContainerStatuses"] = inits
    status["containerStatuses"] = [record.document() for record in records if record.role is Role.MAIN]
    if guests := [record.document() for record in records if record.role is Role.EPHEMERAL]:
        status["ephemeralContainerStatuses"] = guests
    # What is not the node's to say stays as it is (qosClass, nominatedNodeName, resize…).
    return {**{key: value for key, value in old.items() if key not in status}, **status}


def _conditions(
    pod: Document, records: Sequence[Record], phase: str, has_sandbox: bool, now: str
) -> list[Document]:
    old = {condition["type"]: condition for condition in (pod.get("status") or {}).get("conditions") or ()}
    # A pod that has ended has no sandbox any more, whatever its address was.
    facts: dict[str, Fact] = {READY_TO_START: (has_sandbox and phase not in ("Succeeded", "Failed"), "", "")}
    facts["Initialized"] = _initialized(records, phase)
    facts["ContainersReady"] = containers = _containers_ready(records, phase)
    facts["Ready"] = _gates(pod, old) if containers[0] else containers
    facts["PodScheduled"] = (True, "", "")
    generation = pod["metadata"].get("generation")
    made = [_condition(name, facts[name], old.get(name), now, generation) for name in OWN_CONDITIONS]
    return [*made, *(condition for name, condition in old.items() if name not in facts)]


def _condition(name: str, fact: Fact, old: Document | None, now: str, generation: int | None) -> Document:
    stands, reason, message = fact
    status = "True" if stands else "False"
    since = old["lastTransitionTime"] if old and old.get("status") == status else None
    return {
        "type": name,
        **({"observedGeneration": generation} if generation else {}),
        "status": status,
        # Printed though it says nothing: what is compared with the stored must be written as that is.
        "lastProbeTime": None,
        "lastTransitionTime": since or now,
        **({"reason": reason} if reason else {}),
        **({"message": message} if message else {}),
    }


def _initialized(records: Sequence[Record], phase: str) -> Fact:
    if phase == "Succeeded":
        return True, "PodCompleted", ""
    missing = [
        record.name for record in records
        if (record.role is Role.INIT and not record.succeeded)
        or (record.role is Role.SIDECAR and not record.started)
    ]  # fmt: skip
    if missing and phase != "Running":
        return False, "ContainersNotInitialized", f"containers with incomplete status: [{' '.join(missing)}]"
    return True, "", ""


def _containers_ready(records: Sequence[Record], phase: str) -> Fact:
    if phase == "Succeeded":
        return False, "PodCompleted", ""
    if phase == "Failed":
        return False, "PodFailed", ""
    unready = [record.name for record in records if record.role in (Role.MAIN, Role.SIDECAR) and not record.ready]
    if unready:
        return False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    return True, "", ""


def _gates(pod: Document, conditions: dict[str, Document]) -> Fact:
    """Readiness gates: conditions others set, without which a pod is not ready."""
    faults = []
    for gate in pod["spec"].get("readinessGates") or ():
        name = gate["conditionType"]
        if name not in conditions:
            faults.append(f'corresponding condition of pod readiness gate "{name}" does not exist.')
        elif conditions[name].get("status") != "True":
            found = conditions[name].get("status")
            faults.append(f'the status of pod readiness gate "{name}" is not "True", but {found}')
    return (False, "ReadinessGatesNotReady", ", ".join(faults)) if faults else (True, "", "")
