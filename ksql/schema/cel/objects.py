"""Objects that mutating policies write: `Object{spec: Object.spec{replicas: 3}}` and `JSONPatch{op: "add", …}`.

The library would want a message type for each place of each kind. They are maps all the same once evaluated, so
they are written as maps before they are compiled: the names of fields become texts, the names of types go. What
is no field of the kind shows when the result is decoded.
"""

import re

_TOKEN = re.compile(
    r"\s+|//[^\n]*|(?:[rRbB]{0,2})(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')"
    r"|[A-Za-z_]\w*|.",
    re.S,
)
_TYPE = re.compile(r"(?:Object(?:\.\w+)*|JSONPatch)\s*$")
_NAME = re.compile(r"[A-Za-z_]\w*")


def as_maps(expression: str) -> str:
    """The expression with each written object as a map."""
    out: list[str] = []
    # For each open bracket: whether it is that of a written object.
    open_: list[bool] = []
    expects_field = False
    for token in _TOKEN.findall(expression):
        if token == "{":
            head = _TYPE.search("".join(out))
            is_object = head is not None and (head.start() == 0 or not _ends_a_name("".join(out), head.start()))
            if is_object and head is not None:
                text = "".join(out)[: head.start()]
                out = [text]
            open_.append(is_object)
            expects_field = is_object
            out.append(token)
        elif token in "([":
            open_.append(False)
            expects_field = False
            out.append(token)
        elif token in ")]}" and token:
            if open_:
                open_.pop()
            expects_field = False
            out.append(token)
        elif token == ",":
            expects_field = bool(open_) and open_[-1]
            out.append(token)
        elif expects_field and _NAME.fullmatch(token):
            out.append(f'"{token}"')
            expects_field = False
        else:
            out.append(token)
    return "".join(out)


def _ends_a_name(text: str, at: int) -> bool:
    """Whether what was taken for a type is the end of another name."""
    return text[at - 1].isalnum() or text[at - 1] in "_."
