"""Records leave the house: lines in a private file that is turned over, batches posted and posted again."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ksql.audit import sinks
from ksql.audit.policy import Level, Stage
from ksql.audit.record import Body, Record
from ksql.audit.sinks import File, Hook, Sink
from ksql.base.clock import SystemClock
from tests.serve.gql_door import listening


def record(name: str, **fields: Any) -> Record:
    return Record(
        Level.METADATA, Stage.COMPLETE, "id", 1, 2, 3, f"/api/v1/nodes/{name}", "get", "alice", resource="nodes",
        version="v1", name=name, code=200, **fields,
    )  # fmt: skip


async def test_a_file_is_private_and_holds_one_event_a_line(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "audit.log"
    sink = Sink("file", File(path), SystemClock())
    sink.start()
    for name in ("a", "b"):
        sink.put(record(name))
    await sink.aclose()
    assert path.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["objectRef"]["name"] for line in lines] == ["a", "b"]
    assert (sink.delivered, sink.dropped) == (2, 0)


async def test_a_file_that_grows_too_large_is_turned_over(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    file = File(path, bytes_max=30, kept=2)
    for number in range(5):
        await file([b"x" * 20 + b"%d" % number])
    names = {name for name in ("audit.log", "audit.log.1", "audit.log.2", "audit.log.3") if (tmp_path / name).exists()}
    assert names == {"audit.log", "audit.log.1", "audit.log.2"}
    assert path.read_text().strip()[-1] == "4"
    assert (tmp_path / "audit.log.2").read_text().strip()[-1] == "2"


async def test_a_webhook_gets_event_lists_and_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "RETRY_SECONDS", 0.01)
    seen: list[Any] = []
    answers = [500, 200]

    async def take(request: Request) -> Response:
        seen.append((request.headers["content-type"], json.loads(await request.body())))
        return Response(status_code=answers.pop(0))

    app = Starlette(routes=[Route("/audit", take, methods=["POST"])])
    async with listening(app, 0) as address:
        sink = Sink("webhook", Hook(f"http://{address}/audit"), SystemClock())
        sink.put(record("a", request=Body(b'{"x": 1}')))
        assert await sink._one_batch(tries=2)
        await sink.aclose()
    assert len(seen) == 2 and seen[0] == seen[1]
    media, sent = seen[0]
    assert media == "application/json"
    assert (sent["kind"], sent["apiVersion"]) == ("EventList", "audit.k8s.io/v1")
    assert [item["requestObject"] for item in sent["items"]] == [{"x": 1}]
    assert (sink.delivered, sink.dropped) == (1, 0)


async def test_what_never_arrives_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "WAITING_MAX", 2)
    monkeypatch.setattr(sinks, "RETRY_SECONDS", 0.001)

    async def fail(events: Sequence[bytes]) -> None:
        raise OSError("no room")

    sink = Sink("lost", fail, SystemClock())
    for name in "abc":
        sink.put(record(name))
    assert sink.dropped == 1
    assert not await sink._one_batch(tries=3)
    await sink.aclose()
    assert (sink.delivered, sink.dropped) == (0, 3)


async def test_a_sink_that_hangs_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "CLOSE_SECONDS_MAX", 0.05)

    async def hang(events: Sequence[bytes]) -> None:
        await asyncio.Event().wait()

    sink = Sink("slow", hang, SystemClock())
    sink.put(record("a"))
    async with asyncio.timeout(5):
        await sink.aclose()


@pytest.mark.parametrize(
    ("body", "document"),
    [
        (Body(b"a: 1\n", "application/yaml"), {"a": 1}),
        (Body(b"nonsense"), {"ksql.io/undecoded": "nonsense"}),
        (Body(b"[" * 100_000), None),
        (Body(b'"' + b"x" * 600_000 + b'"'), {"ksql.io/omitted": "600002 bytes"}),
        (Body(b""), None),
    ],
)
def test_bodies_are_decoded_by_their_form_and_bounded(body: Body, document: Any) -> None:
    from ksql.audit import bodies

    found, _ = bodies.documents(record("a", request=body))
    assert found == document or (document is None and (found is None or "ksql.io/undecoded" in found))
