"""Where JSON breaks, in the words of Go's decoder: clients and suites compare them. Pure.

Only a body that orjson refused comes here, so clarity beats speed; what orjson refuses and Go would take
(a number beyond 64 bits, a lone surrogate) is answered in words of our own.
"""

from dataclasses import dataclass

_SPACE = b" \t\r\n"
_LITERALS = {0x74: b"true", 0x66: b"false", 0x6E: b"null"}
_ESCAPES = b'bfnrt\\/"'
_HEX = b"0123456789abcdefABCDEF"
_DIGITS = b"0123456789"

_QUOTE, _COMMA, _COLON, _MINUS, _OBJECT = b'",:-{'
_OPENINGS = b"{["
# Marks an object or array that has no element yet.
_FRESH = 0x100

# Go's decoder stops here as well.
DEPTH_MAX = 10_000


class _Fault(Exception):
    """What is wrong, as Go says it."""


def fault(data: bytes) -> str:
    """Go's message for the first error in `data`, or a general one where Go would find none."""
    scanner = _Scanner(data)
    try:
        scanner.document()
    except _Fault as found:
        return str(found)
    return "the text is no JSON that can be represented (a number beyond 64 bits or a broken character)"


@dataclass(slots=True)
class _Scanner:
    data: bytes
    at: int = 0

    def document(self) -> None:
        """One value and nothing after it. A stack of our own: depth is the sender's choice."""
        stack: list[int] = []
        self._value(stack)
        while stack:
            self._go_on(stack)
        if self._peek() is not None:
            self._complain("after top-level value")

    def _peek(self) -> int | None:
        """The next character that is no space."""
        while self.at < len(self.data) and self.data[self.at] in _SPACE:
            self.at += 1
        return self.data[self.at] if self.at < len(self.data) else None

    def _value(self, stack: list[int]) -> None:
        """Read a scalar whole; of an object or array only its opening, which goes on the stack."""
        found = self._peek()
        if found is not None and found in _OPENINGS:
            if len(stack) >= DEPTH_MAX:
                raise _Fault("exceeded max depth")
            self.at += 1
            stack.append(found | _FRESH)
        elif found == _QUOTE:
            self._string()
        elif found is not None and found in _LITERALS:
            self._literal(_LITERALS[found])
        elif found is not None and (found == _MINUS or found in _DIGITS):
            self._number()
        else:
            self._complain("looking for beginning of value")

    def _go_on(self, stack: list[int]) -> None:
        """The next step inside the innermost object or array: its end, or one more element."""
        state = stack[-1]
        kind, is_fresh = state & ~_FRESH, state & _FRESH
        found = self._peek()
        # In ASCII a closing bracket stands two after its opening.
        if found == kind + 2:
            self.at += 1
            stack.pop()
            return
        if not is_fresh:
            if found != _COMMA:
                self._complain("after object key:value pair" if kind == _OBJECT else "after array element")
            self.at += 1
        stack[-1] = kind
        if kind == _OBJECT:
            self._key()
        self._value(stack)

    def _key(self) -> None:
        if self._peek() != _QUOTE:
            self._complain("looking for beginning of object key string")
        self._string()
        if self._peek() != _COLON:
            self._complain("after object key")
        self.at += 1

    def _string(self) -> None:
        self.at += 1
        while True:
            found = self._here()
            if found == _QUOTE:
                self.at += 1
                return
            if found == 0x5C:
                self.at += 1
                self._escape()
            elif found < 0x20:
                self._complain("in string literal")
            else:
                self.at += 1

    def _escape(self) -> None:
        found = self._here()
        self.at += 1
        if found == 0x75:
            for _ in range(4):
                if self._here() not in _HEX:
                    self._complain("in \\u hexadecimal character escape")
                self.at += 1
        elif found not in _ESCAPES:
            self.at -= 1
            self._complain("in string escape code")

    def _literal(self, word: bytes) -> None:
        for expected in word[1:]:
            self.at += 1
            if self._here() != expected:
                self._complain(f"in literal {word.decode()} (expecting {_quoted(expected)})")
        self.at += 1

    def _number(self) -> None:
        if self.data[self.at] == _MINUS:
            self.at += 1
            if self._here() not in _DIGITS:
                self._complain("in numeric literal")
        if self.data[self.at] == 0x30:
            self.at += 1
        else:
            self._digits()
        if self._is(b"."):
            self.at += 1
            if self._here() not in _DIGITS:
                self._complain("after decimal point in numeric literal")
            self._digits()
        if self._is(b"eE"):
            self.at += 1
            if self._here() in b"+-":
                self.at += 1
            if self._here() not in _DIGITS:
                self._complain("in exponent of numeric literal")
            self._digits()

    def _digits(self) -> None:
        while self._is(_DIGITS):
            self.at += 1

    def _is(self, characters: bytes) -> bool:
        return self.at < len(self.data) and self.data[self.at] in characters

    def _here(self) -> int:
        """The character here, spaces too."""
        if self.at >= len(self.data):
            raise _Fault("unexpected end of JSON input")
        return self.data[self.at]

    def _complain(self, context: str) -> None:
        raise _Fault(f"invalid character {_quoted(self._here())} {context}")


def _quoted(character: int) -> str:
    """A byte as Go quotes a character; it looks at bytes here, not at what they spell."""
    special = {
        0x27: r"'\''", 0x22: "'\"'", 0x5C: r"'\\'", 0x0A: r"'\n'", 0x0D: r"'\r'", 0x09: r"'\t'",
    }  # fmt: skip
    if character in special:
        return special[character]
    if character < 0x20 or character == 0x7F:
        return f"'\\x{character:02x}'"
    shown = chr(character)
    return f"'{shown}'" if shown.isprintable() else f"'\\u{character:04x}'"
