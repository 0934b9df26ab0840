"""Every kind, valid and broken in one place at a time: answered as a real kube-apiserver answered.

Where ksql does not say the same, the line stands among the exceptions (`golden/exceptions.json`) under the
reason why. Those are exactly the lines that differ: who mends one takes it from the list.
`python -m tests.serve.recorded creation` (or `update`, or `custom`) tells which lines differ, and a kind
named after it, how.
"""

import json

from tests.serve import recorded


def held(area: str, tally: recorded.Tally) -> None:
    reasons: dict[str, list[int]] = json.loads(recorded.EXCEPTIONS.read_text())[area]
    known = [number for numbers in reasons.values() for number in numbers]
    assert len(known) == len(set(known))
    different = {one.number: one for one in tally.different}
    worse = [
        f"{number} ({one.kind}): {one.verdict} {one.line.get('edits') or one.line['document']}"
        for number, one in different.items()
        if number not in known
    ]
    assert not worse, "\n".join(worse)[:4000]
    assert sorted(known) == sorted(different), "some exceptions are none any more"


async def test_every_kind_is_created_as_kube_apiserver_creates_it_but_for_the_exceptions() -> None:
    held("creation", await recorded.creations())


async def test_every_kind_is_updated_as_kube_apiserver_updates_it_but_for_the_exceptions() -> None:
    held("update", await recorded.updates())


async def test_custom_objects_are_judged_as_kube_apiserver_judges_them_but_for_the_exceptions() -> None:
    held("custom", await recorded.customs())
