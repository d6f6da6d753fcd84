"""What the importing verbs say of what they imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.cli.store.list import node_object
from tvix.nix_compat.hashes import Hash

if TYPE_CHECKING:
    from tvix.store.path_info import PathInfo


def imported_object(info: PathInfo) -> dict[str, object]:
    """In JSON: `path`, `root` (the digest of the directory or file, null for a symlink), `narHash`, `narSize`, `type`."""
    node = node_object(info.node)
    return {
        "path": str(info.path),
        "root": node.get("digest"),
        "narHash": Hash("sha256", info.nar_sha256).print("sri"),
        "narSize": info.nar_size,
        "type": node["type"],
    }
