"""Seals go along with a bundle: what is whole and what is redacted is checked by the root that the cluster signed."""

import asyncio

import orjson
import pytest

from ksql.base.documents import encode
from ksql.log import bundle, exporting, importing
from ksql.log.bundle import BundleError, Header, Reader
from ksql.log.event import Event
from ksql.log.sealkeys import establish
from tests.log.sealed import keyed, sealed_fully, sealing, written


def without_values(event):
    """Redact the objects called c."""
    if event.stream.name != "c":
        return event
    payload = encode({**event.document, "data": {"value": "gone"}})
    return Event(
        event.revision, event.time, event.stream, event.change, event.verb, event.actor, payload,
        event.subresource, event.field_manager, event.cause, event.correlation, event.transient,
    )  # fmt: skip


@pytest.fixture(params=[(), ("configmaps",)], ids=["plain", "encrypted"])
async def made(request, tmp_path, monkeypatch):
    vault = keyed(tmp_path, *request.param)
    async with sealing(f"sqlite:///{tmp_path / 'log.db'}", tmp_path, monkeypatch, vault) as found:
        await written(found.log)
        await sealed_fully(found)
        yield found


async def exported(made, path, first=0, last=None, redact=None):
    last = made.log.head if last is None else last
    header = Header(first, last, 0, 2_000_000_000_000_000, "1.35", 0, "test")
    await made.log.inspect(lambda rows: exporting.export(rows, header, path, redact))
    return path


async def loaded(path, ring):
    database = path.with_suffix(".db")
    database.unlink(missing_ok=True)
    return (await asyncio.to_thread(importing.load, path, database, ring))[1]


@pytest.mark.parametrize("redact", [None, without_values])
async def test_every_cut_of_a_sealed_log_holds_against_its_seals(made, tmp_path, redact):
    head = made.log.head
    for first, last in ((0, head), (3, head), (9, 30), (17, 18), (5, 5), (head - 1, head)):
        checked = await loaded(await exported(made, tmp_path / "cut.ksql", first, last, redact), made.key.ring)
        events = [event for event in await made.log.read(first, 100) if event.revision <= last]
        hidden = [event for event in events if redact is not None and event.stream.name == "c"]
        assert checked.events + checked.unsealed == len(events), (first, last, checked)
        assert checked.redacted == len(hidden)
        if (first, last) == (9, 30):
            assert checked.seals >= 3 and checked.unsealed == 0


async def test_a_redacted_block_does_not_give_its_secret_away(made, tmp_path):
    path = await exported(made, tmp_path / "r.ksql", redact=without_values)
    with Reader(path) as reader:
        seals = [orjson.loads(body) for kind, body in reader.frames() if kind == bundle.SEALS]
    assert any("secret" in seal for seal in seals) or all(seal.get("hidden") for seal in seals)
    for seal in seals:
        assert ("secret" in seal) != ("hidden" in seal)
        assert not set(seal.get("salts", ())) & set(seal.get("hidden", ()))


def rewritten(path, change):
    """The bundle as somebody would write it who changed its events and made all digests anew."""
    with Reader(path) as reader:
        frames = [
            (kind, reader.events(body) if kind in (bundle.CHECKPOINT, bundle.EVENTS) else body)
            for kind, body in reader.frames()
        ]
        header, end = reader.header, reader.end
    with bundle.Writer(path) as writer:
        writer.header(header)
        for kind, content in frames:
            if kind == bundle.SEALS:
                writer.seals(orjson.loads(content))
            else:
                writer.add(kind, [change(event) for event in content])
        writer._settle()
        writer._write(bundle.END, orjson.dumps(end))


async def test_an_event_that_was_changed_is_named_by_its_seal(made, tmp_path):
    path = await exported(made, tmp_path / "x.ksql")

    def change(event):
        # An early version of an object: the state at the end is as it was.
        return without_values(event) if event.revision == 3 else event

    rewritten(path, change)
    assert await loaded(path, None) is None, "digests alone do not tell who wrote them"
    with pytest.raises(BundleError, match=r"events r1 to r\d+ are not as seal 1 says"):
        await loaded(path, made.key.ring)


async def test_keys_that_did_not_sign_prove_nothing(made, tmp_path):
    path = await exported(made, tmp_path / "x.ksql")
    (tmp_path / "elsewhere").mkdir()
    other = establish(tmp_path / "elsewhere" / "other.key", 1).ring
    with pytest.raises(BundleError, match=r"seal 1 is signed by key .*, which is not among yours"):
        await loaded(path, other)
