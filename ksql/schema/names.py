"""What may be called what: the syntaxes of names, label keys and values, ports and paths, with their words.

Each function takes a text and answers the complaints about it, as kube-apiserver words them; no complaint
is the empty tuple. Texts repeat endlessly in a cluster, so the answers are remembered.
"""

import re
from functools import lru_cache

# Distinct texts whose verdict is remembered per syntax; labels and names of a large cluster come and go
# within this, and an entry costs about 200 bytes.
REMEMBERED_MAX = 8192

LABEL_LENGTH_MAX = 63
SUBDOMAIN_LENGTH_MAX = 253
PORT_NAME_LENGTH_MAX = 15

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"

_HEADER = "[-A-Za-z0-9]+"
_UNDERSCORED = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SEARCHED = rf"{_UNDERSCORED}(\.{_UNDERSCORED})*"

_HEADER_WORDS = "a valid HTTP header must consist of alphanumeric characters or '-'"
_LABEL_WORDS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character"
)
_SUBDOMAIN_WORDS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
_WILDCARD_WORDS = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist "
    "of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character"
)
_LABEL_1035_WORDS = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
    "character, and end with an alphanumeric character"
)
_QUALIFIED_WORDS = (
    "must consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)
_LABEL_VALUE_WORDS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)
_CONFIG_KEY_WORDS = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"

NON_EMPTY = "must be non-empty"

Complaints = tuple[str, ...]


def too_long_words(limit: int, unit: str = "characters") -> str:
    """Kubernetes counts bytes everywhere, but calls them so only where labels are concerned."""
    return f"must be no more than {limit} {unit}"


def _mismatch(words: str, expression: str, *examples: str) -> str:
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{words} (e.g. {shown}regex used for validation is '{expression}')"


def _matches(expression: str, text: str) -> bool:
    return re.fullmatch(expression, text) is not None


@lru_cache(maxsize=REMEMBERED_MAX)
def label_name(text: str) -> Complaints:
    """A DNS label (RFC 1123): namespaces, container names."""
    complaints = _sized(text, LABEL_LENGTH_MAX)
    if _matches(_LABEL, text):
        return complaints
    if _matches(_SUBDOMAIN, text):
        return (*complaints, "must not contain dots")
    return (*complaints, _mismatch(_LABEL_WORDS, _LABEL, "my-name", "123-abc"))


@lru_cache(maxsize=REMEMBERED_MAX)
def label_name_1035(text: str) -> Complaints:
    """A DNS label that starts with a letter (RFC 1035): services."""
    return _sized(text, LABEL_LENGTH_MAX) + (
        ()
        if _matches(_LABEL_1035, text)
        else (_mismatch(_LABEL_1035_WORDS, _LABEL_1035, "my-name", "abc-123"),)
    )


@lru_cache(maxsize=REMEMBERED_MAX)
def subdomain(text: str) -> Complaints:
    """A DNS subdomain (RFC 1123): most objects."""
    return _sized(text, SUBDOMAIN_LENGTH_MAX) + (
        () if _matches(_SUBDOMAIN, text) else (_mismatch(_SUBDOMAIN_WORDS, _SUBDOMAIN, "example.com"),)
    )


@lru_cache(maxsize=REMEMBERED_MAX)
def wildcard_subdomain(text: str) -> Complaints:
    """All names directly below a DNS subdomain."""
    expression = rf"\*\.{_SUBDOMAIN}"
    return _sized(text, SUBDOMAIN_LENGTH_MAX) + (
        () if _matches(expression, text) else (_mismatch(_WILDCARD_WORDS, expression, "*.example.com"),)
    )


def _prefix_complaints(prefix: str) -> Complaints:
    mismatch = () if _matches(_SUBDOMAIN, prefix) else (_mismatch(_SUBDOMAIN_WORDS, _SUBDOMAIN, "example.com"),)
    return _sized(prefix, SUBDOMAIN_LENGTH_MAX, "bytes") + mismatch


@lru_cache(maxsize=REMEMBERED_MAX)
def qualified(text: str) -> Complaints:
    """[prefix/]name: label keys, annotation keys, finalizers, extended resources."""
    parts = text.split("/")
    examples = ("MyName", "my.name", "123-abc")
    if len(parts) > 2:
        return (
            "a valid label key "
            + _mismatch(_QUALIFIED_WORDS, _QUALIFIED, *examples)
            + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
        )
    complaints: Complaints = ()
    if len(parts) == 2:
        prefix = parts[0]
        complaints += (
            (f"prefix part {NON_EMPTY}",)
            if not prefix
            else tuple(f"prefix part {complaint}" for complaint in _prefix_complaints(prefix))
        )
    name = parts[-1]
    if not name:
        complaints += (f"name part {NON_EMPTY}",)
    elif len(name) > LABEL_LENGTH_MAX:
        complaints += (f"name part {too_long_words(LABEL_LENGTH_MAX, 'bytes')}",)
    if not _matches(_QUALIFIED, name):
        complaints += (f"name part {_mismatch(_QUALIFIED_WORDS, _QUALIFIED, *examples)}",)
    return complaints


@lru_cache(maxsize=REMEMBERED_MAX)
def label_value(text: str) -> Complaints:
    return _sized(text, LABEL_LENGTH_MAX, "bytes") + (
        ()
        if _matches(_LABEL_VALUE, text)
        else (_mismatch(_LABEL_VALUE_WORDS, _LABEL_VALUE, "MyValue", "my_value", "12345"),)
    )


@lru_cache(maxsize=REMEMBERED_MAX)
def path_segment(text: str) -> Complaints:
    """Whatever can stand between two slashes: RBAC names."""
    if text in (".", ".."):
        return (f"may not be '{text}'",)
    return tuple(f"may not contain '{character}'" for character in "/%" if character in text)


@lru_cache(maxsize=REMEMBERED_MAX)
def config_key(text: str) -> Complaints:
    """Keys of config maps and secrets, which become file names."""
    complaints = _sized(text, SUBDOMAIN_LENGTH_MAX)
    if not _matches(_CONFIG_KEY, text):
        complaints += (_mismatch(_CONFIG_KEY_WORDS, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"),)
    if text in (".", ".."):
        complaints += (f"must not be '{text}'",)
    elif text.startswith(".."):
        complaints += ("must not start with '..'",)
    return complaints


@lru_cache(maxsize=REMEMBERED_MAX)
def port_name(text: str) -> Complaints:
    """An IANA service name."""
    complaints = _sized(text, PORT_NAME_LENGTH_MAX)
    if not _matches("[-a-z0-9]+", text):
        complaints += ("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",)
    if not re.search("[a-z]", text):
        complaints += ("must contain at least one letter (a-z)",)
    if "--" in text:
        complaints += ("must not contain consecutive hyphens",)
    if text and (text[0] == "-" or text[-1] == "-"):
        complaints += ("must not begin or end with a hyphen",)
    return complaints


@lru_cache(maxsize=REMEMBERED_MAX)
def variable_name(text: str) -> Complaints:
    """An environment variable: printable ASCII without '=' (since 1.32)."""
    if not text:
        return (f"environment variable name {NON_EMPTY}",)
    if _matches("[ -<>-~]+", text):
        return ()
    return (
        "a valid environment variable name must consist only of printable ASCII characters other than '='",
    )


@lru_cache(maxsize=REMEMBERED_MAX)
def header_name(text: str) -> Complaints:
    """The name of an HTTP header."""
    return () if _matches(_HEADER, text) else (_mismatch(_HEADER_WORDS, _HEADER, "X-Header-Name"),)


@lru_cache(maxsize=REMEMBERED_MAX)
def search_domain(text: str) -> Complaints:
    """A DNS subdomain whose labels may begin with and hold underscores."""
    return _sized(text, SUBDOMAIN_LENGTH_MAX) + (
        () if _matches(_SEARCHED, text) else (_mismatch(_SUBDOMAIN_WORDS, _SEARCHED, "example.com"),)
    )


def _sized(text: str, limit: int, unit: str = "characters") -> Complaints:
    return (too_long_words(limit, unit),) if len(text) > limit else ()


def masked(prefix: str) -> str:
    """A generateName as if a name: its trailing dash will be followed by a suffix."""
    return prefix[:-2] + "a" if len(prefix) > 1 and prefix.endswith("-") else prefix
