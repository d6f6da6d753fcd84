"""The contents of a file that a directory names."""

from __future__ import annotations

from tvix.castore.blobs.interface import BlobReader, BlobService
from tvix.castore.digests import Digest, print_digest
from tvix.castore.nodes import FileNode
from tvix.errors import EX_DATAERR, EX_NOINPUT, TvixError


class BlobNotFound(TvixError):
    """A blob that a file node names is not in the store."""

    identifier = "castore.blob-not-found"
    message = "blob {digest} is not in the store"
    hint = "its tree was stored only in part, or in another store"
    exit_code = EX_NOINPUT


class WrongBlobSize(TvixError):
    """A directory says of a file that it has another size than its contents have."""

    identifier = "castore.wrong-blob-size"
    message = "blob {digest} has {actual} bytes where a directory says {said}"
    hint = "whoever made the directory was wrong or lied"
    exit_code = EX_DATAERR


def check_size(digest: Digest, said: int, actual: int) -> None:
    """Hold a blob to the size that a node says. Raises `WrongBlobSize`."""
    if said != actual:
        raise WrongBlobSize(digest=print_digest(digest), said=said, actual=actual)


def bound(reader: BlobReader, size: int) -> None:
    """Whatever a server sends, let it be no more than a node says: it may send for ever.

    Readers that fetch on their first read have a method for it, and raise `WrongBlobSize` there where more comes.
    """
    limit = getattr(reader, "bound", None)
    if limit is not None:
        limit(size)


def open_file(blobs: BlobService, node: FileNode) -> BlobReader:
    """A reader of exactly the size that the node says. Raises `BlobNotFound`, `WrongBlobSize`, and what the service raises."""
    reader = blobs.open(node.digest)
    if reader is None:
        raise BlobNotFound(digest=print_digest(node.digest))
    bound(reader, node.size)
    check_size(node.digest, node.size, reader.size)
    return reader
