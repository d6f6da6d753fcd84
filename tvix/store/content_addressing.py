"""Whether a content address is true: the contents hash to it, and the store path follows from it.

A tree that refers to itself can't contain its own hash, so its content address is over the NAR with every occurrence of its own
digest text (32 characters) blanked to NUL bytes, followed by `|POSITION` for each, as Nix has it:
https://nix.dev/manual/nix/2.26/protocols/store-path
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from tvix.castore.blobs.interface import BlobService, Buffer
from tvix.castore.directories.interface import DirectoryService
from tvix.castore.nodes import FileNode, Node
from tvix.errors import EX_DATAERR, TvixError
from tvix.nix_compat import nixbase32
from tvix.nix_compat.content_address import ContentAddress
from tvix.nix_compat.hashes import Hash
from tvix.nix_compat.store_path import UnfitContentAddress, fixed_path
from tvix.store.nar import render_contents, render_nar
from tvix.store.path_info import PathInfo


class WrongContentAddress(TvixError):
    """The contents of a store path don't hash to its content address."""

    identifier = "store.wrong-content-address"
    message = "{path} is said to have the content address {said}; {reason}"
    hint = "the contents were changed, or the path info is of something else"
    exit_code = EX_DATAERR


class WrongStorePath(TvixError):
    """A store path isn't the one that follows from its name, content address and references."""

    identifier = "store.wrong-store-path"
    message = "{path} doesn't follow from its content address {content_address} and references; {expected} does"
    exit_code = EX_DATAERR


def check_content_address(info: PathInfo, blobs: BlobService, directories: DirectoryService) -> None:
    """Check what `info` says of its content address, if it says anything; `nar_sha256` must have been checked before.

    Raises `WrongStorePath`, `WrongContentAddress`, `IncompleteRoot`.
    """
    said = info.content_address
    if said is None:
        return
    self_reference = info.path in info.references
    others = [reference for reference in info.references if reference != info.path]
    try:
        expected = fixed_path(info.path.name, said, others, self_reference)
    except UnfitContentAddress as error:
        raise WrongContentAddress(path=info.path, said=said, reason=str(error)) from None
    if expected != info.path:
        raise WrongStorePath(path=info.path, content_address=said, expected=expected)
    if said.method == "nar" and said.hash.algorithm == "sha256" and not self_reference:
        actual = info.nar_sha256
    else:
        actual = _digest_of_contents(info, said, self_reference, blobs, directories)
    if actual != said.hash.digest:
        raise WrongContentAddress(
            path=info.path,
            said=said,
            reason=f"its contents hash to {ContentAddress(said.method, Hash(said.hash.algorithm, actual))}",
        )


def blanked(pieces: Iterable[Buffer], needle: bytes) -> Iterator[Buffer]:
    """`pieces` with every `needle` blanked, then the positions where it stood."""
    blank = bytes(len(needle))
    positions: list[int] = []
    kept = b""
    offset = 0  # of the first byte of `kept`
    for piece in pieces:
        window = kept + bytes(piece)
        found = window.find(needle)
        while found >= 0:
            positions.append(offset + found)
            found = window.find(needle, found + len(needle))
        window = window.replace(needle, blank)
        done = max(0, len(window) - len(needle) + 1)
        yield window[:done]
        kept = window[done:]
        offset += done
    yield kept
    yield b"".join(b"|%d" % position for position in positions)


def _digest_of_contents(
    info: PathInfo, said: ContentAddress, self_reference: bool, blobs: BlobService, directories: DirectoryService
) -> bytes:
    pieces: Iterable[Buffer]
    if said.method == "nar":
        pieces = render_nar(info.node, blobs, directories)
        if self_reference:
            pieces = blanked(pieces, nixbase32.encode(info.path.digest).encode())
    else:
        pieces = render_contents(_plain_file(info, said), blobs)
    hasher = hashlib.new(said.hash.algorithm, usedforsecurity=False)
    for piece in pieces:
        hasher.update(piece)
    return hasher.digest()


def _plain_file(info: PathInfo, said: ContentAddress) -> FileNode:
    node: Node = info.node
    if type(node) is not FileNode or node.executable:
        raise WrongContentAddress(path=info.path, said=said, reason="only a file that isn't executable can have such a one")
    return node
