"""Archives that must be refused, each with the identifier of its error: for the reader, and for whatever takes NARs from elsewhere.

They are put together from plain strings, so that nothing of the code under test decides what they look like. What readers elsewhere
got wrong is among them: depth (CVE-2026-44028), lengths near 2^64, names that climb, names that come twice.
"""

from __future__ import annotations

_PIECE_BYTES = 1 << 20


def u64(number: int) -> bytes:
    """A length."""
    return number.to_bytes(8, "little")


def s(text: bytes) -> bytes:
    """One string."""
    return u64(len(text)) + text + bytes(-len(text) % 8)


def strings(*texts: bytes) -> bytes:
    """Several strings."""
    return b"".join(map(s, texts))


MAGIC = s(b"nix-archive-1")
REGULAR = strings(b"(", b"type", b"regular", b"contents")
FILE = REGULAR + strings(b"x", b")")
LINK = strings(b"(", b"type", b"symlink", b"target", b"x", b")")
DIRECTORY = strings(b"(", b"type", b"directory")
EMPTY = DIRECTORY + s(b")")


def entry(name: bytes, node: bytes = FILE) -> bytes:
    """An entry of a directory."""
    return strings(b"entry", b"(", b"name", name, b"node") + node + s(b")")


def directory(*entries: bytes) -> bytes:
    """A directory of such entries."""
    return DIRECTORY + b"".join(entries) + s(b")")


def nested(depth: int, innermost: bytes) -> bytes:
    """Directories in directories, `innermost` in the last."""
    head = DIRECTORY + strings(b"entry", b"(", b"name", b"d", b"node")
    return head * depth + innermost + strings(b")", b")") * depth


def content(size: bytes, rest: bytes = b"x" + bytes(7) + s(b")")) -> bytes:
    """A file whose size is said to be `size`."""
    return REGULAR + size + rest


LONG = b"n" * 255
WORD = "nar.unexpected-token"
NAME = "nar.invalid-name"
TARGET = "nar.invalid-symlink-target"
CUT = "nar.truncated"
PADDING = "nar.nonzero-padding"
OVERFLOW = "nar.length-overflow"
NOT_A_NAR = "nar.not-a-nar"
TRAILING = "nar.trailing-data"
UNSORTED = "nar.unsorted"
DUPLICATE = "nar.duplicate"
DEEP = "nar.too-deep"
BIG = bytes(_PIECE_BYTES + 1)

BAD_NARS: dict[str, tuple[str, bytes]] = {
    # Head and end.
    "nothing": (CUT, b""),
    "half a head": (CUT, MAGIC[:13]),
    "only a head": (CUT, MAGIC),
    "a zip file": (NOT_A_NAR, b"PK\x03\x04" + bytes(100)),
    "an xz file": (NOT_A_NAR, b"\xfd7zXZ\0" + bytes(100)),
    "another version": (NOT_A_NAR, s(b"nix-archive-2") + FILE),
    "head with dirty padding": (NOT_A_NAR, MAGIC[:-1] + b"\x01" + FILE),
    "head with a huge length": (NOT_A_NAR, u64(1 << 63) + MAGIC[8:] + FILE),
    "a byte after a file": (TRAILING, MAGIC + FILE + b"\0"),
    "a byte after a directory": (TRAILING, MAGIC + EMPTY + b"x"),
    "two archives": (TRAILING, (MAGIC + EMPTY) * 2),
    "a megabyte of zeros after": (TRAILING, MAGIC + LINK + BIG),
    "a closing too many": (TRAILING, MAGIC + EMPTY + s(b")")),
    # Grammar at the root.
    "empty root": (WORD, MAGIC + strings(b"(", b")")),
    "no parenthesis": (WORD, MAGIC + strings(b"type", b"regular")),
    "unknown type": (WORD, MAGIC + strings(b"(", b"type", b"fifo", b")")),
    "empty type": (WORD, MAGIC + strings(b"(", b"type", b"", b")")),
    "type twice": (WORD, MAGIC + strings(b"(", b"type", b"regular", b"type", b"regular", b"contents", b"", b")")),
    "type in capitals": (WORD, MAGIC + strings(b"(", b"type", b"Directory", b")")),
    "file without contents": (WORD, MAGIC + strings(b"(", b"type", b"regular", b")")),
    "contents twice": (WORD, MAGIC + strings(b"(", b"type", b"regular", b"contents", b"", b"contents", b"", b")")),
    "contents before executable": (
        WORD,
        MAGIC + strings(b"(", b"type", b"regular", b"contents", b"", b"executable", b"", b")"),
    ),
    "executable with a value": (
        WORD,
        MAGIC + strings(b"(", b"type", b"regular", b"executable", b"yes", b"contents", b"", b")"),
    ),
    "executable with a long value": (
        WORD,
        MAGIC + strings(b"(", b"type", b"regular", b"executable", b"y" * 99, b"contents", b"", b")"),
    ),
    "executable without contents": (WORD, MAGIC + strings(b"(", b"type", b"regular", b"executable", b"", b")")),
    "symlink without target": (WORD, MAGIC + strings(b"(", b"type", b"symlink", b")")),
    "symlink with contents": (WORD, MAGIC + strings(b"(", b"type", b"symlink", b"contents", b"x", b")")),
    "target twice": (WORD, MAGIC + strings(b"(", b"type", b"symlink", b"target", b"a", b"target", b"b", b")")),
    "directory with contents": (WORD, MAGIC + DIRECTORY + strings(b"contents", b"", b")")),
    "a word of 33 bytes": (WORD, MAGIC + s(b"(" * 33)),
    "a word of a gigabyte": (WORD, MAGIC + u64(1 << 30) + b"(" * 100),
    "big file not closed": (WORD, MAGIC + REGULAR + s(BIG) + s(b"(")),
    # Grammar of entries.
    "entry without parenthesis": (WORD, MAGIC + DIRECTORY + strings(b"entry", b"name", b"a", b"node") + FILE),
    "entry without name": (WORD, MAGIC + DIRECTORY + strings(b"entry", b"(", b"node") + FILE),
    "entry without node": (WORD, MAGIC + DIRECTORY + strings(b"entry", b"(", b"name", b"a", b")", b")")),
    "node before name": (WORD, MAGIC + DIRECTORY + strings(b"entry", b"(", b"node") + FILE + strings(b"name", b"a", b")", b")")),
    "name twice": (WORD, MAGIC + DIRECTORY + strings(b"entry", b"(", b"name", b"a", b"name", b"b", b"node") + FILE),
    "node twice": (WORD, MAGIC + DIRECTORY + strings(b"entry", b"(", b"name", b"a", b"node") + FILE + s(b"node") + FILE),
    "entry not closed": (WORD, MAGIC + DIRECTORY + strings(b"entry", b"(", b"name", b"a", b"node") + FILE + s(b"entry")),
    "directory closed by another word": (WORD, MAGIC + DIRECTORY + s(b"]")),
    "inner directory's entry not closed": (WORD, MAGIC + directory(entry(b"a", DIRECTORY + strings(b")", b"entry")))),
    "big file in an entry not closed": (WORD, MAGIC + directory(entry(b"a", REGULAR + s(BIG) + s(b"x")))),
    "entry of an unknown type": (WORD, MAGIC + directory(entry(b"a", strings(b"(", b"type", b"socket", b")")))),
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
    "unsorted": (UNSORTED, MAGIC + directory(entry(b"b"), entry(b"a"))),
    "unsorted by case": (UNSORTED, MAGIC + directory(entry(b"a"), entry(b"B"))),
    "unsorted by length": (UNSORTED, MAGIC + directory(entry(b"ab"), entry(b"a"))),
    "unsorted by signed bytes": (UNSORTED, MAGIC + directory(entry(b"\xff"), entry(b"a"))),
    "unsorted behind a directory": (
        UNSORTED,
        MAGIC + directory(entry(b"m", directory(entry(b"z"))), entry(b"a")),
    ),
    "unsorted inside": (UNSORTED, MAGIC + directory(entry(b"m", directory(entry(b"z"), entry(b"y"))))),
    "duplicate": (DUPLICATE, MAGIC + directory(entry(b"a"), entry(b"a"))),
    "a symlink, then a directory of its name": (
        DUPLICATE,
        MAGIC + directory(entry(b"a", LINK), entry(b"a", directory(entry(b"passwd")))),
    ),
    "duplicate behind a directory": (DUPLICATE, MAGIC + directory(entry(b"a", EMPTY), entry(b"a"))),
    "duplicate of 255 bytes": (DUPLICATE, MAGIC + directory(entry(LONG), entry(LONG))),
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
    "a file 65 deep": (DEEP, MAGIC + nested(65, FILE)),
    "a directory 65 deep": (DEEP, MAGIC + nested(65, EMPTY)),
    "a hundred thousand deep": (DEEP, MAGIC + nested(100_000, EMPTY)),
    "never closed": (DEEP, MAGIC + (DIRECTORY + strings(b"entry", b"(", b"name", b"d", b"node")) * 1000),
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
    "contents a word shorter than they are": (WORD, MAGIC + content(u64(0), b")" * 8 + s(b")"))),
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
"""By what is wrong: the identifier of the error, and the archive."""
