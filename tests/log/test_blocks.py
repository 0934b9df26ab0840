"""What a block says of its events, and where a span says that a key may be."""

from ksql.log import blocks


def test_a_block_gives_back_which_events_have_which_mark() -> None:
    for marks in (3, 300):
        given = {blocks.mark_of(n, -n if n % 3 else n, n * 7): list(range(n, 1000, marks)) for n in range(1, marks)}
        made = blocks.unpack_block(blocks.pack_block(blocks.block_of(given.items())))
        for number, mark in enumerate(made.marks):
            assert list(made.offsets(number)) == given[mark]
            assert blocks.mark_of(*blocks.parts_of(mark)) == mark
        wanted = set(list(given)[:2])
        assert made.matching([*wanted, 0]) == sorted(o for mark in wanted for o in given[mark])


def test_keys_are_found_in_every_block_that_has_them() -> None:
    dealt = [[blocks.key_of(b"%d" % n) for n in range(start, start + 50)] for start in (0, 30, 200)]
    rows = blocks.buckets_of(dealt)
    for number, keys in enumerate(dealt):
        for key in keys:
            assert number in blocks.blocks_with(rows[blocks.bucket_of(key)], key)
    missed = [key for key in map(blocks.key_of, (b"x%d" % n for n in range(999)))
              if blocks.blocks_with(rows[blocks.bucket_of(key)], key)]  # fmt: skip
    assert len(missed) < 10
