"""`lying_server.py STORE PORT blobs|root`: serves a store, but for one kind of lie. Says READY like the honest one."""

from __future__ import annotations

import sys

from tvix.castore.directory import Directory
from tvix.grpc_api.server import make_server
from tvix.store.addresses import open_store
from tvix.store.store import Store
from tvix.testing.faulty import FaultyBlobService, FaultyDirectoryService


def flip_a_bit(contents: bytes) -> bytes:
    """Another blob of the same size."""
    return bytes((contents[0] ^ 1,)) + contents[1:] if contents else contents


def hide_an_entry(directories: list[Directory]) -> list[Directory]:
    """Another root, which lacks the last of its entries: every directory is what its own digest says."""
    root, *below = directories
    entries = list(root.entries.items())
    return [Directory.of(entries[:-1]), *below]


def main(url: str, port: str, lie: str) -> None:
    """Serve until killed."""
    store = open_store(url)
    blobs, directories = FaultyBlobService(store.blobs), FaultyDirectoryService(store.directories)
    if lie == "blobs":
        blobs.mangle = flip_a_bit
    else:
        directories.mangle = hide_an_entry
    server = make_server(Store(blobs, directories, store.path_infos), [f"0.0.0.0:{port}"], insecure="read")
    server.start()
    print("READY", flush=True)
    server.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
