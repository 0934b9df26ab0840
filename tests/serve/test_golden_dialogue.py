"""370 requests and their mistakes, answered as a real kube-apiserver answered them; see `dialogue.py`.

A line with `meant` is answered otherwise on purpose and says why: a client's mistake is a 400 where the reference
breaks with a 500, a refused JSON patch names its cause, a refusal quotes the patch and not the whole object. A
line with `lacks` should be the same and is not yet; nothing may come to these.
"""

from tests.schema.recorded import vectors
from tests.serve import dialogue


def test_the_dialogue_goes_as_with_kube_apiserver() -> None:
    lines = list(vectors("dialogue"))
    assert len(lines) == 370 and sum("lacks" in line for line in lines) <= 13
    different = [
        one
        for one in dialogue.hold(lines)
        if "meant" not in lines[one.number] and "lacks" not in lines[one.number]
    ]
    assert not different, "\n".join(f"{one.request}\n  want {one.want}\n  got  {one.got}" for one in different)[:4000]
