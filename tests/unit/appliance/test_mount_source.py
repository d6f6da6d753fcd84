"""What a mount is given to read from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from appliance.roles.mount import MountSpec, serve_mount
from appliance.roles.mount_polled import open_polled
from appliance.roles.mount_source import Ends, memory_share, open_source
from tvix.castore.addresses import parse_address
from tvix.castore.digests import digest_of
from tvix.castore.pack.format import NotAPackStore
from tvix.castore.transfer.link import METHOD
from tvix.castore.tree import DirectoryNotFound
from tvix.grpc_api.caller import Caller
from tvix.grpc_api.transfer_service import TransferMethods
from tvix.mount.counters import Counters
from tvix.mount.local_source import LocalSource
from tvix.mount.polled_source import PolledSource
from tvix.store.addresses import open_store
from tvix.testing.fetch_ends import memory
from tvix.testing.framed_peer import FramedPeer


@pytest.mark.parametrize(
    ("scheme", "pinned", "believed"),
    [("tvix+unix:{}", False, True), ("tvix+unix:{}", True, False), ("tvix+tcp://127.0.0.1:1", False, False)],
)
def test_a_pinned_root_is_read_with_trust_in_bytes_alone(scheme: str, pinned: bool, believed: bool, tmp_path: Path) -> None:
    far = parse_address(scheme.format(tmp_path / "nobody-listens"))
    spec = MountSpec(far.url, "/mnt", root=digest_of(b"root") if pinned else None)
    opened = open_polled(spec, Ends(open_store("memory:"), "memory:", far), Counters())
    assert opened is not None
    assert isinstance(opened.source, PolledSource)
    assert opened.source._scheduler._trusts_lists is believed
    opened.source.close()
    opened.close()


@pytest.mark.parametrize(("near", "unpacked"), [("memory:", 8 << 20), ("memory:?max=128M", 2 << 20), ("memory:?max=1M", 512 << 10)])
def test_what_came_last_is_kept_unpacked_in_proportion_to_near(near: str, unpacked: int, tmp_path: Path) -> None:
    far = parse_address(f"tvix+unix:{tmp_path}/nobody-listens")
    opened = open_polled(MountSpec(far.url, "/mnt"), Ends(open_store(near), near, far), Counters())
    assert opened is not None
    assert isinstance(opened.source, PolledSource)
    assert opened.source._scheduler.near.recent_max == unpacked
    opened.source.close()
    opened.close()


def test_a_near_end_that_can_not_be_had_is_told_and_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told: list[str] = []
    spec = MountSpec("tvix+unix:/nowhere", "/mnt", near=f"pack:{tmp_path}/file", warn=told.append)
    opened = open_source(spec, Counters())
    opened.source.close()
    opened.close()
    assert len(told) == 1
    assert str(tmp_path / "file") in told[0]


def test_a_near_end_that_is_asked_for_must_be_had(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotAPackStore):
        open_source(MountSpec("tvix+unix:/nowhere", "/mnt", near=f"pack:{tmp_path}/file", near_is_required=True), Counters())


def test_a_store_that_is_here_needs_nothing_near(tmp_path: Path) -> None:
    opened = open_source(MountSpec(f"pack:{tmp_path}/store", "/mnt", near=f"pack:{tmp_path}/near"), Counters())
    assert isinstance(opened.source, LocalSource)
    opened.close()
    assert not (tmp_path / "near").exists()


def test_a_boot_keeps_an_eighth_of_memory() -> None:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory_share() == pytest.approx(total / 8, rel=0.01)


def test_a_mount_that_comes_to_nothing_hangs_up(tmp_path: Path) -> None:
    ended = Event()
    store = memory()
    service = TransferMethods(store.blobs, store.directories, lambda: None, message_bytes=1 << 24)

    def fetch(requests: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from (b"".join(answer) for answer in service.fetch(requests, Caller("unix", may_write=False)))
        finally:
            ended.set()

    peer = FramedPeer(f"{tmp_path}/socket", {METHOD: fetch})
    (tmp_path / "mnt").mkdir()
    spec = MountSpec(peer.url, f"{tmp_path}/mnt", root=digest_of(b"absent"), engine="fuse", dies_with_parent=False)
    with pytest.raises(DirectoryNotFound) as caught:
        serve_mount(spec)
    assert ended.wait(10), f"after {caught.value}"
    peer.close()
