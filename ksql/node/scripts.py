"""Scripts read: text into pipelines of commands, loops and branches. Pure.

The grammar is the part of a POSIX shell's that is used to look around in a container. Words are kept raw;
what they stand for is known only when they are run (`shell`).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

# Commands of one script, and loops within loops: bounds for text that a client sends.
SCRIPT_COMMANDS_MAX = 1000
DEPTH_MAX = 20

_SUBSTITUTION = r"\$\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)|`[^`]*`"
_TOKEN = re.compile(
    r"[ \t]*(?:(#[^\n]*)|(\n)|(&&|\|\||;|\||>>|2>&1|2>>|2>|>&2|>|<|&|\(|\))"
    rf"|((?:{_SUBSTITUTION}|[^\s'\"\\;|&<>()`]|\\.|'[^']*'|\"(?:[^\"\\]|\\.)*\")+))",
    re.S,
)
_PIECE = re.compile(rf"('[^']*')|({_SUBSTITUTION})", re.S)
_REDIRECTIONS = (">", ">>", "<", "2>", "2>>")
# The command that does the sums of $((…)); no script can name it otherwise.
SUM = "\x01sum"
_UNKNOWN = frozenset(("case", "esac", "function", "select", "{", "}"))
_RESERVED = frozenset(("then", "else", "elif", "fi", "do", "done", "in"))


class ScriptError(ValueError):
    """The text is no script that simulated containers run."""


@dataclass(slots=True)
class Simple:
    """One command: raw words, and where its ends go."""

    words: list[str] = field(default_factory=list)
    redirections: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class For:
    name: str
    words: list[str]
    body: "list[Pipeline]"


@dataclass(slots=True)
class While:
    """`is_until` turns the condition around."""

    condition: "list[Pipeline]"
    body: "list[Pipeline]"
    is_until: bool


@dataclass(slots=True)
class If:
    branches: "list[tuple[list[Pipeline], list[Pipeline]]]"
    otherwise: "list[Pipeline]"


Part = Simple | For | While | If


@dataclass(slots=True)
class Pipeline:
    """Parts joined by |; `when` is what the one before it must have been: &&, ||, or ; for either."""

    when: str
    commands: list[Part]


def parsed(text: str) -> list[Pipeline]:
    """The script's pipelines; `ScriptError` says what cannot be read."""
    parser = _Parser(list(_tokens(text)))
    found = parser.pipelines(())
    if parser.peek() is not None:
        raise ScriptError(f'syntax error: unexpected "{parser.peek()}"')
    return found


def substitutions(word: str) -> Sequence[tuple[str, bool]]:
    """A raw word in pieces: text, or a command in $(…) or backticks whose output is meant."""
    if "$(" not in word and "`" not in word:
        return [(word, False)]
    pieces: list[tuple[str, bool]] = []
    position = 0
    for match in _PIECE.finditer(word):
        quoted, command = match.groups()
        if quoted:
            continue
        if command.startswith("$((") and command.endswith("))"):
            pieces += [(word[position : match.start()], False), (f"{SUM} '{command[3:-2]}'", True)]
            position = match.end()
            continue
        inner = command[2:-1] if command[0] == "$" else command[1:-1]
        pieces += [(word[position : match.start()], False), (inner, True)]
        position = match.end()
    return [*pieces, (word[position:], False)]


_ASSIGNED = re.compile(r"[A-Za-z_]\w*=")


def named(pipelines: Sequence[Pipeline]) -> Iterator[str]:
    """The commands that a script names; a word that only its run will tell is named as it stands."""
    for part in (part for pipeline in pipelines for part in pipeline.commands):
        match part:
            case Simple():
                words = [word for word in part.words if not _ASSIGNED.match(word)]
                if words:
                    yield words[0].strip("'\"")
                for word in part.words:
                    for text, is_command in substitutions(word):
                        if is_command:
                            yield from named(parsed(text))
            case For():
                yield from named(part.body)
            case While():
                yield from named([*part.condition, *part.body])
            case If():
                for condition, body in part.branches:
                    yield from named([*condition, *body])
                yield from named(part.otherwise)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            if text[position:].strip():
                raise ScriptError("syntax error: unterminated quoted string")
            return
        position = match.end()
        comment, newline, operator, word = match.groups()
        if newline or operator:
            yield "operator", newline or operator
        elif word is not None:
            yield "word", word
        elif comment is None:
            return


class _Parser:
    """Walks over the tokens, one rule of the grammar a method."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens, self._at, self._depth, self._count = tokens, 0, 0, 0

    def peek(self) -> str | None:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else None

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise ScriptError("syntax error: unexpected end of file")
        self._at += 1
        return self._tokens[self._at - 1]

    def _is_word(self) -> bool:
        return self._at < len(self._tokens) and self._tokens[self._at][0] == "word"

    def _expect(self, *words: str) -> str:
        kind, text = self._next()
        if kind != "word" or text not in words:
            raise ScriptError(f'syntax error: unexpected "{text}" (expecting "{words[0]}")')
        return text

    def _newlines(self) -> None:
        while self.peek() == "\n":
            self._at += 1

    def pipelines(self, ends: Sequence[str]) -> list[Pipeline]:
        """Pipelines up to one of the words in `ends`, or to the end."""
        found: list[Pipeline] = []
        when = ";"
        while True:
            self._newlines()
            if self.peek() is None or (self._is_word() and self.peek() in ends):
                if when != ";":
                    raise ScriptError("syntax error: unexpected end of file")
                return found
            found.append(Pipeline(when, self._pipeline()))
            operator = self.peek()
            if operator in ("&&", "||", ";", "\n"):
                self._at += 1
                when = ";" if operator == "\n" else operator
            elif operator is not None:
                raise ScriptError(f'syntax error: unexpected "{operator}"')
            else:
                when = ";"

    def _pipeline(self) -> list[Part]:
        parts = [self._part()]
        while self.peek() == "|":
            self._at += 1
            self._newlines()
            parts.append(self._part())
        return parts

    def _part(self) -> Part:
        self._count += 1
        if self._count > SCRIPT_COMMANDS_MAX:
            raise ScriptError("syntax error: too many commands")
        word = self.peek() if self._is_word() else None
        if word in _UNKNOWN or word in _RESERVED:
            raise ScriptError(f'syntax error: "{word}" is not known to simulated containers here')
        if word not in ("for", "while", "until", "if"):
            return self._simple()
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise ScriptError("syntax error: too deep")
        self._at += 1
        part = self._for() if word == "for" else self._if() if word == "if" else self._while(word == "until")
        self._depth -= 1
        return part

    def _for(self) -> For:
        _, name = self._next()
        if not name.isidentifier():
            raise ScriptError(f'syntax error: bad for loop variable "{name}"')
        self._expect("in")
        words = []
        while self._is_word():
            words.append(self._next()[1])
        if self._next()[1] not in (";", "\n"):
            raise ScriptError('syntax error: expecting "do"')
        self._newlines()
        self._expect("do")
        body = self.pipelines(("done",))
        self._expect("done")
        return For(name, words, body)

    def _while(self, is_until: bool) -> While:
        condition = self.pipelines(("do",))
        self._expect("do")
        body = self.pipelines(("done",))
        self._expect("done")
        return While(condition, body, is_until)

    def _if(self) -> If:
        branches = []
        word = "if"
        while word in ("if", "elif"):
            condition = self.pipelines(("then",))
            self._expect("then")
            branches.append((condition, self.pipelines(("elif", "else", "fi"))))
            word = self._expect("fi", "elif", "else")
        otherwise: list[Pipeline] = []
        if word == "else":
            otherwise = self.pipelines(("fi",))
            self._expect("fi")
        return If(branches, otherwise)

    def _simple(self) -> Simple:
        found = Simple()
        while (token := self.peek()) is not None:
            if self._is_word():
                found.words.append(self._next()[1])
            elif token in ("2>&1", ">&2"):
                found.redirections.append((self._next()[1], ""))
            elif token in _REDIRECTIONS:
                self._at += 1
                if not self._is_word():
                    raise ScriptError("syntax error: unexpected redirection")
                found.redirections.append((token, self._next()[1]))
            else:
                break
        if not found.words and not found.redirections:
            raise ScriptError(f'syntax error: unexpected "{self.peek() or "end of file"}"')
        return found
