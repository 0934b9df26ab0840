"""One request before many expressions: what they speak of is handed over once, whoever asks.

A policy's variables stand in the place where an expression names them. An expression that comes to no value says
why; where a variable is the reason, it says which.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ksql.auth.identity import AUTHENTICATED, SERVICE_ACCOUNT_USER, SERVICE_ACCOUNTS, Authorizer, User
from ksql.auth.identity import Question as Permission
from ksql.base.documents import Document
from ksql.schema.cel import admission, authorization
from ksql.schema.cel.programs import CompilationError, EvaluationError
from ksql.schema.resources import ResourceType
from ksql.verbs.guards.questions import Question, request_of

# What a namespace's metadata shows to expressions: labels and identity, not who manages what.
_NAMESPACE_METADATA = ("name", "uid", "labels", "annotations", "creationTimestamp", "deletionTimestamp", "generation")


class Expression:
    """An expression of a guard; it is compiled when it is first run, and one that does not compile says so then."""

    __slots__ = ("_program", "_variables", "fault", "text")

    def __init__(self, text: str, variables: "Mapping[str, Expression] | None" = None) -> None:
        self.text = text.strip()
        self.fault = ""
        self._variables = dict(variables or {})
        self._program: Any = None

    @property
    def program(self) -> Any:
        """The library's program; None when there is none, and `fault` says why."""
        if self._program is None and not self.fault:
            try:
                self._program = admission.program(self.expanded())
            except CompilationError as error:
                self.fault = f"compilation error: compilation failed: {error}"
        return self._program

    def expanded(self) -> str:
        """The text with its variables in their places."""
        if "variables" not in self.text:
            return self.text
        named = {name: one for name, one in self._variables.items() if name in self.text}
        return admission.expanded(self.text, {name: one.expanded() for name, one in named.items()})

    def named(self) -> "list[tuple[str, Expression]]":
        """The variables that it names."""
        return [(name, one) for name, one in self._variables.items() if f"variables.{name}" in self.text]


def variables_of(documents: Any) -> dict[str, Expression]:
    """A policy's variables, each of which may name those before it."""
    found: dict[str, Expression] = {}
    for one in documents or ():
        found[one["name"]] = Expression(one["expression"], found)
    return found


@dataclass(frozen=True, slots=True)
class Found:
    """What an expression came to: a value of the library, or why there is none."""

    raw: Any = None
    error: str = ""

    @property
    def is_true(self) -> bool:
        return self.raw is not None and self.raw.value() is True

    @property
    def value(self) -> Any:
        """The value where it is a plain one: true, false, a text, a number or nothing."""
        return None if self.raw is None else self.raw.value()


class Evaluation:
    """Expressions about one question with one set of parameters. The same text is evaluated once."""

    def __init__(
        self, question: Question, type: ResourceType, authorizer: Authorizer, params: Document | None = None
    ) -> None:
        self._question, self._type, self._authorizer, self._params = question, type, authorizer, params
        self._facts: Any = None
        self._known: dict[Any, Found] = {}

    def run(self, expression: Expression) -> Found:
        program = expression.program
        if program is None:
            return Found(error=expression.fault)
        found = self._known.get(program)
        if found is None:
            found = self._known[program] = self._run(expression, program)
        return found

    def _run(self, expression: Expression, program: Any) -> Found:
        if self._facts is None:
            self._facts = admission.facts(self._values())
        try:
            if not program.asks:
                return Found(program.run(self._facts))
            with authorization.asking(self._ask):
                return Found(program.run(self._facts))
        except EvaluationError as error:
            return Found(error=self._explained(expression, str(error)))

    def _explained(self, expression: Expression, error: str) -> str:
        for name, variable in expression.named():
            if why := self.run(variable).error:
                return f'composited variable "{name}" fails to evaluate: {why}'
        return error

    def _values(self) -> dict[str, Any]:
        question, type = self._question, self._type
        resource = authorization.authorizer(
            group=question.type.group, resource=question.type.resource, subresource=question.subresource,
            namespace=question.namespace, name=question.name,
        )  # fmt: skip
        return {
            "object": question.in_version(type, False), "oldObject": question.in_version(type, True),
            "request": request_of(question, type), "params": self._params,
            "namespaceObject": _namespace(question.namespace_object), "authorizer": authorization.authorizer(),
            "authorizer__requestResource": resource,
        }  # fmt: skip

    def _ask(self, asked: Mapping[str, Any]) -> tuple[bool, str]:
        """What the authorizer says to an expression's question."""
        user = self._question.user
        if account := asked.get("account"):
            namespace = account.partition(":")[0]
            groups = (SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{namespace}", AUTHENTICATED)
            user = User(f"{SERVICE_ACCOUNT_USER}{account}", groups)
        verdict = self._authorizer.authorize(
            Permission(
                user, asked["verb"], asked.get("group", ""), asked.get("resource", ""), asked.get("subresource", ""),
                asked.get("namespace", ""), asked.get("name", ""), asked.get("path", ""),
            )
        )  # fmt: skip
        return verdict.allowed, verdict.reason


def _namespace(document: Document | None) -> Document | None:
    if document is None:
        return None
    metadata = {key: value for key, value in document["metadata"].items() if key in _NAMESPACE_METADATA}
    return {**document, "metadata": metadata}
