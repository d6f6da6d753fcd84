"""Hashes of strings and files, and their forms."""

from __future__ import annotations

from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.builtins.arguments import attribute, plain_text, set_of, text
from tvix.eval.builtins.files import Files
from tvix.eval.errors import EvalError
from tvix.eval.functions import Primitive
from tvix.eval.hash_texts import hash_of_text, known_algorithm, printed_hash

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tvix.eval.evaluator import Evaluator
    from tvix.eval.values import Value


@final
@mypyc_attr(acyclic=True)
class HashString(Primitive):
    """`hashString algorithm text`, in base 16."""

    def call2(self, first: Value, second: Value) -> Value:
        algorithm = known_algorithm(plain_text(first, "while evaluating the first argument passed to builtins.hashString"))
        hashed = text(second, "while evaluating the second argument passed to builtins.hashString")
        return _digest(algorithm, hashed.encode("latin-1"))


@final
@mypyc_attr(acyclic=True)
class HashFile(Primitive):
    """`hashFile algorithm path`, in base 16."""

    def __init__(self, evaluator: Evaluator) -> None:
        super().__init__("hashFile", 2)
        self.evaluator: Any = evaluator

    def call2(self, first: Value, second: Value) -> Value:
        algorithm = known_algorithm(plain_text(first, "while evaluating the first argument passed to builtins.hashFile"))
        path = Files(self.evaluator).there(second)
        contents: bytes = self.evaluator.io.read(path)
        return _digest(algorithm, contents)


@final
@mypyc_attr(acyclic=True)
class ConvertHash(Primitive):
    """`convertHash { hash, hashAlgo, toHashFormat }`: the same hash in another form."""

    def __init__(self, evaluator: Evaluator) -> None:
        super().__init__("convertHash", 1)
        self.evaluator: Any = evaluator

    def call1(self, first: Value) -> Value:
        given = set_of(first, "while evaluating the first argument passed to builtins.convertHash")
        hash_text = _attribute_text(given, "hash")
        algorithm = known_algorithm(_attribute_text(given, "hashAlgo")) if "hashAlgo" in given else ""
        form = _attribute_text(given, "toHashFormat")
        if form == "base32":
            self.evaluator.settings.log('warning: "base32" is a deprecated alias for hash format "nix32".')
            form = "nix32"
        if form not in {"base16", "nix32", "base64", "sri"}:
            raise EvalError(f"unknown hash format '{form}', expect 'base16', 'base32', 'base64', or 'sri'")
        return printed_hash(*hash_of_text(hash_text, algorithm), form)


def _attribute_text(attributes: dict[str, Any], name: str) -> str:
    value: Value = attribute(attributes, name, f"while locating the attribute '{name}'")
    return plain_text(value, f"while evaluating the attribute '{name}'")


def _digest(algorithm: str, contents: bytes) -> str:
    import hashlib

    return hashlib.new(algorithm, contents, usedforsecurity=False).hexdigest()


def primitives(evaluator: Evaluator) -> list[Primitive]:
    """The builtins of this theme."""
    return [HashString("hashString", 2), HashFile(evaluator), ConvertHash(evaluator)]
