"""Whether a store holds what it says that it holds: `tvix store verify`.

A pack store is looked at record by record. Of any other, servers too, what the interfaces tell is verified: that the tree of each
path info is complete, and with contents that every blob hashes to its name and every NAR to what its path info says. Nothing is
changed, and nothing found wrong ends the work.
"""

from __future__ import annotations

from collections.abc import Iterator

from blake3 import blake3

from tvix.castore.blobs.contents import BlobNotFound, check_size
from tvix.castore.blobs.interface import StoreUnavailable
from tvix.castore.blobs.pack import PackBlobService
from tvix.castore.digests import Digest, print_digest
from tvix.castore.nodes import DirectoryNode, FileNode
from tvix.castore.pack.format import PATH_INFO
from tvix.castore.pack.verify import Findings, PackVerifier
from tvix.errors import TvixError
from tvix.events import Operation, silent
from tvix.nix_compat.store_path import StorePathDigest
from tvix.store.completeness import check_complete
from tvix.store.nar import nar_summary
from tvix.store.path_info import PathInfo
from tvix.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.events import Emit

_PIECE_BYTES = 1 << 20


def verify_store(store: Store, check_contents: bool = False, emit: Emit = silent) -> Findings:
    """Look at everything. Raises `StoreUnavailable` and what else keeps it from going on; what is wrong is in the findings."""
    findings = Findings()
    with Operation(emit, "verify", unit="bytes") as operation:
        pack = store.blobs.pack if isinstance(store.blobs, PackBlobService) else None
        verifier = None
        if pack is not None:
            pack.sync()
            verifier = PackVerifier(pack, findings, check_contents, operation.progress)
            verifier.run()
        checked: set[Digest] = set()
        for info in _path_infos(store, findings, verifier):
            if verifier is None:
                findings.count("path info")
            if verifier is not None and (here := verifier.is_here(info.node)) is not True:
                if here is None:
                    findings.incomplete += 1
                else:
                    findings.wrong("path info", str(info.path), "its root is not in the store as it says")
                continue
            try:
                _path_info(store, info, findings, checked if check_contents and pack is None else None, operation)
                if check_contents:
                    _nar(store, info, findings)
            except StoreUnavailable:
                raise
            except TvixError as error:
                if verifier is not None and pack is not None and pack.partial:
                    findings.incomplete += 1
                else:
                    findings.wrong("path info", str(info.path), error)
            operation.progress(info.nar_size if check_contents else 0)
    return findings


def _path_infos(store: Store, findings: Findings, verifier: PackVerifier | None) -> Iterator[PathInfo]:
    """All that can be read; where a listing can't go on, that is wrong too."""
    if verifier is not None:
        for key in verifier.sound(PATH_INFO):
            try:
                for digest, info in store.path_infos.get_many([StorePathDigest(key)]).items():
                    if info.path.digest != digest:
                        findings.wrong("path info", str(info.path), "it is stored for another path")
                    else:
                        yield info
            except TvixError as error:
                findings.wrong("path info", key.hex(), error)
        return
    try:
        yield from store.path_infos.list()
    except StoreUnavailable:
        raise
    except TvixError as error:
        findings.wrong("path info", "list", error)


def _path_info(store: Store, info: PathInfo, findings: Findings, checked: set[Digest] | None, operation: Operation) -> None:
    """Its tree is complete; where `checked` is given, the blobs that aren't in it yet are read and hashed."""
    check_complete(info.node, store.blobs, store.directories)
    if checked is None:
        return
    files: list[FileNode] = [info.node] if type(info.node) is FileNode else []
    if type(info.node) is DirectoryNode:
        for directory in store.directories.closure(info.node.digest):
            findings.count("directory")
            files += [node for node in directory.entries.values() if type(node) is FileNode]
    for node in files:
        if node.digest not in checked:
            checked.add(node.digest)
            findings.count("blob")
            _blob(store, node, findings, operation)


def _blob(store: Store, node: FileNode, findings: Findings, operation: Operation) -> None:
    name = print_digest(node.digest)
    try:
        reader = store.blobs.open(node.digest)
        if reader is None:
            raise BlobNotFound(digest=name)
        try:
            check_size(node.digest, node.size, reader.size)
            hasher = blake3()
            for offset in range(0, node.size, _PIECE_BYTES):
                hasher.update(piece := reader.read_at(offset, _PIECE_BYTES))
                operation.progress(len(piece))
        finally:
            reader.close()
    except StoreUnavailable:
        raise
    except TvixError as error:
        findings.wrong("blob", name, error)
        return
    if hasher.digest() != node.digest:
        findings.wrong("blob", name, f"its contents hash to {print_digest(Digest(hasher.digest()))}")


def _nar(store: Store, info: PathInfo, findings: Findings) -> None:
    summary = nar_summary(info.node, store.blobs, store.directories)
    if (summary.size, summary.sha256) != (info.nar_size, info.nar_sha256):
        reason = f"its NAR has {summary.size} bytes with SHA-256 {summary.sha256.hex()}"
        findings.wrong("path info", str(info.path), f"{reason}; it says {info.nar_size} with {info.nar_sha256.hex()}")
