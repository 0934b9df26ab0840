"""Every kind, valid and broken in one place at a time: answered as a real kube-apiserver answered.

Where ksql does not say the same yet, the floor of the kind (`golden/floors.json`) says how many answers are
equal today. Who mends more raises it: `python -m tests.serve.recorded creation` (or `update`).
"""

import json

from tests.serve import recorded


def fallen(area: str, tally: recorded.Tally) -> list[str]:
    floors = json.loads(recorded.FLOORS.read_text())[area]
    assert floors.keys() == tally.total.keys()
    return [
        f"{kind}: {tally.same[kind]} of {tally.total[kind]} equal, {floor} before; now differs, perhaps:\n"
        + "\n".join(f"  {one.verdict} {one.line['edits']}" for one in tally.different if one.kind == kind)[:2000]
        for kind, floor in floors.items()
        if tally.same[kind] < floor
    ]


def crashes(tally: recorded.Tally) -> list[str]:
    return [f"{one.kind}: {one.line['edits']}" for one in tally.different if one.verdict.endswith("not 500")]


async def test_no_kind_is_created_less_like_kube_apiserver_than_before() -> None:
    tally = await recorded.creations()
    assert not crashes(tally)
    assert not (found := fallen("creation", tally)), "\n".join(found)


async def test_no_kind_is_updated_less_like_kube_apiserver_than_before() -> None:
    tally = await recorded.updates()
    assert not crashes(tally)
    assert not (found := fallen("update", tally)), "\n".join(found)


async def test_no_custom_object_is_judged_less_like_kube_apiserver_than_before() -> None:
    tally = await recorded.customs()
    assert not crashes(tally)
    assert not (found := fallen("custom", tally)), "\n".join(found)
