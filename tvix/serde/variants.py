"""How the dataclasses of a union are told apart in the language: by a tag."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

_MARK = "__nix_variant__"


def variant(tag: str = "", *, positional: bool = False) -> Callable[[type[T]], type[T]]:
    """A decorator of dataclasses. `tag` is what stands for the name of the class; with `positional` the fields are written without
    their names: `{ Tag = x; }` for one, `{ Tag = [ x y ]; }` for several.
    """

    def mark(kind: type[T]) -> type[T]:
        setattr(kind, _MARK, (tag or kind.__name__, positional))
        return kind

    return mark


def tag_of(kind: type[object]) -> tuple[str, bool]:
    """The tag of a variant, and whether its fields have no names. What a base class is called doesn't count."""
    marked: tuple[str, bool] = vars(kind).get(_MARK, (kind.__name__, False))
    return marked
