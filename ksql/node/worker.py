"""One pod on its node: a state machine fed with documents, reports and timers.

It says commands to the runtime and marks itself for writing; the agent then writes what `changes`
answers. It keeps kubelet's rules (order of init containers, restart policy, back-offs, termination) for
every runtime alike. Nothing here waits. It is one file, though a long one, since its states are one machine's.
"""

from collections import deque
from typing import Protocol

from ksql.base.clock import Clock, parse_rfc3339, rfc3339
from ksql.base.documents import Document
from ksql.node.acting import holds_back, is_watched
from ksql.node.backoff import BACK_OFF_RESET_SECONDS, go_duration, next_back_off
from ksql.node.care import Care
from ksql.node.limits import is_resized, restarts_to_resize
from ksql.node.record import Record, Role, Stage, guests_of, records_of
from ksql.node.runtime import (
    Complaint,
    Exited,
    Hooked,
    Probed,
    Pulled,
    PullFailed,
    Readiness,
    Report,
    Runtime,
    SandboxFailed,
    SandboxReady,
    Started,
    StartFailed,
)
from ksql.node.status import phase_of, status_of
from ksql.node.timers import Timer, Timers
from ksql.recorder import NORMAL, WARNING

# After a failed pull the status says ErrImagePull with its message that long, then ImagePullBackOff.
PULL_ERROR_SECONDS = 2.0
SANDBOX_RETRY_SECONDS = 10.0
# What a container has left of its grace, at the least, when its hook has used it up.
HOOK_GRACE_SECONDS_MIN = 2.0
# What a pod names and the cluster has not is looked for again after that.
CONFIGURATION_RETRY_SECONDS = 2.0
GRACE_SECONDS = 30.0  # for a pod that names none

TERMINAL = ("Succeeded", "Failed")
DEADLINE = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")


class Host(Protocol):
    """What a worker needs of its node."""

    runtime: Runtime
    care: Care
    timers: Timers
    clock: Clock
    address: str

    def say(self, pod: Document, type: str, reason: str, message: str, cause: int | None) -> None:
        """Tell people about the pod."""

    def touch(self, worker: "Worker") -> None:
        """The worker has something to write."""


class Worker:
    """A pod from its binding to its end."""

    __slots__ = (
        "_addresses", "_deadline", "_failure", "_handling", "_host", "_is_refused", "_reports", "_sandbox_asked",
        "_start_time", "_stopping", "cause", "is_busy", "is_gone", "is_queued", "is_terminal",
        "pod", "records", "revision", "uid",
    )  # fmt: skip

    def __init__(self, pod: Document, revision: int, host: Host) -> None:
        self.pod, self.revision, self.uid = pod, revision, pod["metadata"]["uid"]
        self.cause: int | None = revision
        self.records = records_of(pod)
        self.is_busy = self.is_gone = self.is_queued = self.is_terminal = False
        self._host = host
        self._addresses: tuple[str, ...] = ()
        self._start_time = rfc3339(host.clock.now())
        self._sandbox_asked = self._stopping = self._handling = False
        self._failure: tuple[str, str] | None = None
        self._is_refused = False
        self._reports: deque[Report] = deque()
        self._deadline: Timer | None = None

    # What the agent tells.

    def begin(self) -> None:
        """Start, or go on with, what the status says."""
        status = self.pod.get("status") or {}
        if status.get("phase") in TERMINAL:
            self.is_terminal = True
        if status.get("startTime"):
            self._adopt(status)
        self._watch_deadline()
        if self.pod["metadata"].get("deletionTimestamp"):
            self._begin_stop()
        self._advance()
        if not self.is_terminal:
            self._host.touch(self)

    def refuse(self, reason: str, message: str) -> None:
        """The node does not take the pod: it has failed before it began."""
        self._say(WARNING, reason, message)
        self._failure, self._is_refused = (reason, f"Pod was rejected: {message}"), True
        for record in self.records:
            record.stage = Stage.ENDED
        self._end()

    def observe(self, pod: Document, revision: int) -> None:
        """The pod has changed, by somebody's hand or by this worker's own."""
        if revision <= self.revision:
            return
        old, self.pod, self.revision = self.pod, pod, revision
        self._host.runtime.observe(pod)
        metadata, before = pod["metadata"], old["metadata"]
        if metadata.get("deletionTimestamp") and (
            not self._stopping
            or metadata.get("deletionGracePeriodSeconds") != before.get("deletionGracePeriodSeconds")
        ):
            self.cause = revision
            self._begin_stop()
        elif metadata.get("generation") != before.get("generation"):
            self.cause = revision
            self._host.touch(self)
            if pod["spec"].get("activeDeadlineSeconds") != old["spec"].get("activeDeadlineSeconds"):
                self._watch_deadline()
            self._redefine()
        elif (pod.get("status") or {}).get("conditions") != (old.get("status") or {}).get("conditions"):
            # A readiness gate may have been set.
            self._host.touch(self)
        if pod["spec"].get("ephemeralContainers") != old["spec"].get("ephemeralContainers"):
            self._welcome()
        self._advance()

    def _redefine(self) -> None:
        """Give running containers the resources and images that the pod now names, starting them anew for it."""
        spec = self.pod["spec"]
        now = {one["name"]: one for key in ("initContainers", "containers") for one in spec.get(key) or ()}
        for record in self.records:
            old, new = record.container, now.get(record.name)
            if new is None or old is new or old == new:
                continue
            record.container = new
            if record.stage is not Stage.RUNNING:
                continue
            if old.get("image") != new.get("image"):
                self._say(NORMAL, "Killing", f"Container {record.name} definition changed, will be restarted")
            elif not (is_resized(old, new) and restarts_to_resize(old, new)):
                continue
            record.is_redefined = True
            self._stop(record)

    def _welcome(self) -> None:
        """Somebody has put containers into the running pod."""
        known = {record.name for record in self.records}
        self.records += [record for record in guests_of(self.pod) if record.name not in known]
        self.cause = self.revision

    def report(self, report: Report) -> None:
        """The runtime tells. Reports that come while one is handled wait their turn."""
        self._reports.append(report)
        if self._handling:
            return
        self._handling = True
        try:
            while self._reports:
                self._take(self._reports.popleft())
                if not self._reports:
                    # What is commanded now may be reported on at once.
                    self._advance()
        finally:
            self._handling = False

    def gone(self) -> None:
        """The object is no more: end at once, nothing is left to be told."""
        self.is_gone = True
        self._release()

    # What the agent asks.

    @property
    def is_over(self) -> bool:
        """Its end was asked for and all its containers have ended: the object can go."""
        asked = bool(self.pod["metadata"].get("deletionTimestamp"))
        return asked and (self.is_terminal or (self._stopping and self._has_stopped()))

    def changes(self) -> Document:
        """The parts of the status that the API does not show yet; empty when it shows all."""
        if self.is_terminal and (self.pod.get("status") or {}).get("phase") in TERMINAL:
            return {}
        if self._stopping and not self._has_stopped():
            return {}  # one write when all has ended
        is_held = bool(self.pod["metadata"].get("finalizers"))
        has_run = any(record.container_id for record in self.records)
        if self._stopping and not is_held and not has_run and not self._failure:
            # Nothing ever ran: there is nothing to tell before it goes, unless somebody holds it to hear its end.
            return {}
        old = self.pod.get("status") or {}
        if self._is_refused and self._failure is not None:
            reason, message = self._failure
            return {"phase": "Failed", "reason": reason, "message": message, "startTime": self._start_time}
        new = status_of(
            self.pod, self.records, phase=self._phase(), addresses=self._addresses,
            host_address=self._host.address, start_time=self._start_time,
            now=rfc3339(self._host.clock.now()), failure=self._failure,
        )  # fmt: skip
        return {key: value for key, value in new.items() if old.get(key) != value}

    def written(self, pod: Document, revision: int) -> None:
        """The status was stored; what the runtime does from now on by itself follows from that."""
        self.observe(pod, revision)
        if self._phase() != "Pending" and not self.pod["metadata"].get("deletionTimestamp"):
            self.cause = revision

    # Steps.

    def _advance(self) -> None:
        """Command whatever can be done now."""
        if self.is_gone or self.is_terminal:
            return
        if self._stopping:
            if self._has_stopped():
                self._end()
            return
        if not self._addresses:
            if not self._sandbox_asked:
                self._sandbox_asked = True
                self._host.runtime.sandbox(self.pod)
            if not self._addresses:
                return
        if self._started_inits():
            for record in self._of(Role.MAIN):
                self._ensure(record)
            for record in self._of(Role.EPHEMERAL):
                self._ensure(record)
            self._finish()

    def _started_inits(self) -> bool:
        """Bring the init containers on, in order. Whether the others may start."""
        for record in self.records:
            if record.role in (Role.MAIN, Role.EPHEMERAL):
                break
            if record.role is Role.SIDECAR:
                self._ensure(record)
                if not record.started:
                    return False
            elif not record.succeeded:
                self._ensure(record)
                if record.exit_code:
                    self._end()
                return False
        return True

    def _finish(self) -> None:
        """When the main containers have ended for good, so do sidecars and guests, and then the pod."""
        if any(record.stage is not Stage.ENDED for record in self._of(Role.MAIN)):
            return
        for record in (*self._of(Role.SIDECAR), *self._of(Role.EPHEMERAL)):
            if record.stage is Stage.RUNNING:
                self._stop(record)
            elif record.stage is not Stage.ENDED:
                record.cancel()
                record.stage = Stage.ENDED
        if all(record.stage is Stage.ENDED for record in self.records):
            self._end()

    def _end(self) -> None:
        """Nothing of this pod will run again."""
        self.is_terminal = True
        self._release()
        self._host.touch(self)

    def _release(self) -> None:
        for record in self.records:
            record.cancel()
        if self._deadline is not None:
            self._deadline.cancel()
        self._host.care.forget(self.uid)
        self._host.runtime.remove(self.uid)

    def _ensure(self, record: Record) -> None:
        if record.stage is Stage.IDLE:
            record.stage = Stage.PULLING
            self._host.runtime.pull(self.pod, record.container)

    def _begin_stop(self) -> None:
        """Ask everything to end; asked again with a shorter grace, ask again."""
        first, self._stopping = not self._stopping, True
        for record in self.records:
            if record.stage is Stage.RUNNING:
                if first:
                    self._say(NORMAL, "Killing", f"Stopping container {record.name}")
                self._stop(record)
            elif record.stage is not Stage.ENDED:
                record.cancel()
                record.stage = Stage.ENDED
        if self._has_stopped():
            self._host.touch(self)

    def _stop(self, record: Record, grace: float | None = None) -> None:
        """Ask a container to end; its hook before that once, however often it is asked."""
        seconds = self._grace() if grace is None else grace
        hook = (record.container.get("lifecycle") or {}).get("preStop")
        if not hook or not self._host.runtime.is_asked(self.pod, record.container):
            self._host.runtime.stop(self.pod, record.name, seconds)
            return
        if record.is_stopping and grace is None:
            return
        record.is_stopping = True

        def then(left: float) -> None:
            if record.stage is Stage.RUNNING:
                self._host.runtime.stop(self.pod, record.name, max(left, HOOK_GRACE_SECONDS_MIN))

        self._host.care.before_stop(self.pod, record.container, seconds, then)

    def _has_stopped(self) -> bool:
        return all(record.stage is Stage.ENDED for record in self.records)

    # What reports mean.

    def _take(self, report: Report) -> None:
        if self.is_gone:
            return
        match report:
            case SandboxReady():
                self._addresses = report.addresses
            case SandboxFailed():
                self._say(WARNING, "FailedCreatePodSandBox", report.message)
                self._host.timers.after(SANDBOX_RETRY_SECONDS, self._retry_sandbox)
            case Complaint():
                self._say(WARNING, report.reason, report.message)
            case _:
                record = next(r for r in self.records if r.name == report.container)
                if record.stage is not Stage.ENDED:
                    self._take_of(record, report)
        self._host.touch(self)

    def _take_of(self, record: Record, report: Report) -> None:
        match report:
            case Pulled():
                self._pulled(record, report)
            case PullFailed():
                self._pull_failed(record, report.message)
            case Started():
                self._started(record, report.container_id)
            case StartFailed():
                self._start_failed(record, report)
            case Readiness():
                # Who is asked by a probe is ready when it says so.
                record.ready = report.ready and not (self._is_asked(record) and holds_back(record.container))
            case Probed():
                self._probed(record, report)
            case Hooked():
                self._hooked(record, report)
            case Exited():
                self._exited(record, report)

    def _pulled(self, record: Record, report: Pulled) -> None:
        image = record.container.get("image", "")
        record.image_id, record.back_off_seconds = report.image_id, 0.0
        if report.seconds is None:
            self._say(NORMAL, "Pulled", f'Container image "{image}" already present on machine')
        else:
            self._say(NORMAL, "Pulled", f'Successfully pulled image "{image}" in {report.seconds:.3g}s')
        self._run(record)

    def _run(self, record: Record) -> None:
        record.stage = Stage.STARTING
        attempt = record.restarts + (1 if record.container_id else 0)
        self._host.runtime.run(self.pod, record.container, attempt)

    def _pull_failed(self, record: Record, message: str) -> None:
        image = record.container.get("image", "")
        text = f'failed to pull image "{image}": {message}'
        record.stage, record.state = Stage.WAITING, {"waiting": {"reason": "ErrImagePull", "message": text}}
        self._say(WARNING, "Failed", text[0].upper() + text[1:])
        self._say(WARNING, "Failed", "Error: ErrImagePull")
        seconds = record.back_off_seconds = next_back_off(record.back_off_seconds)

        def back_off() -> None:
            message = f'Back-off pulling image "{image}": ErrImagePull: {text}'
            record.state = {"waiting": {"reason": "ImagePullBackOff", "message": message}}
            self._say(NORMAL, "BackOff", f'Back-off pulling image "{image}"')
            record.timer = self._host.timers.after(seconds - PULL_ERROR_SECONDS, again)
            self._host.touch(self)

        def again() -> None:
            record.stage = Stage.IDLE
            self._advance()

        record.timer = self._host.timers.after(PULL_ERROR_SECONDS, back_off)

    def _started(self, record: Record, container_id: str) -> None:
        if "terminated" in record.state:
            record.last = record.state
        if record.container_id:
            record.restarts += 1
        record.stage, record.container_id = Stage.RUNNING, container_id
        record.state = {"running": {"startedAt": rfc3339(self._host.clock.now())}}
        record.started_at, record.started, record.ready = self._host.clock.monotonic(), True, False
        self._say(NORMAL, "Created", f"Created container: {record.name}")
        self._say(NORMAL, "Started", f"Started container {record.name}")

        if self._is_asked(record) and is_watched(record.container):
            record.started = not record.container.get("startupProbe")
            self._host.care.begin(self.pod, record.container)

    def _is_asked(self, record: Record) -> bool:
        return self._host.runtime.is_asked(self.pod, record.container)

    def _start_failed(self, record: Record, report: StartFailed) -> None:
        """Not now: what it needs is looked for again until it is there."""
        record.stage = Stage.WAITING
        if report.reason:
            record.state = {"waiting": {"reason": report.reason, "message": report.message}}
            self._say(WARNING, "Failed", f"Error: {report.message}")
        else:
            self._say(WARNING, "FailedMount", report.message)
        record.timer = self._host.timers.after(CONFIGURATION_RETRY_SECONDS, lambda: self._run(record))

    def _probed(self, record: Record, report: Probed) -> None:
        if record.stage is not Stage.RUNNING:
            return
        if not report.succeeded:
            said = f"{report.kind.capitalize()} probe failed: {report.message}"
            self._say(WARNING, "Unhealthy", said)
        if not report.is_new:
            return
        if report.kind == "readiness":
            record.ready = report.succeeded
        elif report.kind == "startup" and report.succeeded:
            record.started = True
            record.ready = not record.container.get("readinessProbe")
        elif not report.succeeded:
            self._give_up(record, report.kind)

    def _give_up(self, record: Record, kind: str) -> None:
        """End a container that its probe found dead, to start it again."""
        self._say(NORMAL, "Killing", f"Container {record.name} failed {kind} probe, will be restarted")
        probe = record.container.get(f"{kind}Probe") or {}
        record.is_failed = True
        self._stop(record, float(probe.get("terminationGracePeriodSeconds") or self._grace()))

    def _hooked(self, record: Record, report: Hooked) -> None:
        if not report.error:
            return
        if report.kind == "preStop":
            self._say(WARNING, "FailedPreStopHook", f"PreStopHook failed: {report.error}")
        elif record.stage is Stage.RUNNING:
            self._say(WARNING, "FailedPostStartHook", f"PostStartHook failed: {report.error}")
            record.is_failed = True
            self._host.runtime.stop(self.pod, record.name, self._grace())

    def _exited(self, record: Record, report: Exited) -> None:
        began = (record.state.get("running") or {}).get("startedAt") or self._start_time
        ended: Document = {"exitCode": report.code, "reason": report.reason}
        if report.message:
            ended["message"] = report.message
        ended["startedAt"], ended["finishedAt"] = began, rfc3339(self._host.clock.now())
        ended["containerID"] = record.container_id
        record.state, record.ready, record.started = {"terminated": ended}, False, False
        self._host.care.end(self.uid, record.name)
        # Whoever was ended as dead has failed, whatever it said at its end.
        code = report.code or int(record.is_failed)
        record.is_stopping = record.is_failed = False
        if record.is_redefined and not self._stopping:
            # Not its own end: it is started anew at once, whatever the policy, and its image looked for again.
            record.is_redefined, record.stage = False, Stage.IDLE
            self._ensure(record)
        elif self._restarts(record, code):
            self._restart(record)
        else:
            record.stage = Stage.ENDED
            if record.role is Role.INIT:
                record.ready = report.code == 0

    def _restarts(self, record: Record, code: int) -> bool:
        if self._stopping or record.role is Role.EPHEMERAL:
            return False
        policy = self.pod["spec"].get("restartPolicy", "Always")
        if record.role is Role.SIDECAR:
            return any(main.stage is not Stage.ENDED for main in self._of(Role.MAIN))
        if record.role is Role.INIT:
            return code != 0 and policy != "Never"
        return policy == "Always" or (policy == "OnFailure" and code != 0)

    def _restart(self, record: Record) -> None:
        """At once the first time, later each time after that."""
        seconds = record.back_off_seconds
        if self._host.clock.monotonic() - record.started_at >= BACK_OFF_RESET_SECONDS:
            seconds = 0.0
        record.back_off_seconds = next_back_off(seconds)
        if not seconds:
            self._run(record)
            return
        metadata = self.pod["metadata"]
        where = f"{metadata['name']}_{metadata.get('namespace', '')}({self.uid})"
        text = f"back-off {go_duration(seconds)} restarting failed container={record.name} pod={where}"
        record.last = record.state
        record.state = {"waiting": {"reason": "CrashLoopBackOff", "message": text}}
        record.stage = Stage.WAITING
        self._say(WARNING, "BackOff", f"Back-off restarting failed container {record.name} in pod {where}")
        record.timer = self._host.timers.after(seconds, lambda: self._run(record))

    # Bits.

    def _adopt(self, status: Document) -> None:
        """Go on from what the status tells (invariant 3)."""
        self._start_time = status["startTime"]
        self._addresses = tuple(entry["ip"] for entry in status.get("podIPs") or ())
        kinds = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
        entries = {entry["name"]: entry for kind in kinds for entry in status.get(kind) or ()}
        for record in self.records:
            if record.name in entries:
                record.adopt(entries[record.name])
        if self.is_terminal:
            return
        self._sandbox_asked = bool(self._addresses)
        self._host.runtime.adopt(self.pod)
        for record in self.records:
            if record.stage is Stage.RUNNING and self._is_asked(record) and is_watched(record.container):
                self._host.care.begin(self.pod, record.container, is_new=False)
            if record.stage is Stage.ENDED and self._restarts(record, record.exit_code or 0):
                # It ended and its next start was not yet to be seen.
                self._restart(record)

    def _watch_deadline(self) -> None:
        seconds = self.pod["spec"].get("activeDeadlineSeconds")
        if self._deadline is not None:
            self._deadline.cancel()
        if seconds is not None and not self.is_terminal:
            passed = self._host.clock.now() - parse_rfc3339(self._start_time)
            self._deadline = self._host.timers.after(seconds - passed.total_seconds(), self._expire)

    def _expire(self) -> None:
        if not self._stopping and not self.is_terminal:
            self._failure = DEADLINE
            self._begin_stop()
            self._advance()

    def _retry_sandbox(self) -> None:
        self._sandbox_asked = False
        self._advance()

    def _phase(self) -> str:
        if self._failure is not None and self._has_stopped():
            return "Failed"
        return phase_of(self.pod, self.records, self._stopping and self._has_stopped())

    def _grace(self) -> float:
        seconds = self.pod["metadata"].get("deletionGracePeriodSeconds")
        if seconds is None:
            seconds = self.pod["spec"].get("terminationGracePeriodSeconds", GRACE_SECONDS)
        return float(seconds)

    def _of(self, role: Role) -> list[Record]:
        return [record for record in self.records if record.role is role]

    def _say(self, type: str, reason: str, message: str) -> None:
        self._host.say(self.pod, type, reason, message, self.cause)
