"""narinfo: what a binary cache says of one store path, as lines of `Key: value`.

The reader takes the lines in any order, refuses what comes twice or is missing, and keeps the lines that it doesn't know, so that
nothing is lost when a file is read and printed again. The printer writes the lines in the order in which stock Nix does. The format
has no specification but the files of Nix's caches, such as https://cache.nixos.org
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from tvix.errors import EX_DATAERR, TvixError
from tvix.nix_compat.content_address import ContentAddress, parse_content_address
from tvix.nix_compat.hashes import Hash, parse_hash
from tvix.nix_compat.signatures import Signature, fingerprint, parse_signature
from tvix.nix_compat.store_path import StorePath, parse_basename, parse_store_path

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_SIZE_MAX = (1 << 64) - 1
# Stock Nix writes this where it doesn't know a deriver.
_NO_DERIVER = "unknown-deriver"
_KNOWN = (
    "StorePath",
    "URL",
    "Compression",
    "FileHash",
    "FileSize",
    "NarHash",
    "NarSize",
    "References",
    "Deriver",
    "Sig",
    "CA",
)


class InvalidNarInfo(TvixError):
    """A text that should be a narinfo and isn't. `origin` is where it came from, as the caller knows it."""

    identifier = "nix-compat.invalid-narinfo"
    message = "{origin} is not a narinfo: {reason}"
    hint = "the cache is damaged, or what answered is not a binary cache"
    exit_code = EX_DATAERR


@dataclass(frozen=True, slots=True, kw_only=True)
class NarInfo:
    """One narinfo. Sizes are in bytes; `url` is relative to the cache's root, or absolute; `nar_hash` is a SHA-256.

    `file_hash` and `file_size` are of the compressed file. `references` are in the order of the text, which ascends where Nix
    wrote it. `unknown` holds the other lines, key and value.
    """

    path: StorePath
    url: str
    nar_hash: Hash
    nar_size: int
    compression: str = "bzip2"  # what the absence of the line means
    file_hash: Hash | None = None
    file_size: int | None = None
    references: tuple[StorePath, ...] = ()
    deriver: StorePath | None = None
    signatures: tuple[Signature, ...] = ()
    content_address: ContentAddress | None = None
    unknown: tuple[tuple[str, str], ...] = ()

    def fingerprint(self) -> bytes:
        """What the signatures are of."""
        return fingerprint(self.path, self.nar_hash.digest, self.nar_size, self.references)

    def __str__(self) -> str:
        lines = [("StorePath", str(self.path)), ("URL", self.url), ("Compression", self.compression)]
        if self.file_hash is not None:
            lines.append(("FileHash", str(self.file_hash)))
        if self.file_size is not None:
            lines.append(("FileSize", str(self.file_size)))
        lines += [("NarHash", str(self.nar_hash)), ("NarSize", str(self.nar_size))]
        lines.append(("References", " ".join(path.basename for path in self.references)))
        if self.deriver is not None:
            lines.append(("Deriver", self.deriver.basename))
        lines += [("Sig", str(signature)) for signature in self.signatures]
        if self.content_address is not None:
            lines.append(("CA", str(self.content_address)))
        return "".join(f"{key}: {value}\n" for key, value in [*lines, *self.unknown])


def parse_narinfo(text: str | bytes, origin: str) -> NarInfo:
    """Read one narinfo. Raises `InvalidNarInfo`, which names `origin` and the line."""
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            raise InvalidNarInfo(origin=origin, reason=f"byte {error.start} is not UTF-8") from None
    fields = _Fields(text, origin)
    deriver = fields.optional("Deriver", lambda value: None if value == _NO_DERIVER else parse_basename(value))
    return NarInfo(
        path=fields.required("StorePath", parse_store_path),
        url=fields.required("URL", _not_empty),
        nar_hash=fields.required("NarHash", lambda value: parse_hash(value, "sha256")),
        nar_size=fields.required("NarSize", _nar_size),
        compression=fields.optional("Compression", _not_empty) or "bzip2",
        file_hash=fields.optional("FileHash", parse_hash),
        file_size=fields.optional("FileSize", _size),
        references=fields.optional("References", _references) or (),
        deriver=deriver,
        signatures=fields.signatures(),
        content_address=fields.optional("CA", parse_content_address),
        unknown=tuple(fields.unknown),
    )


class _Fields:
    """The lines of a narinfo by key, each with its number for errors."""

    def __init__(self, text: str, origin: str) -> None:
        self._origin = origin
        self._known: dict[str, tuple[int, str]] = {}
        self._signatures: list[tuple[int, str]] = []
        self.unknown: list[tuple[str, str]] = []
        *lines, rest = text.split("\n")
        if rest:
            raise self._error(len(lines) + 1, "it ends inside a line")
        for number, line in enumerate(lines, 1):
            key, colon, value = line.partition(": ")
            if not colon and line.endswith(":"):
                key, colon = line[:-1], ": "
            if not colon:
                raise self._error(number, f"{line!r} is not KEY: VALUE")
            if key == "Sig":
                self._signatures.append((number, value))
            elif key not in _KNOWN:
                self.unknown.append((key, value))
            elif key in self._known:
                raise self._error(number, f"{key} comes twice")
            else:
                self._known[key] = (number, value)

    def required(self, key: str, parse: Callable[[str], T]) -> T:
        if key not in self._known:
            raise InvalidNarInfo(origin=self._origin, reason=f"the line {key} is missing")
        return self._parse(*self._known[key], parse)

    def optional(self, key: str, parse: Callable[[str], T]) -> T | None:
        return self._parse(*self._known[key], parse) if key in self._known else None

    def signatures(self) -> tuple[Signature, ...]:
        return tuple(self._parse(number, value, parse_signature) for number, value in self._signatures)

    def _parse(self, number: int, value: str, parse: Callable[[str], T]) -> T:
        try:
            return parse(value)
        except (TvixError, ValueError) as error:
            raise self._error(number, str(error)) from None

    def _error(self, number: int, reason: str) -> InvalidNarInfo:
        return InvalidNarInfo(origin=self._origin, reason=f"in line {number}, {reason}")


def _not_empty(value: str) -> str:
    if not value:
        raise ValueError("the value is empty")
    return value


def _size(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 20 and int(value) <= _SIZE_MAX):
        raise ValueError(f"{value!r} is not a size in bytes")
    return int(value)


def _nar_size(value: str) -> int:
    size = _size(value)
    if size == 0:
        raise ValueError("no NAR has 0 bytes")
    return size


def _references(value: str) -> tuple[StorePath, ...]:
    return tuple(parse_basename(basename) for basename in value.split(" ") if basename)
