"""Laws of the past, as sentences."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ksql.base.documents import canonical, encode
from ksql.history import asof, causes, diff, masks
from ksql.history.sentences import sentence
from ksql.history.timeline import Timeline
from ksql.log.protocol import EVERYTHING
from tests.history import story

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab:./", max_size=3)
NAMES = st.sampled_from(["a", "b", "c", "a:b", ""])
# Lists as Kubernetes has them: items with names, ports, conditions; and lists of anything.
ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "name": NAMES | st.integers(0, 2),
        "type": NAMES,
        "containerPort": st.integers(0, 2) | st.just("1"),
        "protocol": st.sampled_from(["TCP", "UDP", None]),
        "key": NAMES,
        "effect": NAMES | st.none(),
        "value": SCALARS,
    },
)
FIELDS = st.sampled_from(
    [
        "ports",
        "containers",
        "conditions",
        "finalizers",
        "taints",
        "tolerations",
        "args",
        "data",
        "metadata",
        "a.b",
    ]
)
VALUES = st.recursive(
    SCALARS | st.lists(ITEMS, max_size=4) | st.lists(NAMES, max_size=4),
    lambda inner: st.dictionaries(FIELDS, inner, max_size=4) | st.lists(inner, max_size=3),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(FIELDS, VALUES, max_size=5)


@given(DOCUMENTS, DOCUMENTS)
@settings(max_examples=500, deadline=None)
def test_applying_the_difference_of_a_and_b_to_a_gives_b(a: Any, b: Any) -> None:
    before = canonical(a)
    assert encode(_sorted(diff.apply(a, list(diff.compare(a, b))))) == encode(_sorted(b))
    assert canonical(a) == before, "documents are never changed in place"


def _sorted(value: Any) -> Any:
    """The same document with its keys in order: where a new key stands means nothing."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


@given(DOCUMENTS)
@settings(max_examples=200, deadline=None)
def test_a_document_does_not_differ_from_itself(a: Any) -> None:
    assert list(diff.compare(a, _sorted(a))) == []


SECRETS = st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["Zm9vYmFyYmF6", "cXV4cXV1eA=="]), max_size=2)


@st.composite
def secret_documents(draw: st.DrawFn) -> Any:
    data = draw(SECRETS | st.none())
    document: Any = {"kind": "Secret", "metadata": {"name": "s", "namespace": "d"}}
    if data is not None:
        document["data"] = data
        if draw(st.booleans()):
            document["metadata"]["annotations"] = {masks.LAST_APPLIED: encode({"data": data}).decode()}
    return document


@given(secret_documents(), secret_documents())
@settings(max_examples=200, deadline=None)
def test_no_difference_of_secrets_holds_a_value(a: Any, b: Any) -> None:
    changes = diff.between(a, b, "secrets")
    told = "\n".join(diff.line(change) for change in changes) + str(changes) + str(masks.shown("secrets", b))
    assert "Zm9v" not in told
    assert "cXV4" not in told
    if a != b:
        assert changes, "that something changed is told all the same"


async def test_the_state_at_the_head_is_the_present() -> None:
    async with story.told() as told:
        for resource in told.objects.resources():
            then = await asof.list_all(told.log, resource, told.log.head)
            assert [event.image() for event in then] == [entry.document for entry in told.objects.list(resource)]


async def test_the_difference_between_two_revisions_leads_from_one_state_to_the_other() -> None:
    async with story.told() as told:
        for version in await Timeline(told.log).page(EVERYTHING, 0, 100):
            if version.previous is not None:
                old, new = version.previous.document, version.event.document
                assert diff.apply(old, list(diff.compare(old, new))) == new


async def test_every_chain_of_causes_ends_outside_or_at_a_component() -> None:
    async with story.told() as told:
        for event in await told.log.read(0, 100):
            chain = await causes.causes(told.log, event)
            assert chain.root in (causes.Root.PERSON, causes.Root.COMPONENT)


async def test_no_sentence_and_no_difference_of_the_story_tells_its_secret() -> None:
    async with story.told() as told:
        for version in await Timeline(told.log).page(EVERYTHING, 0, 100):
            text = version.sentence + "".join(diff.line(change) for change in version.changes)
            assert story._encoded(story.SECRET_VALUE) not in text
            assert story._encoded(story.SECRET_VALUE[::-1]) not in text
            assert sentence(version.event, None)
