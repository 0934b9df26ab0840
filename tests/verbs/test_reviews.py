"""Who am I, and may I? Answered as the authorizer would, and never kept."""

import pytest

from ksql.auth.identity import AUTHENTICATED, User
from ksql.schema.errors import BadRequestError, ForbiddenError, InvalidError
from tests.verbs.room import ALICE, Room

BOB = User("bob", ("devs", AUTHENTICATED), extra={"scope": ("a",)})
STRANGER = User("system:anonymous", ("system:unauthenticated",))
PODS = {"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "default"}}
ACCESS = "selfsubjectaccessreviews.authorization.k8s.io"
OTHERS = "subjectaccessreviews.authorization.k8s.io"
LOCAL = "localsubjectaccessreviews.authorization.k8s.io"
RULES = "selfsubjectrulesreviews.authorization.k8s.io"
WHO = "selfsubjectreviews.authentication.k8s.io"


async def ask(room: Room, resource: str, spec=None, user=ALICE, namespace=""):
    before = room.objects.revision
    body = {} if spec is None else {"spec": spec}
    result = await room.perform("create", resource, namespace, body=body, user=user)
    assert result.created and result.entry is None
    assert room.objects.revision == before, "a question leaves nothing in the log"
    return result.document["status"]


async def test_i_am_told_who_i_am(room: Room) -> None:
    info = (await ask(room, WHO, user=BOB))["userInfo"]
    assert info == {"username": "bob", "groups": ["devs", AUTHENTICATED], "extra": {"scope": ["a"]}}


async def test_the_answer_is_the_authorizers(room: Room) -> None:
    assert (await ask(room, ACCESS, PODS))["allowed"] is True
    assert await ask(room, ACCESS, PODS, user=BOB) == {"allowed": False}
    health = {"nonResourceAttributes": {"verb": "get", "path": "/healthz"}}
    assert (await ask(room, ACCESS, health, user=BOB))["allowed"] is True
    assert (await ask(room, OTHERS, {**PODS, "user": "bob"}))["allowed"] is False
    assert (await ask(room, OTHERS, {**PODS, "groups": ["system:masters"]}))["allowed"] is True
    assert (await ask(room, LOCAL, {**PODS, "user": "bob"}, namespace="default"))["allowed"] is False


async def test_asking_about_others_and_asking_as_nobody_is_forbidden(room: Room) -> None:
    with pytest.raises(ForbiddenError, match='User "bob" cannot create resource "subjectaccessreviews"'):
        await ask(room, OTHERS, {**PODS, "user": "alice"}, user=BOB)
    for resource in (WHO, ACCESS, RULES):
        with pytest.raises(ForbiddenError):
            await ask(room, resource, PODS, user=STRANGER)


async def test_rules_tell_all_that_is_allowed(room: Room) -> None:
    spec = {"namespace": "default"}
    status = await ask(room, RULES, spec)
    assert status["resourceRules"] == [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
    assert status["incomplete"] is False
    status = await ask(room, RULES, spec, user=BOB)
    assert status["resourceRules"] == [] and status["incomplete"] is False
    assert "/healthz" in status["nonResourceRules"][0]["nonResourceURLs"]
    with pytest.raises(BadRequestError, match="no namespace on request"):
        await ask(room, RULES, {})


@pytest.mark.parametrize(
    ("resource", "namespace", "spec", "field"),
    [
        (ACCESS, "", {}, "spec.resourceAttributes"),
        (ACCESS, "", {**PODS, "nonResourceAttributes": {"path": "/"}}, "spec.nonResourceAttributes"),
        (OTHERS, "", PODS, "spec.user"),
        (LOCAL, "kube-system", {**PODS, "user": "bob"}, "spec.resourceAttributes.namespace"),
        (LOCAL, "default", {"nonResourceAttributes": {"path": "/"}, "user": "x"}, "spec.nonResourceAttributes"),
    ],
)
async def test_a_question_that_is_none_is_refused_by_field(
    room: Room, resource: str, namespace: str, spec, field: str
) -> None:
    with pytest.raises(InvalidError) as refusal:
        await ask(room, resource, spec, namespace=namespace)
    assert [cause.field for cause in refusal.value.causes] == [field]


async def test_a_misspelt_question_is_refused(room: Room) -> None:
    with pytest.raises(BadRequestError, match=r'unknown field "spec\.resourceAtributes"'):
        await room.perform(
            "create", ACCESS, body={"spec": {"resourceAtributes": {}}}, options={"field_validation": "Strict"}
        )
