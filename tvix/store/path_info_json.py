"""Path infos as `nix path-info --json` prints them: written in the shape of Nix 2.26, read in that and in the shape of 2.8.

2.26 prints one object keyed by store path, 2.8 an array of objects with a `path` each. Hashes are written as SRI, read in any form.
https://nix.dev/manual/nix/2.26/protocols/json/store-object-info
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from tvix.castore.nodes import Node
from tvix.errors import EX_DATAERR, TvixError
from tvix.nix_compat.content_address import ContentAddress, parse_content_address
from tvix.nix_compat.hashes import Hash, parse_hash
from tvix.nix_compat.signatures import Signature, parse_signature
from tvix.nix_compat.store_path import StorePath, parse_store_path
from tvix.store.path_info import PathInfo

_INTEGER_MAX = (1 << 63) - 1


class InvalidPathInfoJson(TvixError):
    """A text that should be what `nix path-info --json` prints, and isn't."""

    identifier = "store.invalid-path-info-json"
    message = "{where} is not what `nix path-info --json` prints: {reason}"
    hint = "make it with `nix path-info -r --json PATH` of Nix 2.8 or 2.26"
    exit_code = EX_DATAERR


class ToldPathInfo(NamedTuple):
    """What such a text tells of a path: everything but the contents, and nothing of it checked against them."""

    path: StorePath
    nar_size: int
    nar_sha256: bytes
    references: tuple[StorePath, ...]
    signatures: tuple[Signature, ...]
    deriver: StorePath | None
    content_address: ContentAddress | None
    registration_time: int | None

    def with_node(self, node: Node) -> PathInfo:
        """The path info of a tree of which all this is said."""
        return PathInfo(
            path=self.path,
            node=node,
            nar_size=self.nar_size,
            nar_sha256=self.nar_sha256,
            references=self.references,
            signatures=self.signatures,
            deriver=self.deriver,
            content_address=self.content_address,
            registration_time=self.registration_time,
        )


def path_info_object(info: PathInfo) -> dict[str, object]:
    """The value that Nix 2.26 prints under the path. `ultimate` says that a store built it itself, which is never claimed here."""
    return {
        "ca": None if info.content_address is None else str(info.content_address),
        "deriver": None if info.deriver is None else str(info.deriver),
        "narHash": Hash("sha256", info.nar_sha256).print("sri"),
        "narSize": info.nar_size,
        "references": [str(reference) for reference in info.references],
        "registrationTime": info.registration_time,
        "signatures": [str(signature) for signature in info.signatures],
        "ultimate": False,
    }


def path_infos_object(infos: Iterable[PathInfo]) -> dict[str, object]:
    """The whole answer: an object keyed by store path, ascending."""
    return {str(info.path): path_info_object(info) for info in sorted(infos, key=lambda info: info.path)}


def parse_path_infos(text: str | bytes, where: str) -> list[ToldPathInfo]:
    """Read either shape; `where` names the text in errors. Raises `InvalidPathInfoJson`, also for a path that comes twice."""
    try:
        document = json.loads(text, object_pairs_hook=lambda pairs: _object(pairs, where))
    except (ValueError, RecursionError) as error:
        raise InvalidPathInfoJson(where=where, reason=str(error)) from None
    if isinstance(document, dict):
        told = [_read(path, value, where) for path, value in document.items()]
    elif isinstance(document, list):
        told = [_read(value.get("path") if isinstance(value, dict) else None, value, where) for value in document]
    else:
        raise InvalidPathInfoJson(where=where, reason="it is neither an object nor an array")
    if len({one.path for one in told}) != len(told):
        raise InvalidPathInfoJson(where=where, reason="a path comes twice")
    return told


def _object(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidPathInfoJson(where=where, reason="a key comes twice in one object")
    return found


def _read(path: object, value: object, where: str) -> ToldPathInfo:
    if not isinstance(path, str):
        raise InvalidPathInfoJson(where=where, reason="an element has no path")
    if value is None or (isinstance(value, dict) and value.get("valid") is False):
        raise InvalidPathInfoJson(where=where, reason=f"{path} is not valid in the store that printed it")
    if not isinstance(value, dict):
        raise InvalidPathInfoJson(where=where, reason=f"{path} stands for something that isn't an object")
    try:
        deriver = _text(value, "deriver")
        content_address = _text(value, "ca")
        return ToldPathInfo(
            path=parse_store_path(path),
            nar_size=_size(value.get("narSize")),
            nar_sha256=_nar_sha256(_text(value, "narHash")),
            references=tuple(sorted({parse_store_path(reference) for reference in _texts(value, "references")})),
            signatures=tuple(dict.fromkeys(parse_signature(signature) for signature in _texts(value, "signatures"))),
            deriver=None if deriver is None else parse_store_path(deriver),
            content_address=None if content_address is None else parse_content_address(content_address),
            registration_time=_optional_integer(value, "registrationTime"),
        )
    except (TvixError, ValueError) as error:
        raise InvalidPathInfoJson(where=where, reason=f"of {path}: {error}") from None


def _text(value: dict[str, Any], key: str) -> str | None:
    text = value.get(key)
    if text is None or isinstance(text, str):
        return text or None
    raise ValueError(f"{key} is not a text")


def _texts(value: dict[str, Any], key: str) -> list[str]:
    texts = value.get(key)
    if texts is None:
        return []
    if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
        return texts
    raise ValueError(f"{key} is not an array of texts")


def _size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _INTEGER_MAX:
        return value
    raise ValueError("narSize is not a size")


def _optional_integer(value: dict[str, Any], key: str) -> int | None:
    number = value.get(key)
    if number is None or (isinstance(number, int) and not isinstance(number, bool)):
        return number
    raise ValueError(f"{key} is not a number")


def _nar_sha256(text: str | None) -> bytes:
    if text is None:
        raise ValueError("narHash is missing")
    parsed = parse_hash(text)
    if parsed.algorithm != "sha256":
        raise ValueError(f"narHash is by {parsed.algorithm}, not by sha256")
    return parsed.digest
