"""A pattern as Python's `re` understands it."""

from __future__ import annotations

from tvix.eval.regex.tree import UNBOUNDED, Alternatives, Anchor, Characters, Group, Part, Repeat, Sequence


def translated(part: Part) -> str:
    """The same pattern, every character spelt as an escape."""
    if isinstance(part, Characters):
        return _characters(part.allowed)
    if isinstance(part, Anchor):
        return "\\Z" if part.is_end else "\\A"
    if isinstance(part, Sequence):
        return "".join([translated(item) for item in part.items])
    if isinstance(part, Alternatives):
        return "(?:" + "|".join([translated(item) for item in part.items]) + ")"
    if isinstance(part, Group):
        return "(" + translated(part.inner) + ")"
    assert isinstance(part, Repeat)
    return f"(?:{translated(part.inner)})" + _quantifier(part.least, part.most)


def _quantifier(least: int, most: int) -> str:
    if most == UNBOUNDED:
        return "*" if least == 0 else "+" if least == 1 else f"{{{least},}}"
    return "?" if (least, most) == (0, 1) else f"{{{least},{most}}}"


def _characters(allowed: int) -> str:
    ranges: list[str] = []
    first = 0
    while first < 256:
        if allowed >> first & 1:
            last = first
            while last < 255 and allowed >> (last + 1) & 1:
                last += 1
            ranges.append(f"\\x{first:02x}" if first == last else f"\\x{first:02x}-\\x{last:02x}")
            first = last
        first += 1
    if not ranges:
        return "(?!)"
    return ranges[0] if len(ranges) == 1 and "-" not in ranges[0] else "[" + "".join(ranges) + "]"
