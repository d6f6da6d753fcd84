"""Whether everything below a node is in a store, asked in batches."""

from __future__ import annotations

from tvix.castore.blobs.interface import BlobService
from tvix.castore.digests import Digest, print_digest
from tvix.castore.directories.interface import DirectoryService, IncompleteClosure
from tvix.castore.nodes import DirectoryNode, FileNode, Node
from tvix.errors import EX_DATAERR, TvixError

_BATCH = 4096


class IncompleteRoot(TvixError):
    """A root whose tree is not wholly in the store."""

    identifier = "store.incomplete-root"
    message = "{kind} {digest} is not in the store, so the tree that needs it is incomplete"
    hint = "store blobs and directories before the path info; an interrupted copy can simply be repeated"
    exit_code = EX_DATAERR


def check_complete(node: Node, blobs: BlobService, directories: DirectoryService) -> None:
    """Raises `IncompleteRoot` for the first directory or blob found missing below `node`, or `node` itself."""
    if type(node) is FileNode:
        _check_blobs({node.digest}, blobs)
    if type(node) is not DirectoryNode:
        return
    wanted: set[Digest] = set()
    seen_any = False
    try:
        for directory in directories.closure(node.digest):
            seen_any = True
            wanted.update(child.digest for child in directory.entries.values() if type(child) is FileNode)
            if len(wanted) >= _BATCH:
                _check_blobs(wanted, blobs)
                wanted.clear()
    except IncompleteClosure as error:
        raise IncompleteRoot(kind="directory", digest=error.fields["missing"]) from None
    if not seen_any:
        raise IncompleteRoot(kind="directory", digest=print_digest(node.digest))
    _check_blobs(wanted, blobs)


def _check_blobs(digests: set[Digest], blobs: BlobService) -> None:
    missing = blobs.missing(digests) if digests else set()
    if missing:
        raise IncompleteRoot(kind="blob", digest=print_digest(min(missing)))
