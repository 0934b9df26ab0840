"""Seals: blocks without a gap, each signed and chained; a log is as it was written or the first event that is
not is named; proofs hold offline; keys change hands; witnesses see the end."""

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import orjson
import pytest
import sqlalchemy as sa

from ksql.auth.pki.certificates import issue_server, make_authority
from ksql.base.clock import SystemClock
from ksql.log import leaves, proofs, sealkeys, witnesses
from ksql.log.event import Change
from ksql.log.evidence import seals
from ksql.log.sealcheck import check
from ksql.log.sealer import Sealer, newest_seal, seal_of
from ksql.log.sealkeys import KeyFileError
from ksql.log.seals import SealError, marked, marks_of, statement_of
from ksql.log.witnesses import Witness
from tests.log.drafts import deciding, draft
from tests.log.sealed import BLOCK, HEAD, Sealed, sealed_fully, sealing, written


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    return f"sqlite:///{tmp_path}/ksql.db"


async def stored(made: Sealed) -> list[object]:
    def read(rows: object) -> list[object]:
        found = rows.connection.execute(sa.select(seals).order_by(seals.c.number))  # type: ignore[attr-defined]
        return [seal_of(row) for row in found]

    return await made.log.inspect(read)


async def test_blocks_follow_each_other_without_a_gap_and_end_with_transactions(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sealing(url, tmp_path, monkeypatch) as made:
        await written(made.log)
        await sealed_fully(made)
        said = [seal.statement for seal in await stored(made)]  # type: ignore[attr-defined]
        assert len(said) > 2
        assert [one.number for one in said] == list(range(1, len(said) + 1))
        assert [one.first for one in said] == [1, *[one.last + 1 for one in said[:-1]]]
        assert said[-1].last == made.log.head == HEAD
        # Seven come in one transaction, and one alone makes the block full.
        assert said[0].count == BLOCK
        assert {one.previous for one in said[1:]} == {one.hash for one in said[:-1]}
        report = await made.report()
        assert report.difference is None
        assert (report.seals, report.sealed, report.unsealed) == (len(said), HEAD, 0)
        # Heartbeats are no history: four of the revisions are theirs.
        assert report.events == HEAD - 4


async def test_what_comes_after_the_newest_seal_is_counted_and_sealed_by_the_next_start(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sealing(url, tmp_path, monkeypatch) as made:
        await written(made.log)
        await sealed_fully(made)
        await made.sealer._tasks.aclose()
        made.sealer.fold = lambda events: None  # type: ignore[method-assign]
        made.log._appender.folds.clear()
        await made.log.append(deciding(draft("late")))
        assert (await made.report()).unsealed == 1
    async with sealing(url, tmp_path, monkeypatch) as again:
        await sealed_fully(again)
        report = await again.report()
        assert (report.unsealed, report.difference, report.sealed) == (0, None, HEAD + 1)


async def test_a_sealer_that_was_overrun_reads_back_what_it_let_go(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ksql.log.sealer.WAITING_EVENTS_MAX", 3)
    monkeypatch.setattr("ksql.log.sealer.READ_EVENTS", 5)
    async with sealing(url, tmp_path, monkeypatch) as made:
        await written(made.log)
        await sealed_fully(made)
        report = await made.report()
        assert (report.sealed, report.difference) == (HEAD, None)


async def test_seals_come_by_themselves_once_a_block_is_full(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sealing(url, tmp_path, monkeypatch) as made:
        await written(made.log)
        async with asyncio.timeout(20):
            while made.sealer.sealed < BLOCK:
                made.sealer._awake.set()
                await asyncio.sleep(0.01)


async def test_the_hash_of_an_event_is_the_same_in_memory_and_from_the_database(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One block was hashed as it was appended, the other as it was read back: same root."""
    async with sealing(url, tmp_path, monkeypatch) as made:
        await written(made.log)
        await sealed_fully(made)
        await made.log.transact(lambda connection: connection.exec_driver_sql("DELETE FROM seals"))
        await made.sealer._resume()
        await sealed_fully(made)
        assert (await made.report()).difference is None


def test_a_path_leads_to_the_root_and_to_no_other() -> None:
    for count in range(1, 20):
        hashes = [leaves.leaf(bytes([n])) for n in range(count)]
        root = leaves.root(hashes)
        for index in range(count):
            path = leaves.path(hashes, index)
            assert leaves.root_by(hashes[index], index, count, path) == root
            assert leaves.root_by(leaves.leaf(b"x"), index, count, path) != root
            assert leaves.root_by(hashes[index], index, count, [*path, root]) is None
            assert count == 1 or leaves.root_by(hashes[index], index, count, path[:-1]) is None
    assert leaves.root_by(leaves.leaf(b""), 5, 5, []) is None


def test_the_tree_is_that_of_rfc_6962() -> None:
    """Its own test data: the roots over the first of eight well-known inputs."""
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]
    hashes = [leaves.leaf(bytes.fromhex(one)) for one in inputs]
    assert [leaves.root(hashes[:count]).hex() for count in range(1, 9)] == roots


def test_marks_tell_revisions_and_refuse_what_is_cut() -> None:
    revisions = [3, 4, 200, 201, 100_000]
    hashes = [leaves.leaf(bytes([n])) for n in range(5)]
    marks = marks_of(revisions, hashes)
    assert marked(marks) == [(r, h[:6]) for r, h in zip(revisions, hashes, strict=True)]
    with pytest.raises(SealError):
        marked(marks[:-1])


def test_a_statement_is_read_back_and_nothing_else_is() -> None:
    for wrong in (b"", b"{}", b"[]", b"nonsense"):
        with pytest.raises(SealError):
            statement_of(wrong)


async def test_a_proof_holds_offline_and_breaks_when_anything_in_it_changes(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sealing(url, tmp_path, monkeypatch) as made:
        await written(made.log)
        await sealed_fully(made)
        ring = made.key.ring
        proof = await made.log.inspect(lambda rows: proofs.make(rows, 12, ring))
        event = await made.log.event(12)
        assert event is not None
        proved = proofs.check(orjson.dumps(proof), ring)
        assert proved.payload == event.payload and proved.header["actor"]["user"] == "alice"
        assert proofs.check(orjson.dumps(proof), proofs.ring_of(ring.keys[0].raw.hex())) == proved

        redacted = await made.log.inspect(lambda rows: proofs.make(rows, 12, ring, redacted=True))
        assert proofs.check(orjson.dumps(redacted), ring).payload is None
        assert b"some text" not in orjson.dumps(redacted)

        for change in (
            {"header": {**proof["header"], "verb": "delete"}},
            {"header": {**proof["header"], "revision": 13}},
            {"payload": proof["payload"].replace("stays", "goes")},
            {"salt": "00" * 16},
            {"index": proof["index"] + 1},
            {"path": proof["path"][1:]},
            {"statement": proof["statement"].replace('"count":8', '"count":7')},
            {"signature": "00" * 64},
            {"format": "ksql-proof/2"},
            {"path": "nonsense"},
        ):
            assert {**proof, **change} != proof
            with pytest.raises(proofs.ProofError):
                proofs.check(orjson.dumps({**proof, **change}), ring)
        with pytest.raises(proofs.ProofError, match="no proof"):
            proofs.check(b"nonsense", ring)
        other = sealkeys.establish(tmp_path / "other" / "seal.key", 1).ring
        with pytest.raises(proofs.ProofError, match="not among yours"):
            proofs.check(orjson.dumps(proof), other)


async def test_no_proof_is_made_of_what_is_not_there(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sealing(url, tmp_path, monkeypatch) as made:
        await written(made.log)
        await sealed_fully(made)
        for revision, words in ((HEAD + 1, f"the log ends at r{HEAD}"), (8, "heartbeats")):
            with pytest.raises(proofs.NoProofError, match=words):
                await made.log.inspect(lambda rows, at=revision: proofs.make(rows, at, made.key.ring))


async def test_a_new_key_goes_on_where_the_old_one_ended(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sealing(url, tmp_path, monkeypatch) as made:
        await written(made.log)
    first = made.key.id
    sealkeys.rotate(tmp_path / "seal.key", 2)
    async with sealing(url, tmp_path, monkeypatch) as again:
        assert again.key.id != first
        await again.log.append(deciding(draft("a", Change.MODIFIED, 99)))
        await sealed_fully(again)
        report = await again.report()
        assert (report.difference, report.keys) == (None, (first, again.key.id))
        # Whoever knows the first key alone does not take the second one's word.
        old = sealkeys.Ring(again.key.ring.keys[:1])
        found = await again.log.inspect(lambda rows: check(rows, old))
        assert found.difference is not None and "not among yours" in found.difference.sentence


def test_key_files_are_private_and_refused_when_they_are_not_what_they_should_be(tmp_path: Path) -> None:
    path = tmp_path / "seal.key"
    made = sealkeys.establish(path, 1)
    assert path.stat().st_mode & 0o777 == 0o600
    assert sealkeys.establish(path, 2).id == made.id
    ring_path = tmp_path / sealkeys.RING_FILE
    second = sealkeys.rotate(path, 3)
    assert [key.id for key in sealkeys.load_ring(ring_path).keys] == [made.id, second.id]

    document = json.loads(ring_path.read_text())
    document["keys"][1]["endorsement"] = "00" * 64
    forged = tmp_path / "forged.json"
    forged.write_text(json.dumps(document))
    with pytest.raises(KeyFileError, match="not endorsed"):
        sealkeys.load_ring(forged)
    for text in ("", "{}", '{"format": "ksql-seal-keys/1", "keys": []}'):
        forged.write_text(text)
        with pytest.raises(KeyFileError, match="no list of seal keys"):
            sealkeys.load_ring(forged)
    with pytest.raises(KeyFileError, match="no seal keys at"):
        sealkeys.load_ring(tmp_path / "none.json")
    path.write_text("nonsense")
    with pytest.raises(KeyFileError, match="holds no key"):
        sealkeys.establish(path, 4)
    path.unlink()
    with pytest.raises(KeyFileError, match="is gone"):
        sealkeys.establish(path, 4)


def test_a_rotation_that_broke_off_between_its_files_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "seal.key"
    first = sealkeys.establish(path, 1)
    old = path.read_bytes()
    sealkeys.rotate(path, 2)
    path.write_bytes(old)
    assert sealkeys.establish(path, 3).id == first.id


async def test_a_witness_tells_that_the_end_was_cut_off(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "witness.json"
    async with sealing(url, tmp_path, monkeypatch) as made:
        made.sealer._witnesses = [Witness(str(file))]
        await written(made.log)
        await sealed_fully(made)
        seen = witnesses.read(str(file))
        assert seen.statement.last == HEAD
        report = await made.log.inspect(lambda rows: check(rows, made.key.ring, [seen]))
        assert report.difference is None

        number = seen.statement.number
        await made.log.transact(
            lambda connection: connection.exec_driver_sql(f"DELETE FROM seals WHERE number = {number}")
        )
        report = await made.log.inspect(lambda rows: check(rows, made.key.ring, [seen]))
        assert report.difference is not None and "was cut off" in report.difference.sentence
        newest = await made.log.inspect(lambda rows: newest_seal(rows.connection))
        assert newest is not None and report.difference.revision == newest.statement.last + 1


class Kept(BaseHTTPRequestHandler):
    """What is put under a path is got there again."""

    kept: ClassVar[dict[str, bytes]] = {}

    def do_PUT(self) -> None:
        self.kept[self.path] = self.rfile.read(int(self.headers["content-length"]))
        self._answer(204)

    def do_GET(self) -> None:
        self._answer(200 if self.path in self.kept else 404, self.kept.get(self.path, b""))

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def https(folder: Path) -> Iterator[tuple[str, Path]]:
    """An HTTPS server on loopback that keeps things; its address, and the authority that vouches for it."""
    clock = SystemClock()
    authority = make_authority(clock, "the operator's own")
    pair = issue_server(authority, ["127.0.0.1"], clock)
    for name, data in (("ca.pem", authority.certificate), ("crt.pem", pair.certificate), ("key.pem", pair.key)):
        (folder / name).write_bytes(data)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "crt.pem", folder / "key.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Kept)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}", folder / "ca.pem"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_a_witness_behind_https_is_told_and_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with https(tmp_path) as (address, authority):
        source = f"{address}/seals/newest"
        async with sealing(f"sqlite:///{tmp_path}/ksql.db", tmp_path, monkeypatch) as made:
            witness = Witness(source)
            made.sealer._witnesses = [witness]
            await written(made.log)
            # Nobody vouches for that server yet: the seals go on, and it is counted.
            await sealed_fully(made)
            assert witness.failures > 0
            monkeypatch.setenv("SSL_CERT_FILE", str(authority))
            before = witness.failures
            await made.log.append(deciding(draft("late")))
            await sealed_fully(made)
            assert witness.failures == before
            seen = await asyncio.to_thread(witnesses.read, source)
            assert seen.statement.last == made.log.head
            report = await made.log.inspect(lambda rows: check(rows, made.key.ring, [seen]))
            assert report.difference is None
            await made.log.transact(
                lambda connection: connection.exec_driver_sql(f"DELETE FROM seals WHERE last = {made.log.head}")
            )
            report = await made.log.inspect(lambda rows: check(rows, made.key.ring, [seen]))
            assert report.difference is not None and "was cut off" in report.difference.sentence
        with pytest.raises(witnesses.WitnessError, match="404"):
            await asyncio.to_thread(witnesses.read, f"{address}/nothing")


async def test_a_witness_that_cannot_be_reached_stops_nothing(tmp_path: Path) -> None:
    lost = Witness(str(tmp_path / "no" / "such" / "folder"))
    away = Witness("http://127.0.0.1:1/seal")
    seal = seal_for_a_witness()
    for witness in (lost, away):
        await witness(seal)
        assert witness.failures == 1
    for source in (str(tmp_path / "none"), "http://127.0.0.1:1/seal"):
        with pytest.raises(witnesses.WitnessError, match="no witness at"):
            witnesses.read(source)
    wrong = tmp_path / "wrong"
    wrong.write_text("{}")
    with pytest.raises(witnesses.WitnessError, match="is no witness"):
        witnesses.read(str(wrong))


def seal_for_a_witness() -> Sealer:
    from ksql.log.seals import NOTHING, Seal, Statement

    said = Statement(1, 1, 2, 2, 0, "00" * 32, "00" * 32, "00" * 32, NOTHING, "00" * 8)
    assert statement_of(said.encode()) == said
    return Seal(said, b"", b"", b"")  # type: ignore[return-value]
