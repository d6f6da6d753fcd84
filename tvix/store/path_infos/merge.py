"""What happens when a path info comes in for a path that has one: signatures add up, facts must agree."""

from __future__ import annotations

from tvix.errors import EX_NOPERM, TvixError
from tvix.store.path_info import PathInfo


class ConflictingPathInfo(TvixError):
    """A path info says something else of a path than the store already holds."""

    identifier = "store.conflicting-path-info"
    message = "{path} is in the store with {difference}: refused"
    hint = "what a store path stands for never changes; take another name, or another store"
    exit_code = EX_NOPERM


def merge_path_infos(stored: PathInfo, incoming: PathInfo) -> PathInfo:
    """`stored` with the signatures of `incoming`, and its deriver and content address where they were not known.

    Raises `ConflictingPathInfo` where the two don't agree on root, NAR or references.
    """
    if stored is incoming:
        return stored
    if stored.path != incoming.path:
        raise ConflictingPathInfo(path=incoming.path, difference=f"the name {stored.path.name}")
    if stored.node != incoming.node:
        raise ConflictingPathInfo(path=incoming.path, difference="another root")
    if (stored.nar_size, stored.nar_sha256) != (incoming.nar_size, incoming.nar_sha256):
        raise ConflictingPathInfo(path=incoming.path, difference="another NAR hash")
    if set(stored.references) != set(incoming.references):
        raise ConflictingPathInfo(path=incoming.path, difference="other references")
    merged = stored.with_signatures(incoming.signatures)
    if (stored.deriver is None and incoming.deriver) or (stored.content_address is None and incoming.content_address):
        merged = merged._replace(
            deriver=stored.deriver or incoming.deriver,
            content_address=stored.content_address or incoming.content_address,
        )
    return merged
