"""Strawberry's decorators with types: a field and a subscription keep the signature of their resolver."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import strawberry

F = TypeVar("F", bound=Callable[..., Any])


def resolved(description: str, name: str | None = None) -> Callable[[F], F]:
    """A field answered by the method below; every field of the schema says what it is."""
    return cast(Callable[[F], F], strawberry.field(description=description, name=name))


def followed(description: str) -> Callable[[F], F]:
    """A subscription answered by the async generator below."""
    return cast(Callable[[F], F], strawberry.subscription(description=description))


def changing(description: str) -> Callable[[F], F]:
    """A mutation done by the method below."""
    return cast(Callable[[F], F], strawberry.mutation(description=description))


def about(text: str, name: str | None = None) -> object:
    """What an argument means, for use in `Annotated`."""
    return strawberry.argument(description=text, name=name)
