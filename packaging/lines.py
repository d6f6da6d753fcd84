"""Compiled code without its line numbers: they are an eighth of a small tree, since nothing compresses them."""

from __future__ import annotations

import marshal
from types import CodeType

_PYC_HEADER_BYTES = 16
_UNITS = 8
"""Instructions that one entry of the table can cover."""
_NOWHERE = 0xF8
"""An entry without a place; the instructions it covers, less one, are in the lowest bits. See Objects/locations.md of CPython."""


def without_lines(code: CodeType) -> CodeType:
    """The same code, which says of an error in which function and file it was, and no more."""
    units = len(code.co_code) // 2
    table = bytes([_NOWHERE | (_UNITS - 1)]) * (units // _UNITS)
    if units % _UNITS:
        table += bytes([_NOWHERE | (units % _UNITS - 1)])
    constants = tuple(without_lines(each) if isinstance(each, CodeType) else each for each in code.co_consts)
    return code.replace(co_linetable=table, co_consts=constants)


def pyc_without_lines(content: bytes) -> bytes:
    """The same for the contents of a .pyc file."""
    return content[:_PYC_HEADER_BYTES] + marshal.dumps(without_lines(marshal.loads(content[_PYC_HEADER_BYTES:])))  # noqa: S302
