"""Stores across networks that are slow, narrow, lossy, or gone for a while."""

from __future__ import annotations

import filecmp
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Thread
from time import monotonic

import pytest
from conftest import SCHEMES, Sample, Served, mounted
from simulator import Network

Serve = Callable[..., AbstractContextManager[Served]]

pytestmark = [pytest.mark.root, pytest.mark.fuse]

SHAPES = {
    "0 ms": (0.0, 1e9, 0.0),
    "1 ms, 1 Gbit/s": (0.001, 1e9, 0.0),
    "5 ms, 100 Mbit/s": (0.005, 1e8, 0.0),
    "30 ms, 100 Mbit/s": (0.030, 1e8, 0.0),
    "5 ms, 100 Mbit/s, 1 % lost": (0.005, 1e8, 0.01),
}
PARTITION_SECONDS = 10


def _same(one: Path, other: Path) -> bool:
    compared = filecmp.dircmp(one, other)
    whole = not (compared.left_only or compared.right_only or compared.funny_files)
    files = filecmp.cmpfiles(one, other, compared.common_files, shallow=False)
    return whole and not (files[1] or files[2]) and all(_same(one / name, other / name) for name in compared.common_dirs)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_mount_reads_right(serve: Serve, sample: Sample, tmp_path: Path, shape: str, scheme: str) -> None:
    with serve(Network(*SHAPES[shape]), scheme, sample.url) as served, mounted(served, tmp_path / "mnt") as mount:
        assert _same(sample.tree, mount / Path(sample.path).name)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_import_arrives(serve: Serve, sample: Sample, tmp_path: Path, shape: str, scheme: str) -> None:
    store = f"pack:{tmp_path}/store"
    with serve(Network(*SHAPES[shape]), scheme, store, insecure="--insecure=write") as served:
        done = served.tvix("store", "import", "--store", served.url, sample.tree)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == sample.path
        exported = served.tvix("store", "export", "--store", store, sample.path, tmp_path / "out")
        assert exported.returncode == 0, exported.stderr
    assert _same(sample.tree, tmp_path / "out")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_read_outlives_a_partition(serve: Serve, sample: Sample, tmp_path: Path, scheme: str) -> None:
    """The line is cut in the middle of a read and joined ten seconds later: the read ends with the right bytes."""
    read: list[bytes] = []
    with serve(Network(0.005, 2e7), scheme, sample.url) as served, mounted(served, tmp_path / "mnt") as mount:
        file = mount / Path(sample.path).name / "random"
        before = served.network.carried()[1]
        reader = Thread(target=lambda: read.append(file.read_bytes()))
        reader.start()
        while served.network.carried()[1] < before + 500_000:
            assert reader.is_alive()
        served.network.cut()
        reader.join(PARTITION_SECONDS)
        assert reader.is_alive()
        served.network.join()
        reader.join(60)
    assert read == [(sample.tree / "random").read_bytes()]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_read_gives_up_after_the_deadline(serve: Serve, sample: Sample, tmp_path: Path, scheme: str) -> None:
    """A line that stays cut makes a read fail with EIO once the deadline has passed, and a later one works again."""
    with (
        serve(Network(0.005, 2e7), scheme, sample.url) as served,
        mounted(served, tmp_path / "mnt", options="?deadline=3") as mount,
    ):
        file = mount / Path(sample.path).name / "random"
        assert file.stat().st_size == 3 << 20
        served.network.cut()
        started = monotonic()
        with pytest.raises(OSError, match="Input/output error"):
            file.read_bytes()
        assert 2 < monotonic() - started < 20
        served.network.join()
        assert (mount / Path(sample.path).name / "text").read_bytes() == (sample.tree / "text").read_bytes()
