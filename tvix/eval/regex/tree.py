"""A pattern, taken apart.

Sets of characters are integers whose bit N says whether character N is in the set: union, overlap and complement are one operation.
`states` is how many states `std::regex` has for a part, since it refuses patterns with too many.
"""

from __future__ import annotations

from tvix.eval.annotations import final

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

ALL: Final = (1 << 256) - 1
"""Every character."""
UNBOUNDED: Final = -1
"""The `most` of `*`, `+` and `{n,}`."""


class Part:
    """A piece of a pattern."""

    def __init__(self, states: int) -> None:
        self.states = states


@final
class Characters(Part):
    """One character out of a set."""

    def __init__(self, allowed: int) -> None:
        super().__init__(1)
        self.allowed = allowed


@final
class Anchor(Part):
    """`^`, the beginning of the text, or `$`, its end."""

    def __init__(self, is_end: bool) -> None:
        super().__init__(1)
        self.is_end = is_end


@final
class Sequence(Part):
    """One after the other; without any, nothing."""

    def __init__(self, items: list[Part]) -> None:
        super().__init__(sum([item.states for item in items]) + 1)
        self.items = items


@final
class Alternatives(Part):
    """One of two or more."""

    def __init__(self, items: list[Part]) -> None:
        super().__init__(sum([item.states for item in items]) + 2 * (len(items) - 1))
        self.items = items


@final
class Group(Part):
    """What is in parentheses: `index` counts from 0."""

    def __init__(self, inner: Part, index: int) -> None:
        super().__init__(inner.states + 2)
        self.inner = inner
        self.index = index


@final
class Repeat(Part):
    """From `least` to `most` times. `after` is for `+`, which repeats after its body what others do before it."""

    def __init__(self, inner: Part, least: int, most: int, states: int, after: bool = False) -> None:
        super().__init__(states)
        self.inner = inner
        self.least = least
        self.most = most
        self.after = after


def is_nullable(part: Part) -> bool:
    """Whether a part can match nothing."""
    if isinstance(part, Characters):
        return False
    if isinstance(part, Sequence):
        return all(is_nullable(item) for item in part.items)
    if isinstance(part, Alternatives):
        return any(is_nullable(item) for item in part.items)
    if isinstance(part, Group):
        return is_nullable(part.inner)
    if isinstance(part, Repeat):
        return part.least == 0 or is_nullable(part.inner)
    return True


def first_characters(part: Part) -> int:
    """The characters that a match of a part can begin with."""
    if isinstance(part, Characters):
        return part.allowed
    if isinstance(part, Group):
        return first_characters(part.inner)
    if isinstance(part, Repeat):
        return first_characters(part.inner) if part.most else 0
    found = 0
    if isinstance(part, Alternatives):
        for item in part.items:
            found |= first_characters(item)
    elif isinstance(part, Sequence):
        for item in part.items:
            found |= first_characters(item)
            if not is_nullable(item):
                break
    return found
