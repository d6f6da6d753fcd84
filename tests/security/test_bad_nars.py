"""Archives that must be refused, each with its own error and place; nothing a NAR says makes the reader take memory or hang.

The archives are put together here from plain strings, so that nothing of the code under test decides what they look like. What
readers elsewhere got wrong is among them: depth (CVE-2026-44028), lengths near 2^64, names that climb, names that come twice.
"""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator

import pytest

from tvix.nix_compat.nar import errors
from tvix.nix_compat.nar.reader import PIECE_BYTES, read_nar
from tvix.nix_compat.nar.writer import NarWriter


def u64(number: int) -> bytes:
    return number.to_bytes(8, "little")


def s(text: bytes) -> bytes:
    return u64(len(text)) + text + bytes(-len(text) % 8)


def strings(*texts: bytes) -> bytes:
    return b"".join(map(s, texts))


MAGIC = s(b"nix-archive-1")
REGULAR = strings(b"(", b"type", b"regular", b"contents")
FILE = REGULAR + strings(b"x", b")")
LINK = strings(b"(", b"type", b"symlink", b"target", b"x", b")")
DIRECTORY = strings(b"(", b"type", b"directory")
EMPTY = DIRECTORY + s(b")")


def entry(name: bytes, node: bytes = FILE) -> bytes:
    return strings(b"entry", b"(", b"name", name, b"node") + node + s(b")")


def directory(*entries: bytes) -> bytes:
    return DIRECTORY + b"".join(entries) + s(b")")


def nested(depth: int, innermost: bytes) -> bytes:
    head = DIRECTORY + strings(b"entry", b"(", b"name", b"d", b"node")
    return head * depth + innermost + strings(b")", b")") * depth


def content(size: bytes, rest: bytes = b"x" + bytes(7) + s(b")")) -> bytes:
    return REGULAR + size + rest


LONG = b"n" * 255
TOKEN = errors.UnexpectedToken
NAME = errors.InvalidEntryName
TARGET = errors.InvalidLinkTarget
CUT = errors.TruncatedNar
PADDING = errors.NonZeroPadding
OVERFLOW = errors.LengthOverflow
BIG = bytes(PIECE_BYTES + 1)

BAD: dict[str, tuple[type[errors.InvalidNar], bytes]] = {
    # Head and end.
    "nothing": (CUT, b""),
    "half a head": (CUT, MAGIC[:13]),
    "only a head": (CUT, MAGIC),
    "a zip file": (errors.NotANar, b"PK\x03\x04" + bytes(100)),
    "an xz file": (errors.NotANar, b"\xfd7zXZ\0" + bytes(100)),
    "another version": (errors.NotANar, s(b"nix-archive-2") + FILE),
    "head with dirty padding": (errors.NotANar, MAGIC[:-1] + b"\x01" + FILE),
    "head with a huge length": (errors.NotANar, u64(1 << 63) + MAGIC[8:] + FILE),
    "a byte after a file": (errors.TrailingData, MAGIC + FILE + b"\0"),
    "a byte after a directory": (errors.TrailingData, MAGIC + EMPTY + b"x"),
    "two archives": (errors.TrailingData, (MAGIC + EMPTY) * 2),
    "a megabyte of zeros after": (errors.TrailingData, MAGIC + LINK + BIG),
    "a closing too many": (errors.TrailingData, MAGIC + EMPTY + s(b")")),
    # Grammar at the root.
    "empty root": (TOKEN, MAGIC + strings(b"(", b")")),
    "no parenthesis": (TOKEN, MAGIC + strings(b"type", b"regular")),
    "unknown type": (TOKEN, MAGIC + strings(b"(", b"type", b"fifo", b")")),
    "empty type": (TOKEN, MAGIC + strings(b"(", b"type", b"", b")")),
    "type twice": (TOKEN, MAGIC + strings(b"(", b"type", b"regular", b"type", b"regular", b"contents", b"", b")")),
    "type in capitals": (TOKEN, MAGIC + strings(b"(", b"type", b"Directory", b")")),
    "file without contents": (TOKEN, MAGIC + strings(b"(", b"type", b"regular", b")")),
    "contents twice": (TOKEN, MAGIC + strings(b"(", b"type", b"regular", b"contents", b"", b"contents", b"", b")")),
    "contents before executable": (
        TOKEN,
        MAGIC + strings(b"(", b"type", b"regular", b"contents", b"", b"executable", b"", b")"),
    ),
    "executable with a value": (
        TOKEN,
        MAGIC + strings(b"(", b"type", b"regular", b"executable", b"yes", b"contents", b"", b")"),
    ),
    "executable with a long value": (
        TOKEN,
        MAGIC + strings(b"(", b"type", b"regular", b"executable", b"y" * 99, b"contents", b"", b")"),
    ),
    "executable without contents": (TOKEN, MAGIC + strings(b"(", b"type", b"regular", b"executable", b"", b")")),
    "symlink without target": (TOKEN, MAGIC + strings(b"(", b"type", b"symlink", b")")),
    "symlink with contents": (TOKEN, MAGIC + strings(b"(", b"type", b"symlink", b"contents", b"x", b")")),
    "target twice": (TOKEN, MAGIC + strings(b"(", b"type", b"symlink", b"target", b"a", b"target", b"b", b")")),
    "directory with contents": (TOKEN, MAGIC + DIRECTORY + strings(b"contents", b"", b")")),
    "a word of 33 bytes": (TOKEN, MAGIC + s(b"(" * 33)),
    "a word of a gigabyte": (TOKEN, MAGIC + u64(1 << 30) + b"(" * 100),
    "big file not closed": (TOKEN, MAGIC + REGULAR + s(BIG) + s(b"(")),
    # Grammar of entries.
    "entry without parenthesis": (TOKEN, MAGIC + DIRECTORY + strings(b"entry", b"name", b"a", b"node") + FILE),
    "entry without name": (TOKEN, MAGIC + DIRECTORY + strings(b"entry", b"(", b"node") + FILE),
    "entry without node": (TOKEN, MAGIC + DIRECTORY + strings(b"entry", b"(", b"name", b"a", b")", b")")),
    "node before name": (TOKEN, MAGIC + DIRECTORY + strings(b"entry", b"(", b"node") + FILE + strings(b"name", b"a", b")", b")")),
    "name twice": (TOKEN, MAGIC + DIRECTORY + strings(b"entry", b"(", b"name", b"a", b"name", b"b", b"node") + FILE),
    "node twice": (TOKEN, MAGIC + DIRECTORY + strings(b"entry", b"(", b"name", b"a", b"node") + FILE + s(b"node") + FILE),
    "entry not closed": (TOKEN, MAGIC + DIRECTORY + strings(b"entry", b"(", b"name", b"a", b"node") + FILE + s(b"entry")),
    "directory closed by another word": (TOKEN, MAGIC + DIRECTORY + s(b"]")),
    "inner directory's entry not closed": (TOKEN, MAGIC + directory(entry(b"a", DIRECTORY + strings(b")", b"entry")))),
    "big file in an entry not closed": (TOKEN, MAGIC + directory(entry(b"a", REGULAR + s(BIG) + s(b"x")))),
    "entry of an unknown type": (TOKEN, MAGIC + directory(entry(b"a", strings(b"(", b"type", b"socket", b")")))),
    # Names.
    "empty name": (NAME, MAGIC + directory(entry(b""))),
    "dot": (NAME, MAGIC + directory(entry(b"."))),
    "dot dot": (NAME, MAGIC + directory(entry(b".."))),
    "dot dot as a directory": (NAME, MAGIC + directory(entry(b"..", EMPTY))),
    "slash": (NAME, MAGIC + directory(entry(b"a/b"))),
    "only a slash": (NAME, MAGIC + directory(entry(b"/"))),
    "absolute": (NAME, MAGIC + directory(entry(b"/etc/passwd"))),
    "climbing": (NAME, MAGIC + directory(entry(b"../../etc/passwd"))),
    "NUL": (NAME, MAGIC + directory(entry(b"a\0b"))),
    "NUL at the end": (NAME, MAGIC + directory(entry(b"a\0"))),
    "256 bytes": (NAME, MAGIC + directory(entry(b"n" * 256))),
    "a name of a gigabyte": (NAME, MAGIC + DIRECTORY + strings(b"entry", b"(", b"name") + u64(1 << 30) + b"n" * 100),
    "bad name on a deeper level": (NAME, MAGIC + directory(entry(b"a", directory(entry(b"b", LINK), entry(b"c/d"))))),
    # Order.
    "unsorted": (errors.UnsortedEntries, MAGIC + directory(entry(b"b"), entry(b"a"))),
    "unsorted by case": (errors.UnsortedEntries, MAGIC + directory(entry(b"a"), entry(b"B"))),
    "unsorted by length": (errors.UnsortedEntries, MAGIC + directory(entry(b"ab"), entry(b"a"))),
    "unsorted by signed bytes": (errors.UnsortedEntries, MAGIC + directory(entry(b"\xff"), entry(b"a"))),
    "unsorted behind a directory": (
        errors.UnsortedEntries,
        MAGIC + directory(entry(b"m", directory(entry(b"z"))), entry(b"a")),
    ),
    "unsorted inside": (errors.UnsortedEntries, MAGIC + directory(entry(b"m", directory(entry(b"z"), entry(b"y"))))),
    "duplicate": (errors.DuplicateEntry, MAGIC + directory(entry(b"a"), entry(b"a"))),
    "a symlink, then a directory of its name": (
        errors.DuplicateEntry,
        MAGIC + directory(entry(b"a", LINK), entry(b"a", directory(entry(b"passwd")))),
    ),
    "duplicate behind a directory": (errors.DuplicateEntry, MAGIC + directory(entry(b"a", EMPTY), entry(b"a"))),
    "duplicate of 255 bytes": (errors.DuplicateEntry, MAGIC + directory(entry(LONG), entry(LONG))),
    # Targets.
    "empty target": (TARGET, MAGIC + strings(b"(", b"type", b"symlink", b"target", b"", b")")),
    "NUL in a target": (TARGET, MAGIC + strings(b"(", b"type", b"symlink", b"target", b"a\0b", b")")),
    "target of 4096 bytes": (TARGET, MAGIC + strings(b"(", b"type", b"symlink", b"target", b"t" * 4096, b")")),
    "empty target in an entry": (TARGET, MAGIC + directory(entry(b"a", strings(b"(", b"type", b"symlink", b"target", b"", b")")))),
    "NUL in an entry's target": (
        TARGET,
        MAGIC + directory(entry(b"a", strings(b"(", b"type", b"symlink", b"target", b"\0", b")"))),
    ),
    "entry's target of 4096 bytes": (
        TARGET,
        MAGIC + directory(entry(b"a", strings(b"(", b"type", b"symlink", b"target", b"t" * 4096, b")"))),
    ),
    # Padding.
    "dirty padding of a word": (PADDING, MAGIC + u64(1) + b"(\0\0\0\0\0\0\x01" + FILE[16:]),
    "dirty padding of contents": (PADDING, MAGIC + content(u64(1), b"x\0\0\0\0\0\0\x01" + s(b")"))),
    "dirty padding of an entry's contents": (
        PADDING,
        MAGIC + directory(entry(b"a", content(u64(1), b"x\x01\0\0\0\0\0\0" + s(b")")))),
    ),
    "dirty padding of big contents": (PADDING, MAGIC + directory(entry(b"a", REGULAR + s(BIG)[:-1] + b"\x01" + s(b")")))),
    "dirty padding of a name": (
        PADDING,
        MAGIC
        + DIRECTORY
        + strings(b"entry", b"(", b"name")
        + u64(1)
        + b"a\0\0\0\0\0\0\x01"
        + s(b"node")
        + FILE
        + strings(b")", b")"),
    ),
    "dirty padding of a target": (
        PADDING,
        MAGIC + strings(b"(", b"type", b"symlink", b"target") + u64(1) + b"t\xff\0\0\0\0\0\0" + s(b")"),
    ),
    "dirty padding of an entry's target": (
        PADDING,
        MAGIC + directory(entry(b"a", strings(b"(", b"type", b"symlink", b"target") + u64(1) + b"t\0\0\0\xff\0\0\0" + s(b")"))),
    ),
    "dirty padding of the last closing": (PADDING, MAGIC + FILE[:-1] + b"\x01"),
    "dirty padding of a directory's closing": (PADDING, MAGIC + EMPTY[:-1] + b"\x01"),
    # Depth.
    "a file 65 deep": (errors.TooDeep, MAGIC + nested(65, FILE)),
    "a directory 65 deep": (errors.TooDeep, MAGIC + nested(65, EMPTY)),
    "a hundred thousand deep": (errors.TooDeep, MAGIC + nested(100_000, EMPTY)),
    "never closed": (errors.TooDeep, MAGIC + (DIRECTORY + strings(b"entry", b"(", b"name", b"d", b"node")) * 1000),
    # Lengths that lie.
    "contents of 2^63": (OVERFLOW, MAGIC + content(u64(1 << 63))),
    "contents of 2^64 - 1": (OVERFLOW, MAGIC + content(u64((1 << 64) - 1))),
    "contents of 2^64 - 8": (OVERFLOW, MAGIC + directory(entry(b"a", content(u64((1 << 64) - 8))))),
    "name of 2^64 - 1": (OVERFLOW, MAGIC + DIRECTORY + strings(b"entry", b"(", b"name") + u64((1 << 64) - 1) + bytes(64)),
    "target of 2^64 - 8": (OVERFLOW, MAGIC + strings(b"(", b"type", b"symlink", b"target") + u64((1 << 64) - 8) + bytes(64)),
    "word of 2^64 - 1": (OVERFLOW, MAGIC + u64((1 << 64) - 1) + bytes(64)),
    "contents of 2^62, cut": (CUT, MAGIC + content(u64(1 << 62))),
    "entry's contents of 2^62, cut": (CUT, MAGIC + directory(entry(b"a", content(u64(1 << 62))))),
    "contents longer than the rest": (CUT, MAGIC + content(u64(1000))),
    "entry's contents longer than the rest": (CUT, MAGIC + directory(entry(b"a", content(u64(1000))))),
    "contents shorter than they are": (PADDING, MAGIC + content(u64(1), b"xyz" + bytes(5) + s(b")"))),
    "contents a word shorter than they are": (TOKEN, MAGIC + content(u64(0), b")" * 8 + s(b")"))),
    # Ends too early.
    "directory not closed": (CUT, MAGIC + DIRECTORY),
    "directory not closed behind an entry": (CUT, MAGIC + DIRECTORY + entry(b"a")),
    "file not closed": (CUT, MAGIC + FILE[:-16]),
    "ends in padding": (CUT, MAGIC + FILE[:-1]),
    "ends in a length": (CUT, MAGIC + FILE[:-12]),
    "big file cut in its contents": (CUT, MAGIC + REGULAR + s(BIG)[:-100]),
    "big file cut in its padding": (CUT, MAGIC + REGULAR + s(BIG)[:-1]),
    "big file cut before its closing": (CUT, MAGIC + directory(entry(b"a", REGULAR + s(BIG)))[:-48]),
}


class Ignore:
    """A visitor that keeps nothing."""

    def enter_directory(self, name: bytes) -> None: ...

    def leave_directory(self) -> None: ...

    def file(self, name: bytes, executable: bool, contents: bytes) -> None: ...

    def large_file(self, name: bytes, executable: bool, size: int, pieces: Iterator[bytes]) -> None:  # noqa: ARG002
        for _ in pieces:
            pass

    def symlink(self, name: bytes, target: bytes) -> None: ...


def refusal(nar: bytes, step: int = 1 << 20) -> errors.InvalidNar:
    source = io.BytesIO(nar)
    with pytest.raises(errors.InvalidNar) as caught:
        read_nar(lambda wanted: source.read(min(wanted, step)), Ignore())
    return caught.value


@pytest.mark.parametrize("what", BAD)
def test_a_bad_archive_is_refused_with_its_own_error(what: str) -> None:
    kind, nar = BAD[what]
    error = refusal(nar)
    assert type(error) is kind, error
    offset = error.fields["offset"]
    assert isinstance(offset, int)
    assert 0 <= offset <= len(nar)
    assert str(offset) in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize("what", [what for what, (_, nar) in BAD.items() if len(nar) < 5000])
def test_the_verdict_is_the_same_when_bytes_come_one_by_one(what: str) -> None:
    kind, nar = BAD[what]
    whole, dribbled = refusal(nar), refusal(nar, step=1)
    assert type(dribbled) is kind
    assert dribbled.fields == whole.fields


def test_there_are_enough_of_them() -> None:
    assert len(BAD) >= 60
    assert {kind for kind, _ in BAD.values()} == set(errors.InvalidNar.__subclasses__()) - {
        errors.IncompleteTree,
        errors.WrongFileSize,
    }


VALID = MAGIC + directory(
    entry(b"bin", directory(entry(b"sh", strings(b"(", b"type", b"regular", b"executable", b"", b"contents", b"#!", b")")))),
    entry(b"empty", EMPTY),
    entry(b"link", LINK),
    entry(b"z"),
)


@pytest.mark.parametrize("nar", [VALID, MAGIC + FILE, MAGIC + LINK], ids=["directory", "file", "symlink"])
def test_every_cut_of_a_valid_archive_is_truncated(nar: bytes) -> None:
    for length in range(len(nar)):
        error = refusal(nar[:length])
        assert type(error) is errors.TruncatedNar
        assert error.fields["offset"] == length


def test_every_flipped_bit_is_refused_or_makes_another_archive_that_is_canonical() -> None:
    accepted = 0
    for bit in range(len(VALID) * 8):
        flipped = bytearray(VALID)
        flipped[bit // 8] ^= 1 << bit % 8
        copy = io.BytesIO()
        writer = NarWriter(copy.write)
        try:
            read_nar(io.BytesIO(flipped).read, writer)
        except errors.InvalidNar:
            continue
        writer.close()
        assert copy.getvalue() == flipped
        accepted += 1
    # Names, targets and contents can be other ones: 18 bytes of them here, minus what breaks order or is not allowed.
    assert 0 < accepted <= 18 * 8


class Endless:
    """A stream that begins with `head` and then gives zeros, `limit` bytes in all, without holding them."""

    def __init__(self, head: bytes, limit: int) -> None:
        self._head = head
        self._left = limit - len(head)

    def read(self, wanted: int) -> bytes:
        if self._head:
            piece, self._head = self._head[:wanted], self._head[wanted:]
            return piece
        size = min(wanted, self._left)
        self._left -= size
        return bytes(size)


def peak_bytes(head: bytes, limit: int) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(errors.InvalidNar):
            read_nar(Endless(head, limit).read, Ignore())
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "head",
    [
        MAGIC + REGULAR + u64(1 << 62),
        MAGIC + DIRECTORY + strings(b"entry", b"(", b"name", b"a", b"node") + REGULAR + u64(1 << 62),
        MAGIC + DIRECTORY + strings(b"entry", b"(", b"name") + u64(1 << 62),
        MAGIC + strings(b"(", b"type", b"symlink", b"target") + u64(1 << 62),
        MAGIC + u64(1 << 62),
        MAGIC + EMPTY,
        u64(1 << 62),
    ],
    ids=["contents", "entry's contents", "name", "target", "word", "after the end", "head"],
)
def test_no_length_makes_the_reader_take_memory(head: bytes) -> None:
    assert peak_bytes(head, 300 << 20) < 8 << 20


def test_many_files_of_the_largest_whole_size_take_no_more_memory() -> None:
    one = REGULAR + s(bytes(PIECE_BYTES))

    def archive() -> Iterator[bytes]:
        yield MAGIC + DIRECTORY
        for number in range(60):
            yield strings(b"entry", b"(", b"name", b"%03d" % number, b"node")
            yield one
            yield strings(b")", b")")
        yield s(b")")

    pieces = archive()
    rest = b""

    def read(wanted: int) -> bytes:
        nonlocal rest
        rest = rest or next(pieces, b"")
        piece, rest = rest[:wanted], rest[wanted:]
        return piece

    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        read_nar(read, Ignore())
        assert tracemalloc.get_traced_memory()[1] - before < 10 << 20
    finally:
        tracemalloc.stop()
