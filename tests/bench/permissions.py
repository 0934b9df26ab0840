"""How long a decision takes among ten thousand bindings, and the proof of a name before it.

`python -m tests.bench permissions`.

Three users: one with a role of his own in one of a thousand namespaces, one with the role `admin` there, and
a controller; each is asked for something he may and something he may not.
"""

import time
from collections.abc import Callable
from dataclasses import replace

from cryptography.hazmat.primitives.serialization import Encoding

from ksql.auth import pki
from ksql.auth.authenticate import Authenticator
from ksql.auth.authorize import Authorizers
from ksql.auth.defaults import all_defaults, node_rules
from ksql.auth.identity import AUTHENTICATED, Question, User, controller_user
from ksql.auth.nodes import NodeAuthorizer, Relations
from ksql.auth.rbac import BINDINGS, CLUSTER_ROLES, Grants
from ksql.auth.tokens import Bound, Tokens, make_key
from ksql.auth.trust import Trust
from ksql.base.clock import SystemClock
from ksql.base.documents import Document

BINDINGS_COUNT, NAMESPACES = 10_000, 1_000
ROUNDS = 20_000


def grants() -> Grants:
    made = Grants()
    for resource, document in all_defaults():
        made.put(resource, document)
    # `admin` as the aggregation controller makes it.
    parts = ("system:aggregate-to-admin", "system:aggregate-to-edit", "system:aggregate-to-view")
    rules = [
        rule for _, document in all_defaults() if document["metadata"]["name"] in parts for rule in document["rules"]
    ]
    made.put(CLUSTER_ROLES, {"metadata": {"name": "admin"}, "rules": rules})
    for number in range(BINDINGS_COUNT):
        made.put(BINDINGS, _binding(number))
    return made


def _binding(number: int) -> Document:
    return {
        "metadata": {"name": f"b{number}", "namespace": f"n{number % NAMESPACES}"},
        "roleRef": {"kind": "ClusterRole", "name": "admin" if number % 2 else "system:aggregate-to-view"},
        "subjects": [{"kind": "User", "name": f"u{number}"}, {"kind": "Group", "name": f"team-{number % 50}"}],
    }


def microseconds(call: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(ROUNDS):
            call()
        best = min(best, (time.perf_counter() - started) / ROUNDS * 1e6)
    return best


def proofs() -> dict[str, Callable[[], User | None]]:
    """A name proved on a connection that has asked before: by certificate, by a service account's token."""
    clock = SystemClock(seed=1)
    authority = pki.make_authority(clock)
    pair = pki.issue_client(authority, "u4243", ("team-43",), clock)
    certificate = pair.leaf.public_bytes(Encoding.DER)
    account = {"metadata": {"name": "default", "namespace": "n243", "uid": "u"}}
    tokens = Tokens(make_key(), clock, lambda resource, namespace, name: account)
    trust = Trust(clock, {"clients": [authority.certificate] * 3, "nodes": [pki.make_authority(clock).certificate]})
    authenticator = Authenticator(clock, {}, tokens, trust=trust)
    bearer = b"Bearer " + tokens.sign(account, tokens.audiences, 3600, Bound()).encode()
    return {
        "a certificate": lambda: authenticator.user(certificate), "a token": lambda: authenticator.user(None, bearer)
    }  # fmt: skip


def main() -> None:
    all_of_them = grants()
    authorizers = Authorizers([NodeAuthorizer(Relations, node_rules()), all_of_them])
    viewer, admin = (User(f"u{number}", (f"team-{number % 50}", AUTHENTICATED)) for number in (4242, 4243))
    controller = controller_user("deployment-controller")
    questions = {
        "viewer gets a pod": Question(viewer, "get", "", "pods", namespace="n242", name="web"),
        "viewer is refused a secret": Question(viewer, "get", "", "secrets", namespace="n242", name="key"),
        "admin scales a deployment": Question(admin, "patch", "apps", "deployments", "scale", "n243", "web"),
        "admin is refused a node": Question(admin, "get", "", "nodes", name="n1"),
        "controller makes a replica set": Question(controller, "create", "apps", "replicasets", namespace="n1"),
    }
    for name, question in questions.items():
        took = microseconds(lambda question=question: authorizers.authorize(question))  # type: ignore[misc]
        print(f"{name:32} {'yes' if authorizers.authorize(question).allowed else 'no':4} {took:6.2f} µs")
    for name, prove in proofs().items():
        user = prove()
        assert user is not None
        question = Question(user, "list", "", "pods", namespace="n243")
        took = microseconds(
            lambda prove=prove, asked=question: authorizers.authorize(replace(asked, user=prove()))  # type: ignore[misc]
        )
        print(f"{name + ', and a decision':32}      {took:6.2f} µs")
    took = microseconds(lambda: all_of_them.put(BINDINGS, _binding(77)))
    print(f"{'a binding changes':32}      {took:6.2f} µs")


if __name__ == "__main__":
    main()
