"""What a hostile server may say to a mount, one lie at a time: a table, whose rows a test tells one by one.

A lie is prepared on a `Liar` (or is what a `Line` does to its bytes), is met by reading `read` of the store path `path`, and ends
in one of `errors`. It is told over each of `ways`: our protocol framed or over gRPC, or the published services alone.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from struct import pack
from typing import NamedTuple

from hostile_mounts import Tamper
from zstandard import ZstdCompressor

from tvix.castore.blobs.interface import Chunk
from tvix.castore.digests import Digest, digest_of
from tvix.castore.directory import Directory, encode_directory_entry, encode_file_entry
from tvix.castore.grpc_messages import encode_chunks
from tvix.castore.nodes import DirectoryNode, FileNode, Name, Node, SymlinkNode
from tvix.castore.transfer.closure_message import ClosurePart
from tvix.castore.transfer.framing import END, ERROR, HEADER, MESSAGE, Status, encode_status, record
from tvix.castore.transfer.messages import ANNOUNCEMENT, DIRECTORIES, Frame, encode_frame
from tvix.nix_compat.store_path import StorePath
from tvix.store.path_info import PathInfo
from tvix.store.path_info_codec import encode_path_info
from tvix.store.path_infos.batch_messages import encode_path_info_list
from tvix.testing.liar import EVIL, FILES, HONEST, TOLD, Liar, Tree, closure_frame, closure_part, tree_of

FRAMED, GRPC, V1 = "framed", "grpc", "v1"
OURS = (FRAMED, GRPC)
EVERY = (FRAMED, GRPC, V1)
EIO = frozenset((errno.EIO,))
ELOOP = frozenset((errno.ELOOP,))


class Lie(NamedTuple):
    """`known`: what is in the path has been looked at before, so the lie is about contents. `mends`: once the server is honest,
    what it lied about reads right."""

    name: str
    prepare: Callable[[Liar], object] = lambda _liar: None
    read: bytes = b"small"
    path: StorePath = TOLD
    errors: frozenset[int] = EIO
    ways: tuple[str, ...] = OURS
    tamper: Tamper | None = None
    known: bool = False
    mends: bool = True
    heals: bool = False


# Contents.

GARBAGE = bytes(range(1, 256)) * 3


def _columns(frame: Frame, contents: bytes) -> Frame:
    """A frame with these contents for its first item, and nothing for the others."""
    sizes = [len(contents), *[0] * (len(frame.ids) - 1)]
    return frame._replace(sizes=sizes, lengths=sizes, payload=contents)


def _stored(frame: Frame, said: int, stored: bytes) -> Frame:
    """A frame with one item, compressed, that is said to be of so many bytes."""
    return frame._replace(ids=frame.ids[:1], sizes=[said], lengths=[len(stored)], payload=stored)


def _contents(
    name: str, twist: Callable[[Frame], Iterable[Frame | bytes]], read: bytes = b"small", ways: tuple[str, ...] = (FRAMED,)
) -> Lie:
    def prepare(liar: Liar) -> None:
        liar.items = lambda _liar, frame: twist(frame)

    return Lie(name, prepare, read, ways=ways)


def _payload(change: Callable[[bytes], bytes]) -> Callable[[Frame], list[Frame | bytes]]:
    return lambda frame: [_columns(frame, change(bytes(frame.payload)))]


CONTENTS = [
    _contents("one bit", _payload(lambda small: bytes((small[0] ^ 1,)) + small[1:])),
    _contents("a byte too few", _payload(lambda small: small[:-1])),
    _contents("a byte too many", _payload(lambda small: small + b"\0")),
    _contents("nothing", _payload(lambda _small: b"")),
    _contents("another file of the same size", _payload(lambda _small: FILES[b"other"])),
    _contents("one bit of a large one", _payload(lambda piece: piece[:-1] + bytes((piece[-1] ^ 128,))), b"large", ways=OURS),
    _contents("pieces exchanged", lambda frame: [frame._replace(payload=bytes(frame.payload)[::-1])], b"large"),
    _contents("it is missing", lambda frame: [Frame(missing=frame.ids)], ways=OURS),
    _contents("something else is missing", lambda frame: [Frame(missing=[number + 1000 for number in frame.ids]), frame]),
    _contents("it comes twice", lambda frame: [_columns(frame, b"?"), frame]),
    _contents("twice in one", lambda frame: [_columns(frame._replace(ids=[*frame.ids, frame.ids[0]]), b"?")]),
    _contents("by an id that nobody chose", lambda frame: [frame._replace(ids=[number + 1000 for number in frame.ids])]),
    _contents("by an id that is the server's", lambda frame: [frame._replace(ids=[1 << 31 for _ in frame.ids])]),
    _contents("no zstd", lambda frame: [_stored(frame, 1000, GARBAGE)], ways=OURS),
    _contents("zstd cut short", lambda frame: [_stored(frame, 1000, ZstdCompressor().compress(FILES[b"text"])[:-4])]),
    _contents("4 GiB out of a few bytes", lambda frame: [_stored(frame, 0xFFFFFFFF, GARBAGE)]),
    _contents("a bomb that says it is small", lambda frame: [_stored(frame, 1000, ZstdCompressor().compress(bytes(1 << 28)))]),
    _contents("a bomb of the largest size", lambda frame: [_stored(frame, 1 << 24, ZstdCompressor().compress(bytes(1 << 24)))]),
    _contents("more columns than one", lambda frame: [encode_frame(frame) + b"\x12\x04\0\0\0\0"]),
    _contents("a payload that is too long", lambda frame: [frame._replace(payload=bytes(frame.payload) + b"more")]),
    _contents("a message cut short", lambda frame: [encode_frame(frame)[:-7]], ways=OURS),
    _contents("garbage", lambda _frame: [GARBAGE], ways=OURS),
    _contents("a varint without an end", lambda _frame: [b"\xff" * 5000]),
    _contents("a hot set, unasked", lambda frame: [Frame(kind=ANNOUNCEMENT, root=HONEST.digest + bytes(12)), frame]),
    _contents("a closure, unasked", lambda frame: [Frame(kind=DIRECTORIES, root=bytes(32), payload=bytes(4)), frame]),
    _contents("a kind that there isn't", lambda frame: [frame._replace(kind=77)]),
    _contents("a thousand empty frames", lambda _frame: [Frame()] * 1000, ways=OURS),
]


def _published(name: str, twist: Callable[[Liar, list[bytes]], Iterable[bytes]], read: bytes = b"small") -> Lie:
    def prepare(liar: Liar) -> None:
        liar.answers["BlobService/Read"] = twist

    return Lie(name, prepare, read, ways=(V1,))


def _flood(_liar: Liar, answers: list[bytes]) -> Iterator[bytes]:
    """A blob of a thousand bytes that goes on for as long as somebody takes it."""
    while True:
        yield answers[0]


PUBLISHED = [
    _published("one bit", lambda _liar, answers: [answers[0][:-1] + bytes((answers[0][-1] ^ 1,)), *answers[1:]]),
    _published("a message less", lambda _liar, answers: answers[:-1], b"large"),
    _published("no message", lambda _liar, _answers: []),
    _published("in another order", lambda _liar, answers: answers[::-1], b"large"),
    _published("a message more", lambda _liar, answers: [*answers, answers[0]]),
    _published("no protobuf", lambda _liar, _answers: [GARBAGE]),
    _published("without an end", _flood),
]

# Chunk lists. Believed or not, a file whose list is wrong never reads to its end.


def _list(name: str, change: Callable[[Liar], list[Chunk]]) -> Lie:
    def twist(liar: Liar, frame: Frame) -> list[Frame | bytes]:
        part = closure_part(frame)
        return [closure_frame(frame, ClosurePart(part.directories, {liar.digest(b"large"): change(liar)}))]

    def prepare(liar: Liar) -> None:
        liar.closures = twist
        liar.answers["BlobService/Stat"] = lambda liar, answers: [encode_chunks(change(liar))] if answers[0] else answers

    return Lie(f"a list: {name}", prepare, b"large", ways=EVERY, mends=False, heals=True)


def _swapped(liar: Liar) -> list[Chunk]:
    first, second, *rest = liar.chunks
    return [second, first, *rest]


LISTS = [
    _list("in another order", _swapped),
    _list("backwards", lambda liar: liar.chunks[::-1]),
    _list(
        "chunks that aren't there", lambda liar: [Chunk(digest_of(bytes((n,))), size) for n, (_, size) in enumerate(liar.chunks)]
    ),
    _list("sizes of others", lambda liar: _moved(liar.chunks)),
    _list("the first chunk again and again", lambda liar: [Chunk(liar.chunks[0].digest, size) for _, size in liar.chunks]),
]


def _moved(chunks: list[Chunk]) -> list[Chunk]:
    """A byte less for the first, a byte more for the second: the sum is right."""
    first, second, *rest = chunks
    return [Chunk(first.digest, first.size - 1), Chunk(second.digest, second.size + 1), *rest]


# Closures.


def _closure(name: str, change: Callable[[Liar, list[bytes]], list[bytes]], heals: bool = False) -> Lie:
    """Other directories than those that were asked for."""

    def twist(liar: Liar, frame: Frame) -> list[Frame | bytes]:
        part = closure_part(frame)
        return [closure_frame(frame, ClosurePart(change(liar, list(part.directories)), part.chunk_lists))]

    def prepare(liar: Liar) -> None:
        liar.closures = twist
        liar.answers["DirectoryService/Get"] = lambda _liar, answers: change(liar, answers)

    return Lie(f"a closure: {name}", prepare, b"dir", ways=EVERY, heals=heals)


def _frames(name: str, twist: Callable[[Frame], Iterable[Frame | bytes]]) -> Lie:
    def prepare(liar: Liar) -> None:
        liar.closures = lambda _liar, frame: twist(frame)

    return Lie(f"a closure: {name}", prepare, b"dir")


def _first(frame: Frame) -> Frame:
    """The first directory, and a promise of more."""
    part = closure_part(frame)
    return closure_frame(frame, ClosurePart(part.directories[:1], {}))._replace(more=True)


_LEAF = Directory.of([(Name(b"x"), FileNode(digest_of(b""), 0, False))])

CLOSURES = [
    _closure("of a stranger", lambda _liar, _directories: [Directory.of([]).encoded]),
    _closure("with a stranger", lambda _liar, directories: [directories[0], _LEAF.encoded, *directories[1:]], heals=True),
    _closure("without what is below", lambda _liar, directories: directories[:1], heals=True),
    _closure("children first", lambda _liar, directories: directories[::-1]),
    _closure("nothing at all", lambda _liar, _directories: []),
    _closure("cut short", lambda _liar, directories: [directories[0][:-3]]),
    _closure("garbage", lambda _liar, _directories: [GARBAGE]),
    _frames("of another root", lambda frame: [frame._replace(root=bytes(32))]),
    _frames("of no root", lambda frame: [frame._replace(root=b"")]),
    _frames("4 GiB out of a few bytes", lambda frame: [frame._replace(payload=GARBAGE, codec=1, raw_size=0xFFFFFFFF)]),
    _frames("a bomb", lambda frame: [frame._replace(payload=ZstdCompressor().compress(bytes(1 << 28)), codec=1, raw_size=1 << 10)]),
    _frames("2^32 directories", lambda frame: [frame._replace(payload=b"\xff" * 400, codec=0)]),
    _frames("without an end", lambda frame: [_first(frame)]),
]

# What is made up: the server's word is all there is for what `evil` is, so the digests are right and the contents are at fault.


def _evil(name: str, tree: Callable[[], Tree], read: bytes = b"", errors: frozenset[int] = EIO) -> Lie:
    return Lie(f"made up: {name}", lambda liar: liar.make_up(tree()), read, EVIL, errors, (FRAMED, V1), mends=False)


def _named(*names: bytes) -> Tree:
    """A root with files of these names."""
    return tree_of(b"".join(encode_file_entry(name, digest_of(b""), 0, False) for name in names), size=2 * len(names))


def _long(key: int, name: bytes, rest: bytes) -> bytes:
    """An entry that no honest encoder makes."""
    body = b"\x0a" + bytes((len(name) & 127 | 128, len(name) >> 7)) + name + rest
    return bytes((key, len(body) & 127 | 128, len(body) >> 7)) + body


def _link(target: bytes) -> Tree:
    length = bytes((len(target) & 127 | 128, len(target) >> 7 & 127 | 128, len(target) >> 14))
    body = b"\x0a\x01l\x12" + length + target
    length = bytes((len(body) & 127 | 128, len(body) >> 7 & 127 | 128, len(body) >> 14))
    return tree_of(b"\x1a" + length + body)


def _cycle() -> Tree:
    """Two directories, each under a name that the other uses: neither can have it."""
    one, other = Digest(b"\1" * 32), Digest(b"\2" * 32)
    return tree_of(encode_directory_entry(b"b", other, 2), encode_directory_entry(b"a", one, 2), root=one, size=2)


def _itself() -> Tree:
    one = Digest(b"\1" * 32)
    return tree_of(encode_directory_entry(b"d", one, 2), root=one, size=2)


def _loop() -> Tree:
    links: list[tuple[Name, Node]] = [(Name(b"a"), SymlinkNode(b"b")), (Name(b"b"), SymlinkNode(b"a"))]
    return tree_of(Directory.of(links).encoded, size=4)


def _millions() -> Tree:
    """A directory of 10^6 files, 44 MB."""
    empty = digest_of(b"")
    tail = b"\x12\x20" + empty
    body = b"".join(b"\x12\x2b\x0a\x07%07d" % number + tail for number in range(1_000_000))
    return tree_of(body, size=2_000_000)


def _wide() -> Tree:
    """Three directories of 1000, the first of which doesn't come."""
    empty = digest_of(b"")
    leaves = [
        Directory.of([(Name(b"%03d-%d" % (number, n)), FileNode(empty, 0, False)) for n in range(1000)]) for number in range(3)
    ]
    root = Directory.of([(Name(b"%03d" % number), leaf.node) for number, leaf in enumerate(leaves)])
    return Tree(DirectoryNode(root.digest, root.size), {root.digest: [root.encoded, *(leaf.encoded for leaf in leaves[1:])]})


def _deep() -> Tree:
    """10,000 directories one in the other, and what is said to be in the last isn't there."""
    levels = [Directory.of([(Name(b"d"), DirectoryNode(digest_of(b"absent"), 2))])]
    for _ in range(9_999):
        levels.append(Directory.of([(Name(b"d"), levels[-1].node)]))
    levels.reverse()
    return tree_of(*(level.encoded for level in levels), size=levels[0].size)


def _node(node: Node) -> Callable[[], Tree]:
    return partial(Tree, node)


def _file_said_to_have(size: int) -> Tree:
    root = Directory.of([(Name(b"f"), FileNode(digest_of(FILES[b"small"]), size, False))])
    return tree_of(root.encoded)


EVILS = [
    _evil("..", lambda: _named(b"..")),
    _evil(".", lambda: _named(b".")),
    _evil("a slash", lambda: _named(b"../../etc/passwd")),
    _evil("NUL", lambda: _named(b"a\0b")),
    _evil("no name", lambda: _named(b"")),
    _evil("a name of 256", lambda: tree_of(_long(0x12, b"n" * 256, b"\x12\x20" + bytes(32)))),
    _evil("a name twice", lambda: _named(b"a", b"a")),
    _evil("names in another order", lambda: _named(b"b", b"a")),
    _evil(
        "a name for two kinds",
        lambda: tree_of(
            encode_directory_entry(b"a", _LEAF.digest, 2) + encode_file_entry(b"a", digest_of(b""), 0, False), _LEAF.encoded, size=6
        ),
    ),
    _evil("a digest of 31 bytes", lambda: tree_of(b"\x12\x25\x0a\x01a\x12\x1f" + bytes(31) + b"\x18\x01")),
    _evil("an unknown field", lambda: tree_of(_LEAF.encoded + b"\x22\x00")),
    _evil("a default written out", lambda: tree_of(b"\x12\x27\x0a\x01a\x12\x20" + bytes(32) + b"\x18\x00")),
    _evil("a link to nothing", lambda: tree_of(b"\x1a\x05\x0a\x01l\x12\x00")),
    _evil("a link with NUL", lambda: _link(b"a\0b")),
    _evil("a link of 100,000", lambda: _link(b"t" * 100_000)),
    _evil("links in a circle", _loop, b"a", ELOOP),
    _evil("a path that is a link to itself", _node(SymlinkNode(EVIL.basename.encode())), b"", ELOOP),
    _evil("a directory in itself", _itself),
    _evil("two directories in each other", _cycle),
    _evil("a child that isn't there", lambda: tree_of(encode_directory_entry(b"d", digest_of(b"absent"), 2), size=4), b"d"),
    _evil("a child that is a file", lambda: tree_of(encode_directory_entry(b"d", digest_of(FILES[b"small"]), 2), size=4), b"d"),
    _evil("a child of another size", lambda: tree_of(encode_directory_entry(b"d", _LEAF.digest, 7), _LEAF.encoded, size=9), b"d"),
    _evil("sizes beyond 64 bits", lambda: tree_of(encode_directory_entry(b"d", _LEAF.digest, (1 << 64) - 1), _LEAF.encoded), b"d"),
    _evil("a file a byte too long", lambda: _file_said_to_have(1001), b"f"),
    _evil("a file a byte too short", lambda: _file_said_to_have(999), b"f"),
    _evil("a file of 2^62 bytes", lambda: _file_said_to_have(1 << 62), b"f"),
    _evil("a file of 2^64 bytes", lambda: _file_said_to_have((1 << 64) - 1), b"f", frozenset((errno.EIO, errno.EOVERFLOW))),
    _evil("a file that isn't there", _node(FileNode(digest_of(b"absent"), 6, False))),
    _evil("a file that is a directory", _node(FileNode(_LEAF.digest, 100, True))),
    _evil("a directory that is a file", _node(DirectoryNode(digest_of(FILES[b"small"]), 2))),
    _evil("10^6 entries", _millions),
    _evil("directories, but not all", _wide, b"000"),
    _evil("depth 10,000", _deep, b"d/" * 10_000, frozenset((errno.ENAMETOOLONG, errno.EIO))),
]

# Path infos.


def _info(name: str, twist: Callable[[bytes], list[bytes]], errors: frozenset[int] = EIO) -> Lie:
    """`twist` makes of an encoded path info those that are told."""

    def prepare(liar: Liar) -> None:
        honest = encode_path_info(PathInfo(TOLD, liar.root.node, 1, bytes(32)))
        liar.answers["PathInfos/GetMany"] = lambda _liar, _answers: [encode_path_info_list(twist(honest))]
        liar.answers["PathInfoService/Get"] = lambda _liar, _answers: (twist(honest) or [b""])[:1]

    return Lie(f"a path info: {name}", prepare, b"", errors=errors, ways=EVERY)


def _other(path: StorePath) -> bytes:
    return encode_path_info(PathInfo(path, SymlinkNode(b"/etc/passwd"), 1, bytes(32)))


INFOS = [
    _info("of another path", lambda _honest: [_other(HONEST)]),
    _info("garbage", lambda _honest: [GARBAGE]),
    _info("cut short", lambda honest: [honest[:-9]]),
    _info("without a node", lambda honest: [honest[honest.index(b"\x1a\x24") :] if b"\x1a\x24" in honest else b""]),
    _info("of `..`", lambda honest: [honest.replace(TOLD.basename.encode(), b"../" * 12 + b"x")]),
    _info("with NUL in its name", lambda honest: [honest.replace(b"-told", b"-t\0ld")]),
]

# The line itself: whoever sits on it can do no more than a server.


def _cut(_liar: Liar, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Half of what is said, and then nothing more."""
    piece = next(pieces)
    yield piece[: len(piece) // 2]


def _silence(liar: Liar, _pieces: Iterator[bytes]) -> Iterator[bytes]:
    liar.over.wait()
    yield from ()


def _drip(liar: Liar, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The right bytes, ten a second."""
    for piece in pieces:
        for offset in range(len(piece)):
            yield piece[offset : offset + 1]
            if liar.over.wait(0.1):
                return


def _then(*said: bytes) -> Tamper:
    def tamper(liar: Liar, _pieces: Iterator[bytes]) -> Iterator[bytes]:
        yield from said
        liar.over.wait(2)

    return tamper


def _chatter(liar: Liar, _pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Records without anything in them, for as long as somebody takes them."""
    while not liar.over.wait(0.01):
        yield record(MESSAGE) * 100


def _lines(name: str, tamper: Tamper, ways: tuple[str, ...] = (FRAMED,)) -> list[Lie]:
    """Told before anything is known of the path (for which our own protocol will do), and once its directories are."""
    early = [Lie(f"on the line: {name}", tamper=tamper, ways=ways[:1])]
    return [*early, Lie(f"on the line: {name}, later", tamper=tamper, ways=ways, known=True)]


LINES = [
    *_lines("cut off", _cut, EVERY),
    *_lines("silence", _silence, EVERY),
    *_lines("a drip", _drip, EVERY),
    *_lines("garbage", _then(GARBAGE), EVERY),
    *_lines("2 GiB to come", _then(HEADER.pack(1 << 31, MESSAGE), bytes(1 << 16))),
    *_lines("16 MiB to come, which don't", _then(HEADER.pack(1 << 24, MESSAGE), bytes(1 << 17))),
    *_lines("a kind that there isn't", _then(record(9, b"x"))),
    *_lines("the end at once", _then(record(END))),
    *_lines("empty records without an end", _chatter),
    *_lines("an error that is none", _then(record(ERROR, GARBAGE))),
    *_lines(
        "an error of its own making", _then(record(ERROR, encode_status(Status("NO\nSUCH", "\x1b[2J" * 9999, "a\0b", "[[[["))))
    ),
    *_lines("that it isn't there", _then(record(ERROR, encode_status(Status("UNIMPLEMENTED", "no"))))),
    *_lines("a web page", _then(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n<html>")),
    *_lines("a status of HTTP/2", _then(b"\0\0\x12\4\0\0\0\0\0" + pack(">HI", 4, 1 << 20) * 3), (GRPC, V1)),
]

LIES = [*CONTENTS, *PUBLISHED, *LISTS, *CLOSURES, *EVILS, *INFOS, *LINES]
