"""The published `PathInfo` message as bytes, the same under `tvix.store.v1` and `snix.store.v1`.

    PathInfo   entry = 1, references = 2 (repeated, 20 bytes), narinfo = 3
    NARInfo    nar_size = 1, nar_sha256 = 2, signatures = 3 {name = 1, data = 2}, reference_names = 4 (HASH-NAME),
               deriver = 5 {name = 1 without .drv, digest = 2}, ca = 6 {type = 1, digest = 2}

Every published field is carried; `registration_time` is no part of it. References are written in ascending order of HASH-NAME, as
Nix lists them and as signatures are made over them, and put into that order when they are read.
"""

from __future__ import annotations

from tvix.castore.entry import decode_entry, encode_entry
from tvix.castore.nodes import Node
from tvix.castore.protobuf import bytes_field, fields, message_field, varint_field
from tvix.errors import EX_DATAERR, TvixError
from tvix.nix_compat.content_address import ContentAddress, Method
from tvix.nix_compat.hashes import DIGEST_BYTES as HASH_BYTES
from tvix.nix_compat.hashes import Hash
from tvix.nix_compat.signatures import Signature
from tvix.nix_compat.store_path import DIGEST_BYTES, StorePath, parse_basename, store_path_digest
from tvix.store.path_info import PathInfo

NAR_SHA256_BYTES = 32
SIGNATURE_BYTES = 64
_DERIVATION = ".drv"

_CA_TYPES: list[tuple[Method, str]] = [
    ("nar", "sha256"),
    ("nar", "sha1"),
    ("nar", "sha512"),
    ("nar", "md5"),
    ("text", "sha256"),
    ("flat", "sha1"),
    ("flat", "md5"),
    ("flat", "sha256"),
    ("flat", "sha512"),
]


class InvalidPathInfo(TvixError):
    """A path info that breaks a rule of its message."""

    identifier = "store.invalid-path-info"
    message = "invalid path info of {path}: {reason}"
    hint = "it was damaged, or made by a program that breaks the published rules"
    exit_code = EX_DATAERR


def encode_path_info(info: PathInfo) -> bytes:
    """The message. Raises `InvalidPathInfo` for what it has no place for: a deriver without .drv, a `ca` of another algorithm."""
    references = sorted(info.references)
    parts = [message_field(1, encode_entry(info.path.basename.encode(), info.node))]
    parts += [message_field(2, reference.digest) for reference in references]
    parts.append(message_field(3, _encode_nar_info(info, references)))
    return b"".join(parts)


def decode_path_info(encoded: bytes) -> PathInfo:
    """From bytes that may come from anywhere. Raises `InvalidPathInfo`."""
    path = "an unknown path"
    try:
        entry: bytes | None = None
        nar_info: bytes | None = None
        digests: list[bytes] = []
        for number, value in fields(encoded, "path info"):
            if number > 3:
                continue
            if not isinstance(value, bytes):
                raise InvalidPathInfo(path=path, reason=f"field {number} has the wrong type")
            if number == 1:
                entry = value
            elif number == 2:
                digests.append(value)
            else:
                nar_info = value
        if entry is None:
            raise InvalidPathInfo(path=path, reason="it has no root node")
        name, node = decode_entry(entry)
        path = name.decode("ascii", "replace") or "a root without a name"
        store_path = parse_basename(name)
        if nar_info is None:
            raise InvalidPathInfo(path=path, reason="narinfo is missing")
        return _decode_nar_info(nar_info, store_path, node, digests)
    except InvalidPathInfo:
        raise
    except TvixError as error:
        raise InvalidPathInfo(path=path, reason=str(error)) from None


def _encode_nar_info(info: PathInfo, references: list[StorePath]) -> bytes:
    parts = [varint_field(1, info.nar_size), bytes_field(2, info.nar_sha256)]
    parts += [message_field(3, bytes_field(1, s.name.encode()) + bytes_field(2, s.data)) for s in info.signatures]
    parts += [message_field(4, reference.basename.encode()) for reference in references]
    if info.deriver is not None:
        name = info.deriver.name
        if not name.endswith(_DERIVATION):
            raise InvalidPathInfo(path=info.path, reason=f"its deriver {info.deriver} is not a derivation")
        parts.append(message_field(5, bytes_field(1, name[: -len(_DERIVATION)].encode()) + bytes_field(2, info.deriver.digest)))
    if info.content_address is not None:
        method, (algorithm, digest) = info.content_address
        if (method, algorithm) not in _CA_TYPES:
            raise InvalidPathInfo(path=info.path, reason=f"the protocol has no place for a {method} hash by {algorithm}")
        parts.append(message_field(6, varint_field(1, _CA_TYPES.index((method, algorithm))) + bytes_field(2, digest)))
    return b"".join(parts)


def _decode_nar_info(encoded: bytes, path: StorePath, node: Node, digests: list[bytes]) -> PathInfo:
    nar_size = 0
    single: dict[int, bytes] = {}
    repeated: dict[int, list[bytes]] = {3: [], 4: []}
    for number, value in fields(encoded, "narinfo"):
        if number == 1 and isinstance(value, int):
            nar_size = value
        elif number in (2, 5, 6) and isinstance(value, bytes):
            single[number] = value
        elif number in repeated and isinstance(value, bytes):
            repeated[number].append(value)
        elif number <= 6:
            raise InvalidPathInfo(path=path, reason=f"field {number} of narinfo has the wrong type")
    nar_sha256 = single.get(2, b"")
    if len(nar_sha256) != NAR_SHA256_BYTES:
        raise InvalidPathInfo(path=path, reason=f"nar_sha256 has {len(nar_sha256)} bytes instead of {NAR_SHA256_BYTES}")
    return PathInfo(
        path=path,
        node=node,
        nar_size=nar_size,
        nar_sha256=nar_sha256,
        references=_decode_references(path, digests, repeated[4]),
        signatures=tuple(_decode_signature(path, signature) for signature in repeated[3]),
        deriver=_decode_deriver(path, single[5]) if 5 in single else None,
        content_address=_decode_content_address(path, single[6]) if 6 in single else None,
    )


def _decode_references(path: StorePath, digests: list[bytes], names: list[bytes]) -> tuple[StorePath, ...]:
    if len(digests) != len(names):
        raise InvalidPathInfo(path=path, reason=f"{len(digests)} references have {len(names)} names")
    references: list[StorePath] = []
    for digest, name in zip(digests, names, strict=True):
        if len(digest) != DIGEST_BYTES:
            raise InvalidPathInfo(path=path, reason=f"a reference has {len(digest)} bytes instead of {DIGEST_BYTES}")
        reference = parse_basename(name)
        if reference.digest != digest:
            raise InvalidPathInfo(path=path, reason=f"the reference named {reference.basename} has another digest")
        references.append(reference)
    if len(set(references)) != len(references):
        raise InvalidPathInfo(path=path, reason="a reference comes twice")
    return tuple(sorted(references))


def _decode_signature(path: StorePath, encoded: bytes) -> Signature:
    single = _texts(path, encoded, "a signature")
    data = single.get(2, b"")
    if len(data) != SIGNATURE_BYTES:
        raise InvalidPathInfo(path=path, reason=f"a signature has {len(data)} bytes instead of {SIGNATURE_BYTES}")
    return Signature(_text(path, single.get(1, b""), "a signature's key name"), data)


def _decode_deriver(path: StorePath, encoded: bytes) -> StorePath:
    single = _texts(path, encoded, "deriver")
    name = _text(path, single.get(1, b""), "the deriver's name")
    if name.endswith(_DERIVATION):
        raise InvalidPathInfo(path=path, reason=f"the deriver's name {name!r} is said with .drv")
    digest = store_path_digest(single.get(2, b""))
    return parse_basename(StorePath(digest, name + _DERIVATION).basename)


def _decode_content_address(path: StorePath, encoded: bytes) -> ContentAddress:
    kind = 0
    digest = b""
    for number, value in fields(encoded, "ca"):
        if number == 1 and isinstance(value, int):
            kind = value
        elif number == 2 and isinstance(value, bytes):
            digest = value
    if kind >= len(_CA_TYPES):
        raise InvalidPathInfo(path=path, reason=f"ca has the unknown type {kind}")
    method, algorithm = _CA_TYPES[kind]
    if len(digest) != HASH_BYTES[algorithm]:
        raise InvalidPathInfo(path=path, reason=f"a ca by {algorithm} has {len(digest)} bytes instead of {HASH_BYTES[algorithm]}")
    return ContentAddress(method, Hash(algorithm, digest))


def _texts(path: StorePath, encoded: bytes, what: str) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for number, value in fields(encoded, what):
        if number in (1, 2):
            if not isinstance(value, bytes):
                raise InvalidPathInfo(path=path, reason=f"{what} has a number where bytes belong")
            found[number] = value
    return found


def _text(path: StorePath, raw: bytes, what: str) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise InvalidPathInfo(path=path, reason=f"{what} is not UTF-8") from None
    if not text:
        raise InvalidPathInfo(path=path, reason=f"{what} is empty")
    return text
