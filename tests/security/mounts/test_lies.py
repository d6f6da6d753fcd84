"""A mount of a hostile server: each lie ends in an error in time, and nothing else is the worse for it.

Never a wrong byte; the mount goes on to answer for what it isn't lied to about, stays small, and ends when it is told to.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from hostile_mounts import Line, Mount, mounted, within
from lies import FRAMED, GRPC, LIES, V1, Lie

from tvix.castore.digests import digest_of
from tvix.testing.liar import FILES, HONEST, TOLD, Liar, honest_file, socket_at

pytestmark = [pytest.mark.root, pytest.mark.fuse]

DEADLINES = {FRAMED: 0.6, GRPC: 1.0, V1: 1.0}
"""Seconds; gRPC looks again once a second."""
LATEST = 6.5
"""Seconds: a deadline for the path and one for what is in it, or four while useless bytes come; and the machine may be busy."""
MEMORY = 160 << 20


def cases() -> Iterator[object]:
    """Each lie over each of its ways; what chunk lists and pieces prove differs by trust, over one way."""
    for lie in LIES:
        for way in lie.ways:
            about_pieces = way == FRAMED and (lie.read == b"large" or lie.name == "one bit")
            for trust in ("lists", "bytes") if about_pieces else ("lists",):
                yield pytest.param(lie, way, trust, id=f"{way}-{trust}-{lie.name}")


@contextmanager
def told(lie: Lie, way: str, trust: str, place: Path) -> Iterator[tuple[Liar, Mount, Line | None]]:
    """A liar that tells the truth still, and a mount of it."""
    liar = Liar(place)
    lie.prepare(liar)
    scheme = "tvix+" if way == FRAMED else ""
    liar.start([scheme + socket_at(place, "server")], extension=way != V1)
    line = Line(liar, f"{place}/line", f"{place}/server", lie.tamper) if lie.tamper else None
    address = socket_at(place, "line" if line else "server")
    try:
        url = f"{'tvix+' if way == FRAMED else 'grpc+'}{address}?deadline={DEADLINES[way]:g}&trust={trust}"
        with mounted(url, place / "mnt") as mount:
            yield liar, mount, line
            liar.lying = False
    finally:
        if line is not None:
            line.close()
        liar.close()


def look(path: Path) -> object:
    """List a directory, or read a file to its end: its digest."""
    if path.is_dir():
        return sorted(os.listdir(path))
    with open(path, "rb", buffering=0) as file:
        return digest_of(b"".join(iter(lambda: file.read(1 << 20), b""))).hex()


def reads_right(path: Path, contents: bytes) -> None:
    """Within the time that a connection takes to be given up and made anew, and never wrong before."""
    end = monotonic() + LATEST
    while isinstance(found := within(LATEST, lambda: look(path)), OSError):
        assert monotonic() < end, found
    assert found == digest_of(contents).hex()


@pytest.mark.parametrize(("lie", "way", "trust"), list(cases()))
def test_a_lie_ends_in_an_error(lie: Lie, way: str, trust: str, tmp_path: Path) -> None:
    with told(lie, way, trust, tmp_path) as (liar, mount, line):
        place = mount.place / lie.path.basename
        honest = mount.place / HONEST.basename
        if lie.known:
            assert within(LATEST, lambda: look(place)) == sorted([*map(bytes.decode, FILES), "link", "dir"])
        liar.lying = True
        began = monotonic()
        found = within(2 * LATEST, lambda: look(place / os.fsdecode(lie.read)))
        if isinstance(found, OSError):
            assert found.errno in lie.errors, found
        else:
            assert lie.heals
            assert found in (["file"], digest_of(FILES[b"large"]).hex())
        assert monotonic() - began < LATEST
        if lie.tamper is None:
            reads_right(honest / "small", honest_file(b"small"))
        liar.lying = False
        if line is not None and way != FRAMED:
            line.cut()  # gRPC stays with a connection that says something, whatever that is
        for name in (b"small", b"large"):
            reads_right(honest / os.fsdecode(name), honest_file(name))
            if lie.mends or (trust == "bytes" and lie.path == TOLD):
                reads_right(place / os.fsdecode(name), FILES[name])
        assert mount.peak() < MEMORY
