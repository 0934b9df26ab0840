"""Is it alive, is it ready, which version is it: the paths that anybody may ask.

Ready means that the state is loaded and whatever else the roof named has come up; alive means that the
process answers. A check answers an empty text, or why it fails.
"""

import platform
from collections.abc import Callable, Mapping

from ksql.base.documents import Document
from ksql.serve.exchange import Exchange
from ksql.serve.parameters import Query

Check = Callable[[], str]

TEXT = b"text/plain; charset=utf-8"


async def answer(exchange: Exchange, endpoint: str, checks: Mapping[str, Check], query: Query) -> None:
    """One of the health endpoints; `endpoint` is healthz, livez or readyz."""
    below = exchange.path.strip("/").partition("/")[2]
    if below:
        if below not in checks:
            await exchange.answer(404, b"404 page not found\n", TEXT)
            return
        checks = {below: checks[below]}
    excluded = query.get("exclude", ())
    failures = {name: "" if name in excluded else check() for name, check in checks.items()}
    is_good = not any(failures.values())
    if is_good and ("verbose" not in query or below):
        await exchange.answer(200, b"ok", TEXT, _HEADERS)
        return
    lines = [_line(name, failure, excluded) for name, failure in failures.items()]
    unknown = [f'"{name}"' for name in excluded if name not in checks]
    if unknown and not below:
        lines.append(f"warn: some health checks cannot be excluded: no matches for {','.join(unknown)}")
    lines.append(f"{endpoint} check {'passed' if is_good else 'failed'}")
    # A failing check is 500, as kube-apiserver answers; probes look at the code alone.
    await exchange.answer(200 if is_good else 500, "\n".join((*lines, "")).encode(), TEXT, _HEADERS)


_HEADERS = [(b"x-content-type-options", b"nosniff")]


def _line(name: str, failure: str, excluded: object) -> str:
    if isinstance(excluded, list) and name in excluded:
        return f"[+]{name} excluded: ok"
    return f"[-]{name} failed: {failure}" if failure else f"[+]{name} ok"


# What Go calls them.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def version(minor: str) -> Document:
    """/version: the Kubernetes minor that is served, and honestly what serves it."""
    major, _, number = minor.partition(".")
    machine = platform.machine()
    return {
        "major": major,
        "minor": number,
        "emulationMajor": major,
        "emulationMinor": number,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": str(int(number) - 1),
        "gitVersion": f"v{minor}.0+ksql",
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": f"{platform.python_implementation().lower()} {platform.python_version()}",
        "platform": f"{platform.system().lower()}/{_ARCHITECTURES.get(machine, machine)}",
    }
