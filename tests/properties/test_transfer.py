"""The scheduler in networks that delay, reorder, cut, repeat and corrupt: nobody sees a wrong byte, nobody waits for ever.

Two servers: one that answers in any order it likes and lies now and then, and the one that we ship, over cuts alone.
"""

from __future__ import annotations

import os
from random import Random

import pytest

from tvix.castore.blobs.interface import Chunk
from tvix.castore.digests import Digest, digest_of
from tvix.castore.directory import Directory
from tvix.castore.nodes import FileNode, Name
from tvix.castore.transfer import near_end
from tvix.castore.transfer.hot_set import Key
from tvix.castore.transfer.messages import CLOSURE, FOREGROUND, SIBLINGS
from tvix.castore.transfer.receiving import ServerMisbehaves
from tvix.castore.transfer.scheduler import Scheduler
from tvix.errors import TvixError
from tvix.grpc_api.fetch_session import FetchSession, FetchSource
from tvix.testing.fetch_ends import memory, noise
from tvix.testing.fetch_server import FetchServer

pytestmark = pytest.mark.soak
RUNS = 400 if os.environ.get("TVIX_SOAK") == "1" else 40
DEADLINE = 30.0


class World:
    """A tree of small and large blobs, a client with a small near end, and the reads that it makes."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.now = 0.0
        self.far = memory()
        self.blobs: dict[Digest, bytes] = {}
        self.lists: dict[Digest, list[Chunk]] = {}
        self.pieces: list[bytes] = []
        for number in range(random.randint(3, 12)):
            self._add(number, large=number % 3 == 0)
        nodes = [
            (Name(b"%d" % number), FileNode(digest, len(self.blobs[digest]), False)) for number, digest in enumerate(self.blobs)
        ]
        root = Directory.of(nodes)
        self.root = self.far.directories.put([root])
        near = memory(random.choice([None, 64 << 10, 1 << 20]))
        self.scheduler = Scheduler(near, "far", trusts_lists=random.random() < 0.5, clock=lambda: self.now)
        self.reads = 0
        self.answers: list[tuple[bytes, object]] = []
        self.opened: list[object] = []

    def _add(self, number: int, large: bool) -> None:
        random = self.random
        contents = noise(random.randint(1_100_000, 3_000_000) if large else random.randint(1, 5000), number)
        digest = digest_of(contents)
        self.blobs[digest] = contents
        self.far.blobs.put(contents)
        if large and random.random() < 0.7:
            step = random.choice([50_000, 130_000])
            pieces = [contents[start : start + step] for start in range(0, len(contents), step)]
            for piece in pieces:
                self.far.blobs.put(piece)
            self.pieces += pieces
            self.lists[digest] = [Chunk(digest_of(piece), len(piece)) for piece in pieces]

    def act(self) -> None:
        """One thing that a client does."""
        random, scheduler = self.random, self.scheduler
        digest = random.choice(list(self.blobs))
        contents = self.blobs[digest]
        if random.random() < 0.15:
            some = random.sample(list(self.blobs), random.randint(1, len(self.blobs)))
            scheduler.prefetch([(one, len(self.blobs[one])) for one in some], random.choice([SIBLINGS, CLOSURE]))
            return
        offset = random.randrange(len(contents))
        length = random.choice([1, 4096, 131_072, len(contents)])
        expected = contents[offset : offset + length]
        self.reads += 1
        here = scheduler.read(
            digest, len(contents), offset, length, lambda result: self.answers.append((expected, result)), FOREGROUND
        )
        if here is not None:
            self.answers.append((expected, here))

    def check(self, *, errors: bool) -> None:
        """Every read had one answer, and none is wrong."""
        assert len(self.answers) == self.reads
        for expected, result in self.answers:
            if isinstance(result, Exception):
                assert errors, result
                assert isinstance(result, TvixError)
            else:
                assert b"".join(bytes(part) for part in result) == expected  # type: ignore[attr-defined]


def cut(world: World, server: FetchServer) -> None:
    """The connection ends; another begins."""
    world.scheduler.lost("cut")
    server.restart()
    world.scheduler.connected()


def lie(world: World, server: FetchServer) -> bytes:
    """A frame that isn't true."""
    random = world.random
    one = random.choice(server.wanted)
    true = server.find(one.key) or b"?"
    false = random.choice([b"", b"lie", true[:-1], true + b"x", bytes(len(true)), random.choice(list(world.blobs.values()))])
    return server.answer([one], [false])


@pytest.mark.parametrize("seed", range(RUNS))
def test_a_server_that_answers_in_any_order_and_lies(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = Random(f"{os.environ['SEED']}-{seed}")
    monkeypatch.setattr(near_end, "RECENT_BYTES", random.choice([100_000, 8 << 20]))
    monkeypatch.setattr(near_end, "STAGED_BYTES", random.choice([1, 1 << 20]))
    world = World(random)
    lies = seed % 2 == 1
    hot = [Key(digest) for digest in random.sample(list(world.blobs), 2)]
    lists = dict(world.lists)
    if lies and lists and random.random() < 0.3:
        lists[next(iter(lists))] = [Chunk(digest_of(b"not this"), 8)] if random.random() < 0.5 else next(reversed(lists.values()))
    server = FetchServer(world.far, lists, hot)
    scheduler = world.scheduler
    scheduler.connected()
    if random.random() < 0.8:
        scheduler.open_root(world.root, push=random.random() < 0.5, done=world.opened.append)
    left = random.randint(5, 60)
    repeated = b""
    for step in range(20_000):
        if not left and not scheduler.in_flight() and not scheduler.waiting() and not scheduler.settle():
            break
        server.hear(scheduler.outgoing())
        dice = random.random()
        try:
            if left and dice < 0.2:
                world.act()
                left -= 1
            elif dice < 0.22 and step < 3000:
                cut(world, server)
            elif lies and dice < 0.26 and server.wanted and step < 3000:
                scheduler.receive(lie(world, server))
            elif lies and dice < 0.27 and repeated and step < 3000:
                scheduler.receive(repeated)
            elif server.openings and dice < 0.5:
                for frame in server.open(parts=random.randint(1, 3)):
                    scheduler.receive(frame)
            elif server.wanted:
                repeated = server.some(random)
                scheduler.receive(repeated)
            else:
                scheduler.settle()
        except ServerMisbehaves:
            assert lies
            cut(world, server)
    assert scheduler.waiting() == 0
    world.check(errors=lies)
    assert all(isinstance(result, TvixError | Directory) for result in world.opened)


@pytest.mark.parametrize("seed", range(RUNS // 2))
def test_the_server_that_we_ship_over_connections_that_break(seed: int) -> None:
    random = Random(f"{os.environ['SEED']}-{seed}")
    world = World(random)
    source = FetchSource(world.far.blobs, world.far.directories)
    scheduler = world.scheduler
    session = FetchSession(source, may_write=False)
    scheduler.connected()
    scheduler.open_root(world.root, push=True, done=world.opened.append)
    left = random.randint(5, 60)
    for _ in range(20_000):
        if not left and not scheduler.in_flight() and not scheduler.waiting() and not scheduler.settle():
            break
        for message in scheduler.outgoing():
            session.receive(message)
        if left and random.random() < 0.3:
            world.act()
            left -= 1
        elif random.random() < 0.02:
            session.close()
            session = FetchSession(source, may_write=False)
            scheduler.lost("cut")
            scheduler.connected()
        else:
            pieces = session.next()
            if pieces is not None:
                scheduler.receive(b"".join(pieces))
            else:
                scheduler.settle()
    session.close()
    assert scheduler.waiting() == scheduler.in_flight() == 0
    world.check(errors=False)
    assert [type(result) for result in world.opened] == [Directory]
