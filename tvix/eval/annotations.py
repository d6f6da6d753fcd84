"""`final`, `acyclic` and `i64` for modules that are compiled, without importing `typing` or `mypy_extensions` at run time.

mypy and mypyc see the real ones; uncompiled code gets decorators that change nothing. `acyclic` objects carry no header of the
garbage collector, which saves 16 bytes and the tracking of each: cycles of them are only freed with the process (docs/adr/0023).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import final as final  # noqa: PLC0414  # exported under this name

    from mypy_extensions import i64 as i64  # noqa: PLC0414
    from mypy_extensions import mypyc_attr as mypyc_attr  # noqa: PLC0414
else:

    def final(kind):  # noqa: ANN001, ANN201
        """Leave a class as it is."""
        return kind

    def mypyc_attr(**_attributes):  # noqa: ANN003, ANN201
        """Leave a class as it is."""
        return final
