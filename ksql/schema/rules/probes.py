"""Rules of what the kubelet does to containers: probes, hooks, signals, and when they are started again."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ksql.schema import names
from ksql.schema.errors import Cause
from ksql.schema.faults import forbidden, required, too_many, unsupported, wrong
from ksql.schema.rules.checks import complain, needed, not_negative, port

Structure = Mapping[str, Any]

RULES_MAX = 20
EXIT_CODES_MAX = 255
CONTAINER_POLICIES = ("Always", "Never", "OnFailure")

_NUMBERED = (
    *("SIGRTMAX" if not n else f"SIGRTMAX-{n}" for n in range(15)),
    *("SIGRTMIN" if not n else f"SIGRTMIN+{n}" for n in range(16)),
)
_LINUX_SIGNALS = sorted(
    (
        "SIGABRT", "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCLD", "SIGCONT", "SIGFPE", "SIGHUP", "SIGILL", "SIGINT",
        "SIGIO", "SIGIOT", "SIGKILL", "SIGPIPE", "SIGPOLL", "SIGPROF", "SIGPWR", "SIGQUIT", "SIGSEGV",
        "SIGSTKFLT", "SIGSTOP", "SIGSYS", "SIGTERM", "SIGTRAP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG",
        "SIGUSR1", "SIGUSR2", "SIGVTALRM", "SIGWINCH", "SIGXCPU", "SIGXFSZ", *_NUMBERED,
    )
)  # fmt: skip
_SIGNALS: Mapping[str, Sequence[str]] = {"linux": _LINUX_SIGNALS, "windows": ("SIGKILL", "SIGTERM")}
_COUNTS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_ONLY_SIDECARS = "may not be set for init containers without restartPolicy=Always"

# What a handler's rule gets: the handler, where it stands, the pod's grace period.
Handler = Callable[[Any, str, int | None, list[Cause]], None]


def _exec(action: Structure, path: str, grace: int | None, out: list[Cause]) -> None:
    needed(action, path, ("command",), out)


def _http(action: Structure, path: str, grace: int | None, out: list[Cause]) -> None:
    needed(action, path, ("path",), out)
    port(action.get("port"), path, out, ".port")
    scheme = action.get("scheme", "")
    if scheme not in ("HTTP", "HTTPS"):
        out.append(unsupported(f"{path}.scheme", scheme, ("HTTP", "HTTPS")))
    for header in action.get("httpHeaders") or ():
        name = header.get("name", "")
        complain(f"{path}.httpHeaders", name, names.header_name(name), out)


def _socket(action: Structure, path: str, grace: int | None, out: list[Cause]) -> None:
    port(action.get("port"), path, out, ".port")


def _sleep(action: Structure, path: str, grace: int | None, out: list[Cause]) -> None:
    seconds = action.get("seconds", 0)
    if grace is not None and not 0 <= seconds <= grace:
        words = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
        out.append(wrong(path, seconds, words))


_PROBED: Mapping[str, Handler] = {"exec": _exec, "httpGet": _http, "tcpSocket": _socket, "grpc": _socket}
_HOOKED: Mapping[str, Handler] = {"exec": _exec, "httpGet": _http, "tcpSocket": _socket, "sleep": _sleep}


def _check_handler(
    holder: Structure, path: str, kinds: Mapping[str, Handler], grace: int | None, out: list[Cause]
) -> None:
    first = ""
    for kind, check in kinds.items():
        if kind not in holder:
            continue
        if first:
            out.append(forbidden(f"{path}.{kind}", "may not specify more than 1 handler type"))
        else:
            first = kind
            check(holder[kind], f"{path}.{kind}", grace, out)
    if not first:
        out.append(required(path, "must specify a handler type"))


def check_probes(container: Structure, path: str, grace: int | None, out: list[Cause]) -> None:
    for kind in _PROBES:
        if kind in container:
            _check_probe(container[kind], kind, f"{path}.{kind}", grace, out)


def _check_probe(probe: Structure, kind: str, path: str, grace: int | None, out: list[Cause]) -> None:
    _check_handler(probe, path, _PROBED, grace, out)
    for field in _COUNTS:
        if field in probe and probe[field] < 0:
            not_negative(probe, path, (field,), out)
    patience = probe.get("terminationGracePeriodSeconds")
    if patience is not None and patience <= 0:
        out.append(wrong(f"{path}.terminationGracePeriodSeconds", patience, "must be greater than 0"))
    if kind == "readinessProbe":
        if patience is not None:
            words = "must not be set for readinessProbes"
            out.append(wrong(f"{path}.terminationGracePeriodSeconds", patience, words))
    elif probe.get("successThreshold") != 1:
        out.append(wrong(f"{path}.successThreshold", probe.get("successThreshold", 0), "must be 1"))


def check_lifecycle(lifecycle: Structure, path: str, grace: int | None, system: str | None, out: list[Cause]) -> None:
    """Hooks and the signal to stop by; `system` is the pod's operating system, None where it names none."""
    for moment in ("postStart", "preStop"):
        if moment in lifecycle:
            _check_handler(lifecycle[moment], f"{path}.{moment}", _HOOKED, grace, out)
    signal = lifecycle.get("stopSignal")
    if signal is None:
        return
    if system is None:
        words = "may not be set for containers with empty `spec.os.name`"
        out.append(forbidden(f"{path}.stopSignal", words))
    elif signal not in _SIGNALS.get(system, (signal,)):
        out.append(unsupported(f"{path}.stopSignal", signal, _SIGNALS[system]))


def forbid_unless_sidecar(container: Structure, path: str, out: list[Cause]) -> None:
    """What only containers have that run beside others."""
    for field in ("lifecycle", *_PROBES):
        if field in container:
            out.append(forbidden(f"{path}.{field}", _ONLY_SIDECARS))


def check_init_restarts(container: Structure, path: str, out: list[Cause]) -> None:
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or ()
    if policy != "Always":
        check_restarts(container, path, out)
    elif rules:
        words = "restartPolicyRules are not allowed for init containers with restart policy Always"
        out.append(forbidden(f"{path}.restartPolicyRules", words))


def check_restarts(container: Structure, path: str, out: list[Cause]) -> None:
    """A container's own policy, and its exceptions by exit code."""
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or ()
    if policy is None:
        if not rules:
            return
        out.append(required(f"{path}.restartPolicy", "must specify restartPolicy when restart rules are used"))
        if "initContainers" in path:
            return
    elif policy not in CONTAINER_POLICIES:
        out.append(unsupported(f"{path}.restartPolicy", policy, CONTAINER_POLICIES))
    if len(rules) > RULES_MAX:
        out.append(too_many(f"{path}.restartPolicyRules", len(rules), RULES_MAX))
    for index, rule in enumerate(rules):
        where, codes = f"{path}.restartPolicyRules[{index}]", rule.get("exitCodes")
        if rule.get("action") != "Restart":
            out.append(unsupported(f"{where}.action", rule.get("action", ""), ("Restart",)))
        if codes is None:
            out.append(required(f"{where}.exitCodes", "must be specified"))
            continue
        if codes.get("operator") not in ("In", "NotIn"):
            out.append(unsupported(f"{where}.exitCodes.operator", codes.get("operator", ""), ("In", "NotIn")))
        values = codes.get("values") or ()
        if len(values) > EXIT_CODES_MAX:
            out.append(too_many(f"{where}.exitCodes.values", len(values), EXIT_CODES_MAX))
