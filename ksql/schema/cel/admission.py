"""Expressions of admission as they are run: over a request, its objects, parameters and variables.

What expressions look at is handed to the library once for all of them (`facts`): what costs is the crossing, not
the evaluation. A policy's variables are put in the place where they are named, so that each is evaluated only
where it is really reached.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cel_expr_python import cel
from google.protobuf import descriptor_pool

from ksql.schema.cel import programs
from ksql.schema.cel.functions import evaluated
from ksql.schema.cel.macros import runnable

NAMES = ("object", "oldObject", "request", "params", "namespaceObject", "authorizer", "authorizer__requestResource")
# How long an expression may be with its variables in their places. Variables that name each other twice double it
# with each step, which this ends.
EXPANDED_CHARACTERS_MAX = 10 * programs.EXPRESSION_CHARACTERS_MAX
_HAS = re.compile(r"\bhas\(\s*variables\.\w+\s*\)")
_VARIABLE = re.compile(r"\bvariables\.([A-Za-z_]\w*)")
_REQUEST_RESOURCE = re.compile(r"\bauthorizer\.requestResource\b")


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """The expression with its variables' own in their places; `variables` are expanded already."""
    if "variables" not in text:
        return text
    parts, at = [], 0
    plain = programs.outside_literals(text, _HAS, "true")
    for literal in [*programs.LITERAL.finditer(plain), None]:
        end = literal.start() if literal is not None else len(plain)
        parts.append(_VARIABLE.sub(lambda found: _placed(found[1], variables), plain[at:end]))
        if literal is not None:
            parts.append(literal.group())
            at = literal.end()
    found = "".join(parts)
    if len(found) > EXPANDED_CHARACTERS_MAX:
        raise programs.CompilationError(
            f"the expression with its variables is longer than {EXPANDED_CHARACTERS_MAX} characters"
        )
    return found


def _placed(name: str, variables: Mapping[str, str]) -> str:
    if name not in variables:
        raise programs.CompilationError(f"undefined field '{name}'")
    # On lines of their own, since an expression may end with a comment.
    return f"(\n{variables[name]}\n)"


class Program:
    """An expression ready to be run over `facts`."""

    def __init__(self, text: str) -> None:
        self.asks = programs.mentions(text, "authorizer")
        plain = programs.outside_literals(text, _REQUEST_RESOURCE, "authorizer__requestResource")
        try:
            self._program = _environment().compile(runnable(plain))
        except RuntimeError as error:
            raise programs.CompilationError(programs.go_words(str(error))) from None

    def run(self, facts: Any) -> Any:
        """The library's value; `EvaluationError` says why there is none."""
        try:
            found = self._program.eval(facts)
        except RuntimeError as error:
            raise programs.EvaluationError(programs.error_words(str(error))) from None
        if found.type() == cel.Type.ERROR:
            raise programs.EvaluationError(programs.error_words(str(found.value())))
        return found


@lru_cache(programs.PROGRAMS_MAX)
def program(text: str) -> Program:
    """The expression compiled, once for all guards that use it."""
    return Program(text)


@lru_cache(1)
def _environment() -> Any:
    return cel.NewEnv(
        config=programs.LOOPS_AND_LISTS, descriptor_pool=descriptor_pool.Default(),
        variables=dict.fromkeys(NAMES, cel.Type.DYN), extensions=programs.extensions(evaluated()),
    )  # fmt: skip


def facts(values: Mapping[str, Any]) -> Any:
    """What expressions look at: a value for each of `NAMES`, made the library's own when first looked at."""
    return _environment().Activation(dict(values))


def plain(value: Any) -> Any:
    """The library's value as documents hold it."""
    try:
        return value.plain_value()
    except (SystemError, RuntimeError) as error:
        raise programs.EvaluationError(f"the value cannot be part of a document: {error}") from None
