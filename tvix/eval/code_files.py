"""Resolved code that is kept between runs; see `Evaluator`. The store of it is `code_pack`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from tvix.eval.code import Code

    class CodeFiles(Protocol):
        """Code by the contents of the file that it was made of."""

        def get(self, contents: bytes) -> Code | None:
            """The code, if it is kept."""

        def put(self, contents: bytes, code: Code) -> None:
            """Keep it, if that is possible; what fails is left out."""
