"""Bad archives are refused, each with its own error and place; nothing a NAR says makes the reader take memory or hang."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator

import pytest

from tvix.nix_compat.nar import errors
from tvix.nix_compat.nar.reader import PIECE_BYTES, read_nar
from tvix.nix_compat.nar.writer import NarWriter
from tvix.testing.bad_nars import BAD_NARS, DIRECTORY, EMPTY, FILE, LINK, MAGIC, REGULAR, directory, entry, s, strings, u64


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


@pytest.mark.parametrize("what", BAD_NARS)
def test_a_bad_archive_is_refused_with_its_own_error(what: str) -> None:
    identifier, nar = BAD_NARS[what]
    error = refusal(nar)
    assert error.identifier == identifier, error
    offset = error.fields["offset"]
    assert isinstance(offset, int)
    assert 0 <= offset <= len(nar)
    assert str(offset) in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize("what", [what for what, (_, nar) in BAD_NARS.items() if len(nar) < 5000])
def test_the_verdict_is_the_same_when_bytes_come_one_by_one(what: str) -> None:
    identifier, nar = BAD_NARS[what]
    whole, dribbled = refusal(nar), refusal(nar, step=1)
    assert dribbled.identifier == identifier
    assert dribbled.fields == whole.fields


def test_there_are_enough_of_them() -> None:
    assert len(BAD_NARS) >= 60
    of_writers = {errors.IncompleteTree, errors.WrongFileSize}
    kinds = set(errors.InvalidNar.__subclasses__()) - of_writers
    assert {identifier for identifier, _ in BAD_NARS.values()} == {kind.identifier for kind in kinds}


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
