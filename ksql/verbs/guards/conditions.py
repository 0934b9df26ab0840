"""Match conditions: expressions that leave a guard out of a request.

Those of a webhook and of a policy are judged alike: one that is false leaves the guard out, whatever becomes of
the others; otherwise one that comes to no value is a failure, for the failure policy to judge.
"""

from collections.abc import Sequence

from ksql.base.documents import Document
from ksql.verbs.guards.evaluation import Evaluation, Expression


class ConditionsError(Exception):
    """Some conditions came to no value, and none was false."""


class Conditions:
    """The match conditions of one guard."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self._expressions = [Expression(one["expression"]) for one in documents]

    def __bool__(self) -> bool:
        return bool(self._expressions)

    def hold(self, evaluation: Evaluation) -> bool:
        """Whether the guard is asked; `ConditionsError` when that cannot be told."""
        failures: list[str] = []
        for expression in self._expressions:
            found = evaluation.run(expression)
            if found.error:
                failures.append(f"expression '{expression.text}' resulted in error: {found.error}")
            elif found.value is not True:
                return False
        if failures:
            raise ConditionsError(failures[0] if len(failures) == 1 else f"[{', '.join(failures)}]")
        return True
