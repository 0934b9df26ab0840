"""The whole log in stretches: whoever walks them apart finds what one walk finds, and sees the same damage."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import orjson
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from ksql.log import leaves, sealcheck, survey
from ksql.log.event import Actor, Stream
from ksql.log.evidence import seals
from ksql.log.hashing import Sealed
from ksql.log.queries import Rows
from ksql.log.sealer import seal_of
from ksql.log.survey import Stretch, Survey
from ksql.log.sweep import Irregular
from ksql.log.verify import Difference, beats_of
from tests.log.sealed import HEAD, sealed_fully, sealing, written
from tests.log.sealed import Sealed as SealedLog


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    return f"sqlite:///{tmp_path}/ksql.db"


def blocks(rows: Rows) -> list[Sealed]:
    found = [seal_of(row) for row in rows.connection.execute(sa.select(seals).order_by(seals.c.number))]
    return [Sealed(one.statement.last, one.statement.count, one.statement.root, one.secret) for one in found]


def cut_at(rows: Rows, ends: Sequence[int]) -> list[Stretch]:
    """The log cut at these revisions."""
    bounds = [0, *ends, 1 << 62]
    return [
        Stretch(
            low, high, [beat for beat in beats_of(rows.connection) if low < beat[0] <= high],
            [block for block in blocks(rows) if low < block.last <= high],
        )
        for low, high in pairwise(bounds)
    ]  # fmt: skip


def joined(rows: Rows, ends: Sequence[int]) -> Survey:
    rows.learn()
    return survey._joined([survey.walk(rows, stretch) for stretch in cut_at(rows, ends)])


async def test_a_log_walked_in_stretches_comes_to_what_it_comes_to_as_a_whole(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sealing(url, tmp_path, monkeypatch) as made:
        await written(made.log)
        await sealed_fully(made)
        lasts = [block.last for block in await made.log.inspect(blocks)]
        whole = await made.log.inspect(lambda rows: joined(rows, []))
        assert whole.durable == HEAD and len(whole.living) == 8
        for ends in ([lasts[0]], [lasts[1]], lasts[:-1]):
            assert await made.log.inspect(lambda rows, ends=ends: joined(rows, ends)) == whole


async def damaged(made: SealedLog, statement: str) -> None:
    """Change the log behind its back."""
    with made.log.engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("ALTER TABLE events DISABLE TRIGGER ALL")
        else:
            connection.exec_driver_sql("DROP TRIGGER events_refuse_update")
        connection.exec_driver_sql(statement)
        connection.commit()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE events SET cause = 7 WHERE revision = {late}", "the event was changed after seal"),
        ("UPDATE streams SET name = 'z' WHERE id = {late}", "the event was changed after seal"),
        ("UPDATE seals SET secret = marks WHERE last = {late}", "the salts of seal"),
    ],
)
async def test_damage_in_a_stretch_of_another_process_is_named(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str, words: str
) -> None:
    """The last event is the birth of an object, and the last of the last block."""
    monkeypatch.setattr(survey, "STRETCH_EVENTS", HEAD // 2)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    async with sealing(url, tmp_path, monkeypatch) as made:
        await written(made.log)
        await sealed_fully(made)

        def found(rows: Rows) -> tuple[Difference | None, int]:
            difference, report = sealcheck.first_difference(rows, made.key.ring)
            return difference, report.events

        assert len(await made.log.inspect(lambda rows: survey.cut(rows, [], []))) == 2
        assert await made.log.inspect(found) == (None, HEAD - 4)
        await damaged(made, statement.format(late=HEAD))
        difference, _ = await made.log.inspect(found)
        assert difference is not None and words in difference.sentence


async def test_a_stretch_that_begins_otherwise_than_the_one_before_ended_is_irregular(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sealing(f"sqlite:///{tmp_path}/ksql.db", tmp_path, monkeypatch) as made:
        await written(made.log)
        await sealed_fully(made)

        def parts(rows: Rows) -> None:
            rows.learn()
            last = blocks(rows)[0].last
            one, other = [survey.walk(rows, stretch) for stretch in cut_at(rows, [last])]
            swept, good = other
            for wrong in (swept._replace(began={}), swept._replace(after=last - 1), swept._replace(first_time=1)):
                with pytest.raises(Irregular):
                    survey._joined([one, (wrong, good)])

        await made.log.inspect(parts)


text = st.text(max_size=8)


@given(
    st.builds(Actor, text, st.lists(text, max_size=2).map(tuple), text, text, text),
    st.builds(Stream, text, text, text, text), st.tuples(text, text, text, text), st.none() | st.integers(1, 1 << 40),
    text, st.binary(max_size=20),
)  # fmt: skip
def test_a_header_made_from_pieces_is_the_header(
    actor: Actor, stream: Stream, action: tuple[str, str, str, str], cause: int | None, correlation: str, salt: bytes
) -> None:
    change, verb, subresource, manager = action
    committed = leaves.commitment(salt, b"{}")
    expected = leaves.Headers().header(
        7, 5_000_000, stream, change, verb, subresource, manager, actor, cause, correlation, committed
    )
    spelling = leaves.Spelling({3: actor}, {-2: action})
    pieces = spelling.stream(stream.resource, stream.namespace, stream.name, stream.uid)
    told = orjson.dumps(correlation)
    assert spelling.header(7, 5_000_000, pieces, -2, 3, cause, told, committed) == expected


async def test_large_images_are_looked_at_in_portions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with sealing(f"sqlite:///{tmp_path}/ksql.db", tmp_path, monkeypatch) as made:
        await written(made.log)
        await sealed_fully(made)
        whole = await made.log.inspect(lambda rows: joined(rows, []))
        monkeypatch.setattr("ksql.log.sweep.SWEEP_BYTES", 200)
        monkeypatch.setattr("ksql.log.sweep.BASE_BYTES_MAX", 1)
        monkeypatch.setattr("ksql.log.sweep.SWEEP_ROWS", 3)
        assert await made.log.inspect(lambda rows: joined(rows, [])) == whole
