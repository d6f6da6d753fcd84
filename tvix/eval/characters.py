"""Which characters may stand in names, paths and URIs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.eval.annotations import i64


def in_path(c: i64) -> bool:
    """Letters, digits, and `.`, `_`, `-`, `+`."""
    return 97 <= c <= 122 or (45 <= c <= 57 and c != 47) or 65 <= c <= 90 or c == 95 or c == 43


def in_name(c: i64) -> bool:
    """Letters, digits, and `_`, `'`, `-`: what may follow the first character of a name."""
    return 97 <= c <= 122 or 65 <= c <= 90 or 48 <= c <= 57 or c == 45 or c == 95 or c == 39


def in_uri(c: i64) -> bool:
    """Letters, digits, and ``%/?:@&=+$,-_.!~*'``: what may follow the colon of a URI."""
    return 97 <= c <= 122 or 63 <= c <= 90 or 42 <= c <= 58 or c == 61 or c == 95 or 36 <= c <= 39 or c == 33 or c == 126
