"""JSON written by hand, for processes that boot machines: the standard module brings `re` with it."""

from __future__ import annotations

from _json import encode_basestring_ascii


class RawJson(str):
    """Text that is JSON already."""

    __slots__ = ()


def to_json(value: object) -> str:
    """JSON in one line, as `json` writes dict, list, tuple, str, int, float, bool and None. Anything else becomes its text."""
    if isinstance(value, RawJson):
        return str(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{encode_basestring_ascii(str(key))}:{to_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(to_json(item) for item in value) + "]"
    return encode_basestring_ascii(str(value))
