"""`overload` without importing `typing` at run time, which would be half of what importing this package costs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import overload as overload  # noqa: PLC0414  # exported under this name
else:

    def overload(function):  # noqa: ANN001, ANN201
        """Leave a function as it is; the last definition is the one that counts."""
        return function
