"""`tvix store ls`: the store paths of a store, or what lies below one of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from appliance.cli.options import add_json, add_store, describe, open_existing_store, print_json
from appliance.one_line import one_line
from tvix.castore.nodes import DirectoryNode, FileNode, Node

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator

    from tvix.store.store import Store

SUMMARY = "List the store paths of a store, or what lies in one of them."


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    describe(
        parser,
        "tvix store ls",
        "tvix store ls --long --recursive /nix/store/…-hello-2.10/bin",
        text="Without a path: every store path of the store, a line each. With one: its entries, by name.",
        exits=(65, 66, 69),
    )
    parser.add_argument("path", nargs="?", metavar="STORE_PATH[/…]", help="a store path, or something in it")
    parser.add_argument("-l", "--long", action="store_true", help="say mode, size in bytes and symlink targets too")
    parser.add_argument("-R", "--recursive", action="store_true", help="everything below, not the entries alone")
    add_store(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """List."""
    with open_existing_store(arguments) as store:
        if arguments.path is None:
            return _list_store(store, arguments)
        entries = _entries(store, arguments.path, recursive=arguments.recursive)
        if arguments.json:
            print_json([{"name": name, **node_object(node)} for name, node in entries])
            return 0
        for name, node in entries:
            print(_long_line(name, node) if arguments.long else _plain_name(name, node))
    return 0


def node_object(node: Node) -> dict[str, object]:
    """A node in JSON: `type` (directory, regular, symlink), then `digest`, `size`, `executable` or `target`."""
    from tvix.castore.digests import print_digest

    if isinstance(node, DirectoryNode):
        return {"type": "directory", "digest": print_digest(node.digest)}
    if isinstance(node, FileNode):
        return {"type": "regular", "digest": print_digest(node.digest), "size": node.size, "executable": node.executable}
    return {"type": "symlink", "target": os.fsdecode(node.target)}


def _list_store(store: Store, arguments: Namespace) -> int:
    infos = sorted(store.path_infos.list(), key=lambda info: info.path)
    if arguments.json:
        print_json([{"path": str(info.path), "narSize": info.nar_size, **node_object(info.node)} for info in infos])
        return 0
    for info in infos:
        print(_long_line(str(info.path), info.node) if arguments.long else info.path)
    return 0


def _entries(store: Store, text: str, *, recursive: bool) -> Iterator[tuple[str, Node]]:
    from appliance.cli.store.paths import find
    from tvix.castore.tree import directory_of, walk

    place = find(store, text)
    if not isinstance(place.node, DirectoryNode):
        yield os.fsdecode(place.components[-1]) if place.components else str(place.path), place.node
    elif recursive:
        for components, node in walk(store.directories, place.node):
            if components:
                yield os.fsdecode(b"/".join(components)), node
    else:
        for name, node in directory_of(store.directories, place.node).entries.items():
            yield os.fsdecode(name), node


def _plain_name(name: str, node: Node) -> str:
    return one_line(name) + ("/" if isinstance(node, DirectoryNode) else "")


def _long_line(name: str, node: Node) -> str:
    if isinstance(node, DirectoryNode):
        return f"dr-xr-xr-x {'-':>12} {_plain_name(name, node)}"
    if isinstance(node, FileNode):
        return f"{'-r-xr-xr-x' if node.executable else '-r--r--r--'} {node.size:>12} {one_line(name)}"
    return f"lrwxrwxrwx {len(node.target):>12} {one_line(name)} -> {one_line(os.fsdecode(node.target))}"
