"""What can be wrong with a NAR. Every error says the byte where it was seen, counted from 0, and the entry that it is in.

The reader raises them for archives from elsewhere, the writer for a caller who would make such an archive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tvix.errors import EX_DATAERR, TvixError

if TYPE_CHECKING:
    from collections.abc import Sequence


class InvalidNar(TvixError):
    """The base of all of them, so that a caller can catch one. Fields: `offset` (int), `entry` (text), `reason` (text)."""

    identifier: ClassVar[str] = "nar.invalid"
    message: ClassVar[str] = "the NAR is not valid at byte {offset}, in {entry}: {reason}"
    hint: ClassVar[str | None] = "it was damaged on its way, or made by a program that doesn't follow the format"
    exit_code: ClassVar[int] = EX_DATAERR


class NotANar(InvalidNar):
    """It doesn't begin as every NAR does."""

    identifier = "nar.not-a-nar"
    hint = "is it compressed, or another file altogether?"


class TruncatedNar(InvalidNar):
    """It ends before it is complete; a length that promises more than there is looks the same."""

    identifier = "nar.truncated"


class TrailingData(InvalidNar):
    """Something follows the end of the archive."""

    identifier = "nar.trailing-data"


class UnexpectedToken(InvalidNar):
    """A string stands where the grammar wants another."""

    identifier = "nar.unexpected-token"


class NonZeroPadding(InvalidNar):
    """The bytes that fill a string up to a multiple of eight are not zero."""

    identifier = "nar.nonzero-padding"


class LengthOverflow(InvalidNar):
    """A string says that it has 2^63 bytes or more."""

    identifier = "nar.length-overflow"


class InvalidEntryName(InvalidNar):
    """A name that is empty, over 255 bytes, `.`, `..`, or contains a slash or a NUL."""

    identifier = "nar.invalid-name"


class UnsortedEntries(InvalidNar):
    """A name that sorts before the one in front of it."""

    identifier = "nar.unsorted"


class DuplicateEntry(InvalidNar):
    """The same name twice in a directory."""

    identifier = "nar.duplicate"


class InvalidLinkTarget(InvalidNar):
    """A symlink target that is empty, over 4095 bytes, or contains a NUL."""

    identifier = "nar.invalid-symlink-target"


class TooDeep(InvalidNar):
    """A path inside the archive has more than 64 components."""

    identifier = "nar.too-deep"


class IncompleteTree(InvalidNar):
    """Something was asked of a writer out of order: two roots, an entry outside a directory, a directory left open."""

    identifier = "nar.incomplete-tree"
    hint = None


class WrongFileSize(InvalidNar):
    """The pieces given for a file are more or less than its announced size."""

    identifier = "nar.wrong-file-size"
    hint = "the file changed while it was read"


def entry_text(names: Sequence[bytes]) -> str:
    """How an error names an entry: the path below the root, bytes outside printable ASCII escaped."""
    if not names:
        return "the root"
    return "entry " + ascii(b"/".join(names).decode("utf-8", "surrogateescape"))
