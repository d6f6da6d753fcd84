"""The XDG directories and the default store."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.cli.places import credentials_directory, data_directory, default_store, pack_address, state_directory
from tvix.castore.addresses import parse_address


def test_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/h")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/s")
    assert (data_directory(), state_directory()) == (Path("/h/.local/share/tvix"), Path("/s/tvix"))
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert data_directory() == Path("/h/.local/share/tvix")


def test_default_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/d")
    monkeypatch.setenv("TVIX_STORE", "")
    assert default_store() == "pack:/d/tvix/store"
    monkeypatch.setenv("TVIX_STORE", "memory:")
    assert default_store() == "memory:"


@pytest.mark.parametrize("path", ["/plain", "/with blank", "/what?", "/hash#", "/50%", "/caf\u00e9", "/caf\udce9", "/a&b=c"])
def test_any_path_has_an_address(path: str) -> None:
    assert parse_address(pack_address(Path(path))).path == path


def test_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("TVIX_CREDENTIALS", raising=False)
    assert credentials_directory() is None
    (tmp_path / "tvix/credentials").mkdir(parents=True)
    assert credentials_directory() == f"{tmp_path}/tvix/credentials"
    monkeypatch.setenv("TVIX_CREDENTIALS", "/c")
    assert credentials_directory() == "/c"
