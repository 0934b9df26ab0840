"""Expressions in CEL, behind one small door: what everything else here knows of the library that runs them.

An expression is looked at twice. `checked` compiles it against types made of a schema (`types.py`), so
that a field that is not there, or a number compared with a text, is refused when the rule is written, in
cel-go's words. `program` compiles it for evaluation over plain values, where an absent field is an error
and never a zero. Nothing here reads a clock: what bounds an evaluation is its number of steps.
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings
from google.protobuf import descriptor_pool, duration_pb2, timestamp_pb2

from ksql.schema.cel.functions import evaluated, typed
from ksql.schema.cel.macros import runnable
from ksql.schema.golang.patterns import PatternError, compiled

# Expressions kept compiled; a cluster with many operators has a few thousand.
PROGRAMS_MAX = 8192
# Environments kept for rules with an optional oldSelf: their types' names repeat from schema to schema.
OPTIONALS_MAX = 64
# How long an expression may be. Longer ones are refused before they are read.
EXPRESSION_CHARACTERS_MAX = 10_000

# The version of the library's functions of texts that Kubernetes has.
_TEXT_FUNCTIONS = 2

Type = cel.Type
# Values of these stand for instants and spans inside plain documents.
Timestamp, Duration = timestamp_pb2.Timestamp, duration_pb2.Duration


class CompilationError(ValueError):
    """The expression is none, or not over these types; the message is cel-go's."""


class EvaluationError(ValueError):
    """It came to no value: a missing key, an overflow, too many steps."""


# Of the library's own extensions: loops over two variables (1.32), and lists that are sorted, sliced, flattened (1.34).
_LOOPS_AND_LISTS = {"name": "loops", "extensions": [{"name": "two-var-comprehensions"}, {"name": "lists"}]}
LOOPS_AND_LISTS = cel.NewEnvConfigFromYaml(json.dumps(_LOOPS_AND_LISTS))


@lru_cache(OPTIONALS_MAX)
def _with_optional_old(text: str) -> Any:
    """The environment in which there may be no oldSelf; only in a configuration a type can be optional."""
    old = {"name": "oldSelf", "type_name": "optional_type", "params": [_described(text)]}
    return cel.NewEnvConfigFromYaml(json.dumps({**_LOOPS_AND_LISTS, "variables": [old]}))


def _described(text: str) -> dict[str, Any]:
    """A type as configurations have it, from how the library prints it: LIST<INT>, MAP<STRING, schema.Object1>."""
    head, opens, rest = text.partition("<")
    parts = rest[:-1].split(", ", 1) if head == "MAP" else [rest[:-1]] if opens else []
    name = head if "." in head else head.lower()
    return {"type_name": name, "params": [_described(part) for part in parts]} if parts else {"type_name": name}


def extensions(functions: list[Any]) -> list[Any]:
    # Ours come last: some share their name with the library's own, which only an extension may.
    texts, own = ext_strings.ExtStrings(_TEXT_FUNCTIONS), cel.CelExtension("kubernetes", functions)
    return [texts, ext_optional.ExtOptional(), own]


def typed_expression(expression: str, pool: Any, variables: Mapping[str, Any], optional_old: bool = False) -> Any:
    """The expression as the library compiled it, over variables of these types.

    `pool` describes the messages among them; with `optional_old` there may be no oldSelf, and rules ask first.
    `CompilationError` says what is wrong, as cel-go does.
    """
    config = LOOPS_AND_LISTS
    if optional_old:
        config = _with_optional_old(str(variables["oldSelf"]))
        variables = {name: kind for name, kind in variables.items() if name != "oldSelf"}
    _check_patterns(expression)
    if len(expression) > EXPRESSION_CHARACTERS_MAX:
        raise CompilationError(f"expression is longer than {EXPRESSION_CHARACTERS_MAX} characters")
    try:
        environment = cel.NewEnv(
            config=config, descriptor_pool=pool, variables=dict(variables), extensions=extensions(typed()),
        )  # fmt: skip
        return environment.compile(expression)
    except RuntimeError as error:
        raise CompilationError(go_words(str(error))) from None


def checked(expression: str, pool: Any, variables: Mapping[str, Any]) -> str:
    """The name of the type an expression has (BOOL, STRING, …); see `typed_expression`."""
    return str(typed_expression(expression, pool, variables).return_type().name())


_MATCHES = re.compile(r"\.matches\(\s*('(?:[^'\\]|\\.)*')\s*\)")


def _check_patterns(expression: str) -> None:
    """Patterns that stand in the expression itself are read when the rule is written."""
    for found in _MATCHES.finditer(expression):
        pattern = found[1][1:-1]
        if "\\" in pattern:
            # Escapes are the compiler's to undo; what is wrong then shows when the rule is asked.
            continue
        try:
            compiled(pattern)
        except PatternError:
            at = found.start(1)
            mark = "." * at + "^"
            said = f"ERROR: <input>:1:{at + 1}: invalid matches argument\n | {expression}\n | {mark}"
            raise CompilationError(said) from None


_CHAIN = re.compile(
    r"<input>:(\d+):(\d+): undeclared reference to '([A-Za-z_]\w*)(\.[\w.]+)' "
    r"(\(in container '[^']*'\)\n \| .*\n \| )\.*\^"
)


def _root_alone(found: re.Match[str]) -> str:
    """Of a chain of names whose first is unknown, cel-go names that one alone, where it stands."""
    line, column, root, rest, between = found.groups()
    start = int(column) - len(root) - rest.rindex(".")
    return f"<input>:{line}:{start}: undeclared reference to '{root}' {between}{'.' * (start - 1)}^"


_MEMBER = re.compile(
    r"(?P<head>:(?P<column>\d+): found no matching overload for '(?P<name>[A-Za-z]\w*)' applied to ')"
    r"\((?P<types>.*)\)'(?P<middle>\n \| )(?P<source>.*)"
)


def _of_member(found: re.Match[str]) -> str:
    """Of a call of something's own function cel-go tells whose first, and what it is given after that."""
    name, at = found["name"], int(found["column"]) - 1
    before = found["source"][:at].rstrip()
    if not before.endswith(f".{name}"):
        return found[0]
    types, depth = found["types"], 0
    end = len(types)
    for index, sign in enumerate(types):
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if sign == "," and not depth:
            end = index
            break
    return f"{found['head']}{types[:end]}.({types[end + 2:]})'{found['middle']}{found['source']}"


def go_words(text: str) -> str:
    """The compiler's complaint as cel-go words it."""
    text = re.sub(r"^[A-Z_]+: ", "", text)
    text = re.sub(r" \[[A-Z_]+\]$", "", text).rstrip()
    # What follows from an error already told cel-go does not tell.
    told = [part for part in re.split(r"\n(?=ERROR: )", text) if "'*error*'" not in part]
    text = "\n".join(told).replace("null_type", "null").replace("cannot be the range of a", "cannot be range of a")
    text = _MEMBER.sub(_of_member, _CHAIN.sub(_root_alone, text))
    return re.sub(r"undefined field '([^']*)' not found in struct '[^']*'", r"undefined field '\1'", text)


_OLD_SELF = re.compile(r"\boldSelf\b")
LITERAL = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'")
_OPTIONAL_OLD = "(hasOldSelf__ ? optional.of(oldSelf__) : optional.none())"


class Program:
    """An expression ready to be evaluated over `self` and, where it is given, `oldSelf`."""

    def __init__(self, expression: str, optional_old: bool = False) -> None:
        names = ["self", "oldSelf__" if optional_old else "oldSelf"]
        variables = dict.fromkeys(names, Type.DYN)
        if optional_old:
            variables["hasOldSelf__"] = Type.BOOL
            expression = outside_literals(expression, _OLD_SELF, _OPTIONAL_OLD)
        self._optional = optional_old
        try:
            environment = cel.NewEnv(
                config=LOOPS_AND_LISTS, descriptor_pool=descriptor_pool.Default(), variables=variables,
                extensions=extensions(evaluated()),
            )  # fmt: skip
            self._program = environment.compile(runnable(expression))
        except RuntimeError as error:
            raise CompilationError(go_words(str(error))) from None

    def run(self, value: Any, old: Any = None, has_old: bool = False) -> Any:
        """What it comes to; `EvaluationError` says why it comes to nothing."""
        data = {"self": value}
        if self._optional:
            data |= {"oldSelf__": old, "hasOldSelf__": has_old}
        elif has_old:
            data["oldSelf"] = old
        try:
            found = self._program.eval(data=data)
        except RuntimeError as error:
            raise EvaluationError(error_words(str(error))) from None
        if found.type() == Type.ERROR:
            raise EvaluationError(error_words(str(found.value())))
        return found.plain_value()


@lru_cache(PROGRAMS_MAX)
def program(expression: str, optional_old: bool = False) -> Program:
    """The expression compiled for evaluation, once for all who use it."""
    return Program(expression, optional_old)


def outside_literals(expression: str, what: re.Pattern[str], instead: str) -> str:
    """The expression with a word replaced, but not where it stands in a text."""
    parts, at = [], 0
    for literal in LITERAL.finditer(expression):
        parts += [what.sub(instead, expression[at : literal.start()]), literal.group()]
        at = literal.end()
    return "".join([*parts, what.sub(instead, expression[at:])])


def mentions(expression: str, name: str) -> bool:
    """Whether the expression uses a variable."""
    return re.search(rf"\b{name}\b", LITERAL.sub("", expression)) is not None


_KEY = re.compile(r'Key not found in map : "?(.*?)"?$')
_INDEX = re.compile(r"Index error: index=(-?\d+) size=\d+")


def error_words(text: str) -> str:
    """The evaluator's complaint as cel-go words it."""
    text = re.sub(r"^[A-Z_]+: ", "", text)
    text = re.sub(r" \[[A-Z_]+\]$", "", text).strip()
    if found := _KEY.match(text):
        return f"no such key: {found[1]}"
    if found := _INDEX.match(text):
        return f"index out of bounds: {found[1]}"
    if text.startswith("No matching overloads found"):
        return "no such overload"
    if text == "Iteration budget exceeded":
        return "operation cancelled: actual cost limit exceeded"
    return text
