"""Whole numbers in scripts: what stands in $((…)), and `expr`. Pure."""

import ast
import operator
import re
from collections.abc import Callable, Mapping

# Numbers are 64 bits wide, as a shell's are: what is larger wraps around.
_WIDTH = 1 << 64
_LENGTH_MAX = 200
_NAME = re.compile(r"\$\{?([A-Za-z_]\w*)\}?|\b([A-Za-z_]\w*)")


class SumError(ValueError):
    """The text is no sum that a shell would do."""


def _divided(left: int, right: int) -> int:
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _rest(left: int, right: int) -> int:
    return left - right * _divided(left, right)


_BINARY: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: _divided, ast.Mod: _rest,
}  # fmt: skip
_COMPARED: Mapping[type[ast.cmpop], Callable[[int, int], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip


def computed(text: str, variables: Mapping[str, str]) -> int:
    """The value of a sum; names that are not set are 0."""
    if len(text) > _LENGTH_MAX:
        raise SumError("arithmetic syntax error")

    def meant(match: re.Match[str]) -> str:
        value = variables.get(match[1] or match[2], "0") or "0"
        return f"({value})" if value.lstrip("-").isdigit() else "0"

    plain = _NAME.sub(meant, text).replace("/", "//").replace("&&", " and ").replace("||", " or ")
    try:
        found = _value(ast.parse(plain.strip() or "0", mode="eval").body)
    except (SyntaxError, ZeroDivisionError, RecursionError):
        raise SumError("arithmetic syntax error") from None
    wrapped = found % _WIDTH
    return wrapped - _WIDTH if wrapped >= _WIDTH // 2 else wrapped


def _value(node: ast.expr) -> int:
    match node:
        case ast.Constant(value=int() as value):
            return int(value)
        case ast.UnaryOp(op=ast.USub()):
            return -_value(node.operand)
        case ast.BinOp() if type(node.op) in _BINARY:
            return _BINARY[type(node.op)](_value(node.left), _value(node.right))
        case ast.BoolOp(op=ast.And()):
            return int(all(_value(one) for one in node.values))
        case ast.BoolOp(op=ast.Or()):
            return int(any(_value(one) for one in node.values))
        case ast.Compare(ops=[op], comparators=[right]) if type(op) in _COMPARED:
            return int(_COMPARED[type(op)](_value(node.left), _value(right)))
    raise SumError("arithmetic syntax error")
