"""Expressions over what a token claims and over the user made of it, as an issuer's configuration has them."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cel_expr_python import cel
from google.protobuf import descriptor_pool

from ksql.schema.cel import programs
from ksql.schema.cel.functions import evaluated
from ksql.schema.cel.macros import runnable

# One of them is looked at: claims by mappings and claim rules, the user by user rules, a request by an authorizer's
# match conditions.
NAMES = ("claims", "user", "request")


class Program:
    """An expression ready to be run; `CompilationError` when it cannot be."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._program = _environment().compile(runnable(text))
        except RuntimeError as error:
            raise programs.CompilationError(programs.go_words(str(error))) from None

    def run(self, name: str, value: Mapping[str, Any]) -> Any:
        """The value as plain Python; `EvaluationError` says why there is none."""
        try:
            found = self._program.eval(_environment().Activation({name: dict(value)}))
            if found.type() == cel.Type.ERROR:
                raise programs.EvaluationError(programs.error_words(str(found.value())))
            return found.plain_value()
        except (RuntimeError, SystemError) as error:
            raise programs.EvaluationError(programs.error_words(str(error))) from None


@lru_cache(1)
def _environment() -> Any:
    return cel.NewEnv(
        config=programs.LOOPS_AND_LISTS, descriptor_pool=descriptor_pool.Default(),
        variables=dict.fromkeys(NAMES, cel.Type.DYN), extensions=programs.extensions(evaluated()),
    )  # fmt: skip
