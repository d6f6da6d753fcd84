"""What can be wrong with a directory tree that is to be stored."""

from __future__ import annotations

import stat
from errno import ELOOP, ENOENT, ENOTDIR

from tvix.errors import EX_DATAERR, EX_NOINPUT, EX_TEMPFAIL, TvixError


class Unreadable(TvixError):
    """A file or directory that the system doesn't let us read."""

    identifier = "castore.unreadable"
    message = "{path} can't be read: {reason}"
    exit_code = EX_NOINPUT


class SpecialFile(TvixError):
    """Something that is neither a directory nor a regular file nor a symlink."""

    identifier = "castore.special-file"
    message = "{path} is a {kind}: only directories, regular files and symlinks can be stored"
    hint = "remove it, or store the parts of the tree beside it"
    exit_code = EX_DATAERR


class ChangedWhileReading(TvixError):
    """A tree that was written to while it was read, so that what was read may never have been there as a whole."""

    identifier = "castore.changed-while-reading"
    message = "{path} changed while it was read: {reason}"
    hint = "repeat when nothing writes to it"
    exit_code = EX_TEMPFAIL


def read_error(path: str, error: OSError, *, was_seen: bool) -> Unreadable | ChangedWhileReading:
    """The error for what the system said of `path`; `was_seen` where a directory has just named it, so that it can't be absent."""
    if was_seen and error.errno in (ELOOP, ENOTDIR, ENOENT):
        return ChangedWhileReading(path=path, reason="it is gone" if error.errno == ENOENT else "it became something else")
    return Unreadable(path=path, reason=error.strerror or str(error))


def kind_of(mode: int) -> str:
    """What people call the kind of file that a mode says."""
    return _KINDS.get(stat.S_IFMT(mode), "special file")


_KINDS = {
    stat.S_IFDIR: "directory",
    stat.S_IFREG: "regular file",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}
