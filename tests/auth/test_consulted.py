"""Answers from elsewhere: asked for once, kept as long as they count, and never a yes for want of one."""

import asyncio
from typing import Any

import pytest

from ksql.auth.authorizationconfig import AuthorizationConfigError, read
from ksql.auth.authorize import Authorizers
from ksql.auth.consulted import FAILED_SECONDS, Consulted, Terms, UndecidedError, review_of
from ksql.auth.frontproxy import spoken_for
from ksql.auth.identity import Question, User
from ksql.auth.reviewed import KEPT_MAX, TTL_SECONDS, Reviewed
from ksql.base.clock import VirtualClock, run_virtual
from ksql.schema.cel.claims import Program

ALICE = User("alice", ("staff", "system:authenticated"), "7", {"team": ("a",)})
ASKED = Question(ALICE, "get", "apps", "deployments", "scale", "shop", "web", "", "a=b", "c=d")


class Elsewhere:
    """Answers what it was told to, and remembers what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.asked = list(answers), []

    async def __call__(self, question: Any) -> Any:
        self.asked.append(question)
        await asyncio.sleep(0.1)
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


async def decided(consulted: Consulted, question: Question = ASKED) -> Any:
    try:
        return consulted.authorize(question)
    except UndecidedError as undecided:
        await undecided.asked()
        return consulted.authorize(question)


def test_a_yes_is_kept_for_long_and_a_no_for_less() -> None:
    async def story(clock: VirtualClock) -> None:
        elsewhere = Elsewhere({"allowed": True}, {"allowed": False, "reason": "no"})
        consulted = Consulted("w", elsewhere, clock, Terms(300, 30))
        assert (await decided(consulted)).allowed
        await clock.sleep(299)
        assert consulted.authorize(ASKED).rule == "webhook w" and len(elsewhere.asked) == 1
        await clock.sleep(2)
        verdict = await decided(consulted)
        assert (verdict.allowed, verdict.denied, verdict.reason) == (False, False, "no")
        await clock.sleep(29)
        assert consulted.authorize(ASKED) == verdict
        await clock.sleep(2)
        with pytest.raises(UndecidedError):
            consulted.authorize(ASKED)

    run_virtual(story)


def test_many_who_ask_the_same_at_once_are_one_question() -> None:
    async def story(clock: VirtualClock) -> None:
        elsewhere = Elsewhere({"allowed": True})
        consulted = Consulted("w", elsewhere, clock, Terms())
        assert all(one.allowed for one in await asyncio.gather(*(decided(consulted) for _ in range(50))))
        assert len(elsewhere.asked) == 1
        await decided(consulted, Question(ALICE, "list", "", "pods"))
        assert len(elsewhere.asked) == 2

    run_virtual(story)


@pytest.mark.parametrize("answer", [None, {"allowed": True, "denied": True}])
@pytest.mark.parametrize("denies", [True, False])
def test_no_answer_is_what_the_operator_says_and_soon_asked_for_again(answer: Any, denies: bool) -> None:
    async def story(clock: VirtualClock) -> None:
        elsewhere = Elsewhere(answer, {"allowed": True})
        consulted = Consulted("w", elsewhere, clock, Terms(denies_on_failure=denies))
        verdict = await decided(consulted)
        assert not verdict.allowed and verdict.denied is denies and verdict.reason.startswith("webhook w: ")
        await clock.sleep(FAILED_SECONDS)
        assert (await decided(consulted)).allowed

    run_virtual(story)


def test_conditions_spare_it_questions() -> None:
    async def story(clock: VirtualClock) -> None:
        elsewhere = Elsewhere({"allowed": False, "denied": True})
        conditions = (Program("has(request.resourceAttributes) && request.resourceAttributes.verb == 'get'"),)
        consulted = Consulted("w", elsewhere, clock, Terms(conditions=conditions))
        order = Authorizers([consulted])
        assert order.authorize(Question(ALICE, "list", "", "pods")).denied is False
        assert order.authorize(Question(ALICE, "get", path="/metrics")).denied is False
        assert elsewhere.asked == [] and (await decided(consulted)).denied is True
        broken = Consulted("w", elsewhere, clock, Terms(denies_on_failure=True, conditions=(Program("request.x.y"),)))
        assert broken.authorize(ASKED).denied and len(elsewhere.asked) == 1

    run_virtual(story)


def test_a_question_is_put_in_kubernetes_words() -> None:
    assert review_of(ASKED)["spec"] == {
        "user": "alice", "groups": ["staff", "system:authenticated"], "uid": "7", "extra": {"team": ["a"]},
        "resourceAttributes": {
            "verb": "get", "group": "apps", "resource": "deployments", "subresource": "scale", "namespace": "shop",
            "name": "web", "fieldSelector": {"rawSelector": "a=b"}, "labelSelector": {"rawSelector": "c=d"},
        },
    }  # fmt: skip


def test_tokens_are_believed_for_two_minutes_and_only_what_is_a_user() -> None:
    async def story(clock: VirtualClock) -> None:
        good = {"authenticated": True, "user": {"username": "alice", "groups": ["staff"]}}
        elsewhere = Elsewhere(good, {"authenticated": False})
        reviewed = Reviewed(elsewhere, clock, ("api",))
        assert reviewed.user(b"t") is None
        await reviewed.look(b"t")
        assert reviewed.user(b"t") == User("alice", ("staff", "system:authenticated"))
        await reviewed.look(b"t")
        assert elsewhere.asked == ["t"]
        await clock.sleep(TTL_SECONDS)
        assert reviewed.user(b"t") is None
        await reviewed.look(b"t")
        assert reviewed.user(b"t") is None and len(elsewhere.asked) == 2
        for status in (
            {"authenticated": "yes", "user": {"username": "x"}}, {}, {"user": 1}, {"user": {"username": ""}},
            {"user": {"username": "x", "groups": 1}}, {"user": {"username": "x"}, "audiences": ["others"]}, None,
        ):  # fmt: skip
            told = None if status is None else {"authenticated": True, **status}
            odd = Reviewed(Elsewhere(told), clock, ("api",))
            await odd.look(b"t")
            assert odd.user(b"t") is None
        long = Reviewed(elsewhere, clock)
        await long.look(b"x" * 100_000)
        await long.look(b"")
        assert len(elsewhere.asked) == 2

    run_virtual(story)


def test_old_answers_about_tokens_make_room() -> None:
    async def story(clock: VirtualClock) -> None:
        async def ask(token: str) -> Any:
            return {"authenticated": True, "user": {"username": token}}

        reviewed = Reviewed(ask, clock)
        for number in range(KEPT_MAX + 1):
            await reviewed.look(b"%d" % number)
        assert reviewed.user(b"0") is None and reviewed.user(b"%d" % KEPT_MAX) is not None

    run_virtual(story)


def test_a_front_proxy_names_one_user() -> None:
    assert spoken_for([(b"x-remote-group", b"staff"), (b"host", b"x")]) is None
    assert spoken_for([(b"x-remote-user", b" ")]) is None
    found = spoken_for([(b"x-remote-user", b"a"), (b"x-remote-user", b"b"), (b"x-remote-extra-a%2Fb", b"1"),
                        (b"x-remote-extra-a%2fb", b"2")])  # fmt: skip
    assert found == User("a", ("system:authenticated",), "", {"a/b": ("1", "2")})


def config(**webhook: Any) -> dict[str, Any]:
    full = {
        "timeout": "3s", "subjectAccessReviewVersion": "v1", "matchConditionSubjectAccessReviewVersion": "v1",
        "failurePolicy": "Deny", "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": "/k"}, **webhook,
    }  # fmt: skip
    return {"type": "Webhook", "name": "example.com", "webhook": full}


def file(*entries: Any, **more: Any) -> str:
    import yaml

    kind = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration"}
    return str(yaml.safe_dump({**kind, "authorizers": [*entries], **more}))


def test_a_configuration_is_read_in_its_order() -> None:
    given = config(authorizedTTL="1m30s", cacheUnauthorizedRequests=False, matchConditions=[{"expression": "true"}])
    node, webhook, rbac = read(file({"type": "Node", "name": "node"}, given, {"type": "RBAC", "name": "rbac"}))
    assert (node.type, webhook.type, rbac.type) == ("Node", "Webhook", "RBAC")
    terms = webhook.terms
    assert (terms.allowed_seconds, terms.denied_seconds, terms.denies_on_failure) == (90, 0, True)
    assert webhook.seconds == 3 and len(terms.conditions) == 1


@pytest.mark.parametrize(
    "text, words",
    [
        ("[", "expected"),
        ("kind: X", "kind: expected AuthorizationConfiguration"),
        (file({"type": "Node", "name": "n"}, apiVersion="v9"), "apiVersion"),
        (file(), "authorizers: at least one"),
        (file({"type": "ABAC", "name": "n"}), "authorizers[0].type"),
        (file({"type": "Node", "name": "N!"}), "authorizers[0].name"),
        (file({"type": "Node", "name": "a"}, {"type": "Node", "name": "b"}), "authorizers[1].type: 'Node' is there"),
        (file(config(), config()), "authorizers[1].name: 'example.com' is there twice"),
        (file({"type": "RBAC", "name": "r", "webhook": {}}), "may only be specified when type=Webhook"),
        (file({"type": "Webhook", "name": "r"}), "required when type=Webhook"),
        (file(config(timeout="0s")), "timeout"), (file(config(timeout="31s")), "timeout"),
        (file(config(timeout=None)), "timeout: expected a duration"),
        (file(config(failurePolicy="Maybe")), "failurePolicy"),
        (file(config(subjectAccessReviewVersion="v1beta1")), "subjectAccessReviewVersion"),
        (file(config(authorizedTTL="0s")), "authorizedTTL: must be greater than zero"),
        (file(config(connectionInfo={"type": "InClusterConfig"})), "connectionInfo.type"),
        (file(config(connectionInfo={"type": "KubeConfigFile", "kubeConfigFile": "k"})), "must be an absolute path"),
        (file(config(matchConditions=[{"expression": "request."}])), "matchConditions[0].expression: compilation"),
        (file(config(matchConditions=[{"expression": " "}])), "matchConditions[0].expression: required"),
        (file(config(surprise=1)), "webhook.surprise: this field is not known"),
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_be_is_refused_by_its_field(text: str, words: str) -> None:
    with pytest.raises(AuthorizationConfigError) as refused:
        read(text)
    assert words in str(refused.value)
