"""Store paths: `/nix/store/`, 20 bytes of digest in Nix's base 32, a dash, a name.

The digest is a SHA-256 folded to 20 bytes, over a fingerprint which says of what kind the path is, what it was made from, the store
directory and the name. The kinds and their fingerprints: https://nix.dev/manual/nix/2.26/protocols/store-path
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, NewType

from tvix.errors import EX_DATAERR, TvixError
from tvix.nix_compat import nixbase32

if TYPE_CHECKING:
    from collections.abc import Collection

    from tvix.nix_compat.content_address import ContentAddress

STORE_DIR = "/nix/store"
"""Without a slash at its end. Digests cover it: paths of another store directory are other paths."""

StorePathDigest = NewType("StorePathDigest", bytes)
"""20 bytes. Made by `store_path_digest`, or by the functions here that parse and compute."""

DIGEST_BYTES = 20
DIGEST_CHARACTERS = 32
NAME_CHARACTERS_MAX = 211
NAME_CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+-._?="

_NAME_BYTES = NAME_CHARACTERS.encode()
_PREFIX = STORE_DIR + "/"


class InvalidStorePath(TvixError):
    """A text that should be a store path, or the last part of one, and isn't."""

    identifier = "nix-compat.invalid-store-path"
    message = "{text!r} is not a store path: {reason}"
    hint = f"store paths look like {STORE_DIR}/{'0' * DIGEST_CHARACTERS}-name"
    exit_code = EX_DATAERR


class InvalidStorePathName(TvixError):
    """A name that no store path can have."""

    identifier = "nix-compat.invalid-store-path-name"
    message = "{name!r} can't be the name of a store path: {reason}"
    hint = f"names have 1 to {NAME_CHARACTERS_MAX} letters, digits and any of + - . _ ? ="
    exit_code = EX_DATAERR


class UnfitContentAddress(TvixError):
    """A content address whose kind of store path can't have the references asked for."""

    identifier = "nix-compat.unfit-content-address"
    message = "{name!r} with content address {content_address} can't have references: only a NAR's or a text's sha256 can"
    exit_code = EX_DATAERR


class StorePath(NamedTuple):
    """One store path. Paths sort as their texts do, which is the order of references in fingerprints and path infos."""

    digest: StorePathDigest
    name: str

    @property
    def basename(self) -> str:
        """The path without the store directory: the digest's text, a dash, the name."""
        return f"{nixbase32.encode(self.digest)}-{self.name}"

    def __str__(self) -> str:
        return f"{_PREFIX}{nixbase32.encode(self.digest)}-{self.name}"

    # The text of a digest sorts as its bytes do from the last to the first; the tuple's own order would take the first byte first.
    def __lt__(self, other: tuple[object, ...]) -> bool:
        return _order(self) < _order(other) if isinstance(other, StorePath) else NotImplemented

    def __le__(self, other: tuple[object, ...]) -> bool:
        return _order(self) <= _order(other) if isinstance(other, StorePath) else NotImplemented

    def __gt__(self, other: tuple[object, ...]) -> bool:
        return _order(self) > _order(other) if isinstance(other, StorePath) else NotImplemented

    def __ge__(self, other: tuple[object, ...]) -> bool:
        return _order(self) >= _order(other) if isinstance(other, StorePath) else NotImplemented


def _order(path: StorePath) -> tuple[bytes, str]:
    return path.digest[::-1], path.name


def store_path_digest(raw: bytes) -> StorePathDigest:
    """Check that `raw` has the length of a store path's digest. Raises `InvalidStorePath`."""
    if len(raw) != DIGEST_BYTES:
        raise InvalidStorePath(text=raw.hex(), reason=f"its digest has {len(raw)} bytes instead of {DIGEST_BYTES}")
    return StorePathDigest(raw)


def check_store_path_name(name: str) -> str:
    """The name itself where a store path may have it. Raises `InvalidStorePathName`."""
    reason = _why_not_a_name(name)
    if reason:
        raise InvalidStorePathName(name=name, reason=reason)
    return name


def parse_store_path(text: str) -> StorePath:
    """Read an absolute store path with nothing behind it. Raises `InvalidStorePath`."""
    if not text.startswith(_PREFIX):
        raise InvalidStorePath(text=text, reason=f"it doesn't begin with {_PREFIX}")
    return _parse(text, text[len(_PREFIX) :])


def parse_basename(basename: str | bytes) -> StorePath:
    """Read a store path that comes without its directory. Raises `InvalidStorePath`."""
    if isinstance(basename, bytes):
        basename = basename.decode("latin-1")  # a byte over 127 becomes a letter that no name may have
    return _parse(basename, basename)


def split_store_path(text: str) -> tuple[StorePath, str]:
    """A path inside the store as the store path and the rest, without the slash between. Raises `InvalidStorePath`.

    The rest is empty for the store path itself; it is not looked into, so a caller who walks it checks every component.
    """
    if not text.startswith(_PREFIX):
        raise InvalidStorePath(text=text, reason=f"it doesn't begin with {_PREFIX}")
    basename, _, rest = text[len(_PREFIX) :].partition("/")
    return _parse(text, basename), rest


def compress_hash(digest: bytes, byte_count: int = DIGEST_BYTES) -> bytes:
    """Fold `digest` to `byte_count` bytes: byte i goes, by exclusive or, to byte i modulo `byte_count`."""
    folded = 0
    for start in range(0, len(digest), byte_count):
        folded ^= int.from_bytes(digest[start : start + byte_count], "little")
    return folded.to_bytes(byte_count, "little")


def text_path(name: str, digest: bytes, references: Collection[StorePath] = ()) -> StorePath:
    """The path of a file which holds `digest` (SHA-256, 32 bytes) and refers to `references`: a derivation, for example."""
    return _compute(_kind("text", references, False), digest, name)


def source_path(name: str, nar_sha256: bytes, references: Collection[StorePath] = (), self_reference: bool = False) -> StorePath:
    """The path of a tree named after its NAR (SHA-256, 32 bytes): what importing a directory gives.

    `references` are those to other paths; with `self_reference` the hash is that of the NAR with the path's own digest blanked.
    """
    return _compute(_kind("source", references, self_reference), nar_sha256, name)


def fixed_path(
    name: str, content_address: ContentAddress, references: Collection[StorePath] = (), self_reference: bool = False
) -> StorePath:
    """The path that goes with a content address. Raises `UnfitContentAddress` where its kind can't have these references."""
    method, (algorithm, digest) = content_address
    if method == "nar" and algorithm == "sha256":
        return source_path(name, digest, references, self_reference)
    if method == "text" and not self_reference:
        return text_path(name, digest, references)
    if references or self_reference:
        raise UnfitContentAddress(name=name, content_address=str(content_address))
    inner = f"fixed:out:{'r:' if method == 'nar' else ''}{algorithm}:{digest.hex()}:"
    return _compute("output:out", _sha256(inner), name)


def output_path(derivation_name: str, derivation_hash: bytes, output: str = "out") -> StorePath:
    """Where `output` of a derivation goes whose hash modulo its inputs is `derivation_hash` (SHA-256, 32 bytes).

    `derivation_name` is without `.drv`; any output but `out` shows in the path's name.
    """
    name = derivation_name if output == "out" else f"{derivation_name}-{output}"
    return _compute(f"output:{output}", derivation_hash, name)


def placeholder(output: str) -> str:
    """What stands for the path of `output` in a derivation's own environment until the path is known."""
    return "/" + nixbase32.encode(_sha256(f"nix-output:{output}"))


def _compute(kind: str, digest: bytes, name: str) -> StorePath:
    check_store_path_name(name)
    fingerprint = f"{kind}:sha256:{digest.hex()}:{STORE_DIR}:{name}"
    return StorePath(StorePathDigest(compress_hash(_sha256(fingerprint))), name)


def _sha256(text: str) -> bytes:
    from hashlib import sha256  # loads libcrypto, which those who only read paths can do without

    return sha256(text.encode()).digest()


def _kind(kind: str, references: Collection[StorePath], self_reference: bool) -> str:
    return ":".join([kind, *map(str, sorted(set(references))), *(["self"] if self_reference else [])])


def _parse(text: str, basename: str) -> StorePath:
    if basename[DIGEST_CHARACTERS : DIGEST_CHARACTERS + 1] != "-":
        raise InvalidStorePath(text=text, reason=f"there is no dash after {DIGEST_CHARACTERS} characters of digest")
    try:
        digest = StorePathDigest(nixbase32.decode(basename[:DIGEST_CHARACTERS]))
    except nixbase32.InvalidNixBase32 as error:
        raise InvalidStorePath(text=text, reason=f"in its digest, {error.fields['reason']}") from None
    name = basename[DIGEST_CHARACTERS + 1 :]
    reason = _why_not_a_name(name)
    if reason:
        raise InvalidStorePath(text=text, reason=f"in its name, {reason}")
    return StorePath(digest, name)


def _why_not_a_name(name: str) -> str:
    """Empty where it is one. The rule for dots is that of Nix since 2.19: `.x` is allowed, `.`, `..`, `.-x` and `..-x` are not."""
    if not name:
        return "nothing is there"
    if len(name) > NAME_CHARACTERS_MAX:
        return f"{len(name)} characters are more than {NAME_CHARACTERS_MAX}"
    if not name.isascii() or name.encode().translate(None, _NAME_BYTES):
        strange = next(character for character in name if character not in NAME_CHARACTERS)
        return f"the character {strange!r} is not allowed"
    if name[0] == "." and name.partition("-")[0] in (".", ".."):
        return f"the part before the first dash is {name.partition('-')[0]!r}"
    return ""
