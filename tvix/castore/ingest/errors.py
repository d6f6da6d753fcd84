"""What can be wrong with a directory tree that is to be stored."""

from __future__ import annotations

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
