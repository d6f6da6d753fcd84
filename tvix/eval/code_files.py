"""Resolved code that is kept between runs; see `Evaluator`. The store of it is `code_pack`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from tvix.eval.code import Code

    class CodeFiles(Protocol):
        """Code by the contents of the file that it was made of, and by `circumstances`: text that says what else it depends on,
        such as the builtins there are.
        """

        def get(self, circumstances: str, contents: bytes) -> Code | None:
            """The code, if it is kept."""

        def put(self, circumstances: str, contents: bytes, code: Code) -> None:
            """Keep it, if that is possible; what fails is left out."""
