"""When nobody can know whether a write happened, the caller hears just that."""

import pytest

from ksql.log.protocol import Decide, LogUnavailableError, LogUncertainError
from ksql.schema.errors import ApiError, TimedOutError, UnavailableError
from tests.serve.cluster import rooms


@pytest.mark.parametrize(
    ("raised", "told", "words"),
    [
        (LogUncertainError("lost while committing"), TimedOutError, "may or may not have been made"),
        (LogUnavailableError("the disk is full"), UnavailableError, "cannot be written now: the disk is full"),
    ],
)
async def test_a_failed_append_is_told_for_what_it_is(
    raised: Exception, told: type[ApiError], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rooms() as found:

        async def lost(decide: Decide) -> None:
            raise raised

        monkeypatch.setattr(found.log, "append", lost)
        with pytest.raises(told, match=words):
            await found.make("namespaces", {"metadata": {"name": "a"}})
