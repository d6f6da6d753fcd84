"""Store addresses: what is understood, and how everything else is refused."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tvix.castore.addresses import Address, InvalidStoreUrl, open_castore, parse_address
from tvix.castore.blobs.memory import MemoryBlobService
from tvix.errors import EX_USAGE

GOOD = {
    "memory:": Address("memory"),
    "memory://": Address("memory"),
    "memory:?max=64M": Address("memory", parameters=(("max", "64M"),)),
    "pack:/var/lib/tvix": Address("pack", "/var/lib/tvix"),
    "pack:///var/lib/tvix": Address("pack", "/var/lib/tvix"),
    "pack:/a%20b%3Fc": Address("pack", "/a b?c"),
    "pack:/x?chunk=256K": Address("pack", "/x", parameters=(("chunk", "256K"),)),
    "grpc+http://localhost:8000": Address("grpc+http", host="localhost", port=8000),
    "grpc+http://[::1]:8000": Address("grpc+http", host="::1", port=8000),
    "grpc+http://10.0.2.2:1/": Address("grpc+http", host="10.0.2.2", port=1),
    "grpc+http://h:1?deadline=2.5": Address("grpc+http", host="h", port=1, parameters=(("deadline", "2.5"),)),
    "grpc+unix:/run/tvix.sock": Address("grpc+unix", "/run/tvix.sock"),
    "grpc+unix:///run/tvix.sock": Address("grpc+unix", "/run/tvix.sock"),
    "cache:?near=memory:&far=grpc%2Bhttp://h:1%3Fdeadline=3": Address(
        "cache", parameters=(("near", "memory:"), ("far", "grpc+http://h:1?deadline=3"))
    ),
}
BAD = [
    "",
    "memory",
    "/var/lib/tvix",
    "rocksdb:/x",
    "http://h:1",
    "MEMORY:",
    "memory:x",
    "memory://host",
    "memory:/x",
    "memory:?size=3",
    "memory:?max",
    "memory:?max=",
    "memory:?max=1&max=2",
    "memory:#x",
    "pack:",
    "pack:relative",
    "pack://host/x",
    "pack:/x?deadline=3",
    "pack:/x%2",
    "pack:/x%zz",
    "pack:/x%00y",
    "pack:/x\0y",
    "grpc+http:",
    "grpc+http://",
    "grpc+http://h",
    "grpc+http://h:",
    "grpc+http://h:0",
    "grpc+http://h:65536",
    "grpc+http://h:x",
    "grpc+http://h:٣",
    "grpc+http://:80",
    "grpc+http://::1:80",
    "grpc+http://[::1:80",
    "grpc+http://h:1/path",
    "grpc+http://me@h:1",
    "grpc+http:h:1",
    "grpc+unix:",
    "grpc+unix:relative",
    "grpc+unix://host/path",
    "cache:",
    "cache:?near=memory:",
    "cache:?near=memory:&far=nonsense",
]


@pytest.mark.parametrize("url", GOOD)
def test_what_is_understood(url: str) -> None:
    address = parse_address(url)
    assert address.url == url
    assert address._replace(url="") == GOOD[url]


@pytest.mark.parametrize("url", BAD)
def test_what_is_refused(url: str) -> None:
    with pytest.raises(InvalidStoreUrl) as refused:
        parse_address(url)
    assert refused.value.exit_code == EX_USAGE
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("text", "size"), [("1", 1), ("4096", 4096), ("64K", 65536), ("3m", 3 << 20), ("2G", 2 << 30)])
def test_sizes(text: str, size: int) -> None:
    assert parse_address(f"memory:?max={text}").size("max") == size


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "K", "1T", "1KK", "٣", "0x10", " 1"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(InvalidStoreUrl):
        parse_address(f"memory:?max={text}").size("max")


@pytest.mark.parametrize("text", ["0", "-1", "x", "inf", "nan"])
def test_seconds_that_are_none(text: str) -> None:
    with pytest.raises(InvalidStoreUrl):
        parse_address(f"grpc+unix:/s?deadline={text}").seconds("deadline", 30)


def test_seconds_have_a_default() -> None:
    assert parse_address("grpc+unix:/s").seconds("deadline", 30) == 30
    assert parse_address("grpc+unix:/s?deadline=0.5").seconds("deadline", 30) == 0.5


def test_memory_and_pack_and_cache_open(tmp_path: Path) -> None:
    pack = open_castore(parse_address(f"pack:{tmp_path}/far"))
    digest = pack.blobs.put(b"there")
    pack.sync()
    cache = open_castore(parse_address(f"cache:?near=memory:%3Fmax=1M&far=pack:{tmp_path}/far"))
    reader = cache.blobs.open(digest)
    assert reader is not None
    assert bytes(reader.read_at(0, 9)) == b"there"
    pack.close()
    cache.close()
    assert isinstance(open_castore(parse_address("memory:")).blobs, MemoryBlobService)


def test_a_chunk_size_that_can_t_be_had_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidStoreUrl, match="chunk"):
        open_castore(parse_address(f"pack:{tmp_path}/s?chunk=3000"))


@pytest.mark.parametrize("level", ["20", "-1", "x", "3.5"])
def test_a_level_that_zstd_does_not_have(tmp_path: Path, level: str) -> None:
    with pytest.raises(InvalidStoreUrl, match="from 0 to 19"):
        open_castore(parse_address(f"pack:{tmp_path}/s?zstd={level}"))


@pytest.mark.parametrize("near", ["memory:", "pack:{}/near"])
def test_a_bound_of_what_is_near(tmp_path: Path, near: str) -> None:
    far = open_castore(parse_address(f"pack:{tmp_path}/far"))
    blobs = [random.Random(number).randbytes(100_000) for number in range(60)]
    digests = [far.blobs.put(blob) for blob in blobs]
    far.blobs.sync()
    cache = open_castore(parse_address(f"cache:?near={near.format(tmp_path)}&far=pack:{tmp_path}/far&max=2M"))
    for _ in range(2):
        assert [bytes(blob or b"") for _digest, blob in cache.blobs.read_many(digests)] == blobs
    cache.close()
    if near != "memory:":
        kept = sum(pack.stat().st_size for pack in (tmp_path / "near" / "packs").iterdir())
        assert 500_000 < kept <= 4 << 20
        assert (tmp_path / "near" / "partial").exists()


def test_a_bound_of_what_has_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidStoreUrl, match="max bounds what is near"):
        open_castore(parse_address(f"cache:?near=grpc%2Bunix:{tmp_path}/s&far=memory:&max=2M"))
