"""The URL of a store gives the store; other packages may add schemes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvix.castore.addresses import InvalidStoreUrl
from tvix.castore.directory import Directory
from tvix.store.addresses import open_store
from tvix.store.importing import import_path
from tvix.store.store import Store
from tvix.testing.trees import ODD_TREES, make_tree


@pytest.mark.parametrize("url", ["", "x", "nowhere:", "memory:/x", "pack:relative", "pack:/x?y=1", "grpc+http://h", "http://h:1"])
def test_what_is_not_a_store_is_refused(url: str) -> None:
    with pytest.raises(InvalidStoreUrl) as refused:
        open_store(url)
    assert refused.value.exit_code == 64


def test_near_and_far_by_url(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", ODD_TREES["all kinds"]())
    far = f"pack:{tmp_path}/far"
    with open_store(far) as store:
        info = import_path(store, tree)
    with open_store(f"cache:?near=memory:&far={far}") as store:
        assert store.path_infos.get_many([info.path.digest]) == {info.path.digest: info}
        assert store.path_infos.calculate_nar(info.node) == (info.nar_size, info.nar_sha256)


def test_a_scheme_of_another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As installed: a distribution on the path whose entry point names a callable."""
    (tmp_path / "elsewhere.py").write_text(
        "from tvix.store.addresses import open_store\ndef open(url): return open_store('memory:')\n"
    )
    metadata = tmp_path / "elsewhere-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[tvix.backends]\nelsewhere = elsewhere:open\n")
    with pytest.raises(InvalidStoreUrl):
        open_store("elsewhere:x")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert isinstance(open_store("elsewhere:x"), Store)


class Recording:
    """Says what was called."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self._name = name
        self._calls = calls

    def sync(self) -> None:
        self._calls.append(f"sync {self._name}")

    def close(self) -> None:
        self._calls.append(f"close {self._name}")


def test_what_refers_is_synced_last() -> None:
    calls: list[str] = []
    services = [Recording(name, calls) for name in ("blobs", "directories", "path infos")]
    with Store(*services):  # type: ignore[arg-type]
        assert calls == []
    assert calls[:3] == ["sync blobs", "sync directories", "sync path infos"]
    assert sorted(calls[3:]) == ["close blobs", "close directories", "close path infos"]


def test_a_pack_store_may_be_closed_twice(tmp_path: Path) -> None:
    store = open_store(f"pack:{tmp_path}/store")
    store.directories.put([Directory.of([])])
    store.close()
    store.close()
