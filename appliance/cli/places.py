"""Where a user's files are: the XDG base directories. https://specifications.freedesktop.org/basedir-spec/0.8/"""

from __future__ import annotations

import os
from pathlib import Path

NEAR_MAX = "10G"
"""What is kept near on disk at most; the oldest packs go first."""


def data_directory() -> Path:
    """What should last: `$XDG_DATA_HOME/tvix`."""
    return _base("XDG_DATA_HOME", ".local/share") / "tvix"


def state_directory() -> Path:
    """What may be lost: `$XDG_STATE_HOME/tvix`."""
    return _base("XDG_STATE_HOME", ".local/state") / "tvix"


def cache_directory() -> Path:
    """What can be fetched again: `$XDG_CACHE_HOME/tvix`."""
    return _base("XDG_CACHE_HOME", ".cache") / "tvix"


def default_near() -> str:
    """The address of what is kept of stores that are elsewhere: a pack store that all of the user's mounts share."""
    return pack_address(cache_directory() / "near")


def credentials_directory() -> str | None:
    """What stores are shown that want to know who calls: `$TVIX_CREDENTIALS`, else `$XDG_CONFIG_HOME/tvix/credentials` if it is
    there."""
    named = os.environ.get("TVIX_CREDENTIALS")
    if named:
        return os.path.abspath(named)
    directory = _base("XDG_CONFIG_HOME", ".config") / "tvix" / "credentials"
    return str(directory) if directory.is_dir() else None


def default_store() -> str:
    """The address of the store that is meant where none is named: `$TVIX_STORE`, else a pack store in the data directory."""
    return os.environ.get("TVIX_STORE") or pack_address(data_directory() / "store")


def pack_address(path: Path) -> str:
    """The address of a pack store at `path`, with what an address can't hold written as percent escapes."""
    from urllib.parse import quote_from_bytes

    return "pack:" + quote_from_bytes(os.fsencode(path), safe="/+-._~@,=")


def _base(variable: str, default: str) -> Path:
    """The specification says that a relative value is to be ignored."""
    value = os.environ.get(variable, "")
    return Path(value) if value.startswith("/") else Path.home() / default
