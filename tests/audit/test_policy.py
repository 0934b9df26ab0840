"""The policy decides as Kubernetes' does, and refuses what it does not understand."""

import pytest

from ksql.audit.policy import DEFAULT, Attributes, Level, PolicyError, Stage, parse

HEAD = "apiVersion: audit.k8s.io/v1\nkind: Policy\n"


def asked(verb: str = "get", **fields: str) -> Attributes:
    groups = tuple(fields.pop("groups", "").split())
    return Attributes(fields.pop("user", "alice"), groups, verb, **fields)


def level(rules: str, of: Attributes) -> Level:
    return parse(HEAD + "rules:\n" + rules).decide(of).level


@pytest.mark.parametrize(
    ("rule", "matching", "other"),
    [
        ("users: [alice]", asked(), asked(user="bob")),
        ("userGroups: [dev, ops]", asked(groups="x ops"), asked(groups="x")),
        ("verbs: [get, list]", asked("list"), asked("watch")),
        ("namespaces: [shop]", asked(resource="pods", namespace="shop"), asked(resource="pods", namespace="x")),
        ('namespaces: [""]', asked(resource="nodes"), asked(resource="pods", namespace="x")),
        ("namespaces: [shop]", asked(resource="pods", namespace="shop"), asked(path="/healthz")),
        ("resources: [{resources: [pods]}]", asked(resource="pods"), asked(resource="pods", subresource="log")),
        ("resources: [{resources: [pods/log]}]", asked(resource="pods", subresource="log"), asked(resource="pods")),
        ("resources: [{resources: ['pods/*']}]", asked(resource="pods", subresource="log"), asked(resource="nodes")),
        ("resources: [{resources: ['pods/*']}]", asked(resource="pods"), asked(resource="nodes")),
        ("resources: [{resources: ['*/scale']}]", asked(resource="a", subresource="scale"), asked(resource="a")),
        ("resources: [{resources: ['*']}]", asked(resource="a", subresource="b"), asked(resource="a", group="apps")),
        ("resources: [{group: apps}]", asked(resource="deployments", group="apps"), asked(resource="pods")),
        ("resources: [{group: '*'}]", asked(resource="a", group="b"), asked(path="/metrics")),
        (
            "resources: [{resources: [secrets], resourceNames: [key]}]",
            asked(resource="secrets", name="key"), asked(resource="secrets", name="lock"),
        ),
        ("nonResourceURLs: [/healthz]", asked(path="/healthz"), asked(path="/healthz/ping")),
        ("nonResourceURLs: ['/healthz*']", asked(path="/healthz/ping"), asked(path="/livez")),
        ("nonResourceURLs: ['*']", asked(path="/any"), asked(resource="pods", path="/api/v1/pods")),
    ],
)  # fmt: skip
def test_a_rule_matches_what_all_of_its_fields_say(rule: str, matching: Attributes, other: Attributes) -> None:
    text = f"- level: Metadata\n  {rule}\n"
    assert level(text, matching) is Level.METADATA
    assert level(text, other) is Level.NONE


def test_the_first_rule_that_matches_decides_and_none_keeps_nothing() -> None:
    rules = "- {level: None, users: [alice]}\n- level: RequestResponse\n"
    assert level(rules, asked()) is Level.NONE
    assert level(rules, asked(user="bob")) is Level.REQUEST_RESPONSE
    assert DEFAULT.decide(asked()).level is Level.NONE


def test_stages_left_out_are_those_of_the_policy_and_of_the_rule() -> None:
    policy = parse(
        HEAD + "omitStages: [RequestReceived]\nomitManagedFields: true\n"
        "rules:\n- {level: Metadata, omitStages: [Panic], users: [alice]}\n"
        "- {level: Request, omitManagedFields: false}\n"
    )
    found = policy.decide(asked())
    assert found.omit_stages == {Stage.RECEIVED, Stage.PANIC} and found.omit_managed_fields
    assert not policy.decide(asked(user="bob")).omit_managed_fields


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no object"),
        ("a: [", "no YAML"),
        ("kind: Policy\n", "expected apiVersion audit.k8s.io/v1"),
        (HEAD, "rules: Required value"),
        (HEAD + "rules: {}\n", "rules: Required value"),
        (HEAD + "rule: []\n", "rule: unknown field"),
        (HEAD + "rules: [1]\n", "rules[0]: expected an object"),
        (HEAD + "rules: [{}]\n", "rules[0].level: Required value"),
        (HEAD + "rules: [{level: All}]\n", 'rules[0].level: Unsupported value: "All"'),
        (HEAD + "rules: [{level: None, resource: []}]\n", "rules[0].resource: unknown field"),
        (HEAD + "rules: [{level: None, users: alice}]\n", "rules[0].users: expected a list of texts"),
        (HEAD + "rules: [{level: None, nonResourceURLs: [x]}]\n", "must begin with a '/'"),
        (HEAD + "rules: [{level: None, nonResourceURLs: ['/*/x']}]\n", "must be the final character"),
        (
            HEAD + "rules: [{level: None, nonResourceURLs: [/x], namespaces: [y]}]\n",
            "rules cannot apply to both regular resources and non-resource URLs",
        ),
        (HEAD + "rules: [{level: None, resources: [{group: apps/v1}]}]\n", "without its version"),
        (HEAD + "rules: [{level: None, resources: [{resourceNames: [x]}]}]\n", "requires at least one resource"),
        (HEAD + "rules: [{level: None, omitStages: [Later]}]\n", "allowed stages are RequestReceived"),
        (HEAD + "omitManagedFields: maybe\nrules: [{level: None}]\n", "omitManagedFields: expected true or false"),
    ],
)  # fmt: skip
def test_what_is_no_policy_is_refused_with_its_field(text: str, words: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse(text)
    assert words in str(caught.value)
