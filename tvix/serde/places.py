"""Where a value comes from: the attribute or list that holds it, and so on up to the root.

A place is made for every value that is decoded and only looked up where one is wrong (`spans`).
"""

from __future__ import annotations

TYPE_CHECKING = False


class Place:
    """`step` is the name of the attribute, as in the language, or the index of the element; None at the root. `position` is where
    the attribute is defined or the element's expression stands, 0 where nothing says that.
    """

    __slots__ = ("holder", "position", "step")

    def __init__(self, holder: Place | None, step: str | int | None, position: int) -> None:
        self.holder = holder
        self.step = step
        self.position = position

    def path(self) -> str:
        """As `servers[0].port`; empty for the root."""
        from tvix.eval.printer import name_text
        from tvix.serde.text import shown

        steps: list[str | int] = []
        place: Place | None = self
        while place is not None:
            if place.step is not None:
                steps.append(place.step)
            place = place.holder
        text = ""
        for step in reversed(steps):
            text += f"[{step}]" if isinstance(step, int) else f"{'.' if text else ''}{shown(name_text(step))}"
        return text


def anchor(place: Place) -> tuple[Place, list[int], int]:
    """The nearest attribute whose definition is known, or the root; which element of an element of it is meant; and the
    position of the nearest element that has one, or 0.
    """
    indexes: list[int] = []
    element = 0
    here = place
    while here.holder is not None:
        if isinstance(here.step, int):
            indexes.insert(0, here.step)
            element = element or here.position
        elif here.position:
            break
        else:
            indexes = []
        here = here.holder
    return here, indexes, element
