"""A server of `Fetch` that tests can have say anything: asks go in, and the frames that come out are the test's to choose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import NamedTuple

from tvix.castore.addresses import Castore
from tvix.castore.blobs.interface import Buffer, Chunk
from tvix.castore.digests import Digest
from tvix.castore.transfer.closure_message import ClosurePart, encode_closure_part
from tvix.castore.transfer.hot_set import Key, encode_keys
from tvix.castore.transfer.messages import ANNOUNCED, ANNOUNCEMENT, DIRECTORIES, Ask, Frame, decode_ask, encode_frame


class Wanted(NamedTuple):
    """One item that was asked for."""

    id: int
    key: Key
    priority: int


class FetchServer:
    """What it has is `store`; `lists` are the chunk lists that it tells, true or not; `hot` is the hot set of every root."""

    def __init__(
        self,
        store: Castore,
        lists: Mapping[Digest, Sequence[Chunk]] | None = None,
        hot: Sequence[Key] = (),
        extra: Iterable[Buffer] = (),
    ) -> None:
        self.store = store
        self.lists = lists or {}
        self.hot = list(hot)
        self.asks: list[Ask] = []
        self.wanted: list[Wanted] = []
        self.promoted: list[int] = []
        self.openings: list[Ask] = []
        self.sent_bytes = 0
        self.seen: list[Key] = []
        """Every item that was ever asked for."""
        from tvix.castore.digests import digest_of

        self.contents = {digest_of(contents): bytes(contents) for contents in extra}

    def hear(self, messages: Iterable[bytes]) -> list[Ask]:
        """Asks arrive."""
        asks = [decode_ask(message) for message in messages]
        for ask in asks:
            self.asks.append(ask)
            self.promoted += ask.promote
            offsets, lengths = ask.offsets or [0] * len(ask.ids), ask.lengths or [0] * len(ask.ids)
            for number, digest, offset, length in zip(ask.ids, ask.digests, offsets, lengths, strict=True):
                self.wanted.append(Wanted(number, Key(digest, offset, length), ask.priority))
                self.seen.append(Key(digest, offset, length))
            if ask.root:
                self.openings.append(ask)
        return asks

    def find(self, key: Key) -> bytes | None:
        """The contents of an item."""
        contents = self.contents.get(key.digest)
        if contents is None:
            for _digest, found in self.store.blobs.read_many([key.digest]):
                contents = None if found is None else bytes(found)
        if contents is None:
            return None
        return contents[key.offset : key.offset + key.length] if key.length else contents[key.offset :]

    def answer(self, wanted: Sequence[Wanted], contents: Sequence[bytes] | None = None) -> bytes:
        """A frame with these, which are then not wanted any more; with other `contents`, if the test lies."""
        for one in wanted:
            if one in self.wanted:
                self.wanted.remove(one)
        found = [self.find(one.key) for one in wanted] if contents is None else list(contents)
        here = [(one.id, item) for one, item in zip(wanted, found, strict=True) if item is not None]
        missing = [one.id for one, item in zip(wanted, found, strict=True) if item is None]
        sizes = [len(item) for _number, item in here]
        self.sent_bytes += sum(sizes)
        return encode_frame(
            Frame([number for number, _item in here], sizes, sizes, b"".join(item for _number, item in here), missing)
        )

    def some(self, random: Random) -> bytes:
        """A frame with some of what is wanted, in any order, the most urgent not necessarily first."""
        chosen = random.sample(self.wanted, random.randint(1, min(len(self.wanted), 8)))
        return self.answer(chosen)

    def open(self, parts: int = 1) -> list[bytes]:
        """What the oldest opening is answered with."""
        ask = self.openings.pop(0)
        root = Digest(bytes(ask.root))
        frames = []
        if ask.push:
            frames.append(encode_frame(Frame(payload=encode_keys(self.hot), kind=ANNOUNCEMENT, root=root, first=ANNOUNCED)))
            self.wanted += [Wanted(number, key, 5) for number, key in enumerate(self.hot, ANNOUNCED)]
        if ask.closure:
            directories = [directory.encoded for directory in self.store.directories.closure(root)]
            frames += self.closure_frames(root, directories, parts)
        return frames

    def closure_frames(self, root: Digest, directories: Sequence[bytes], parts: int = 1) -> list[bytes]:
        """A closure of these directories, whatever they are."""
        step = max(1, -(-len(directories) // parts))
        pieces = [directories[start : start + step] for start in range(0, len(directories), step)] or [()]
        return [
            encode_frame(
                Frame(
                    payload=encode_closure_part(ClosurePart(piece, self.lists if number == 0 else {})),
                    kind=DIRECTORIES, root=root, more=number < len(pieces) - 1,
                )
            )
            for number, piece in enumerate(pieces)
        ]  # fmt: skip

    def restart(self) -> None:
        """The connection is gone, and what was asked with it."""
        self.wanted.clear()
        self.openings.clear()
