"""Values as Go prints them into messages, which programs and people compare."""

from typing import Any

import orjson

_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\v": "\\v"}


def plain(value: Any) -> str:
    """A value as %v prints it."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{plain(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(plain, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "<nil>", True: "true", False: "false"}[value]
    return str(value)


def syntax(value: Any) -> str:
    """A value as %#v prints it."""
    if isinstance(value, dict):
        inner = ", ".join(f"{quoted(key)}:{syntax(value[key])}" for key in sorted(value))
        return f"map[string]interface {{}}{{{inner}}}"
    if isinstance(value, list):
        return f"[]interface {{}}{{{', '.join(map(syntax, value))}}}"
    if value is None:
        return "interface {}(nil)"
    return quoted(value) if isinstance(value, str) else orjson.dumps(value).decode()


def type_name(value: Any) -> str:
    """The name of the type that Go decodes such JSON into; of null there is none."""
    if value is None:
        return "<nil>"
    containers = {dict: "map[string]interface {}", list: "[]interface {}"}
    scalars = {str: "string", bool: "bool", int: "int64"}
    return containers.get(value.__class__) or scalars.get(value.__class__, "float64")


def as_text(value: Any) -> str:
    """A value as %s prints it, which is meant for text."""
    if isinstance(value, str):
        return value
    return "%!s(<nil>)" if value is None else f"%!s({type_name(value)}={plain(value)})"


def quoted(text: str) -> str:
    """Text as %q prints it."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(map(_quoted_character, text)) + '"'


def _quoted_character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    wide = f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x80 else wide)
