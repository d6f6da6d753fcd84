"""What a type of the schema is made into, once: a shape, which decodes, encodes, and describes itself."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final, Protocol

    from tvix.eval.values import Value
    from tvix.serde.decoding import Decoding
    from tvix.serde.places import Place

    class Defined(Protocol):
        """A shape that may contain itself: others refer to its definition."""

        python: type[object]

        def definition(self, reference: Callable[[Defined], dict[str, object]]) -> dict[str, object]:
            """As JSON Schema."""

    class Shape(Protocol):
        """One type of the schema."""

        kinds: frozenset[str]
        """The kinds of values that it is for: null, bool, int, float, string, path, list, set. Members of a union share none."""
        also: frozenset[str]
        """What it takes too, where no other member of a union is for it."""

        def expected(self) -> str:
            """What it takes, with an article, as in "expected a string"."""

        def decode(self, value: Value, place: Place, decoding: Decoding) -> object:
            """From a value in weak head normal form; `FAILED` where `decoding` was told of a problem."""

        def encode(self, value: object, where: str) -> Value:
            """To a value without thunks. Raises `NotDumpable`, which names `where`."""

        def json(self, reference: Callable[[Defined], dict[str, object]]) -> dict[str, object]:
            """As JSON Schema; `reference` takes a shape that is defined elsewhere and answers with what refers to it."""

        def inside(self) -> Iterator[tuple[str, Shape]]:
            """The shapes of what it holds, and how the path goes on to them."""


class Failed:
    """The type of `FAILED`."""


FAILED: Final = Failed()
"""Stands for what couldn't be decoded."""
NOTHING: Final[frozenset[str]] = frozenset()


def one_of(texts: list[str]) -> str:
    """As in "a, b or c"."""
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} or {texts[-1]}"
