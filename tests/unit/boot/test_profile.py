"""What an initrd says of a store that it can't speak with."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.boot import profile


def test_the_smallest_refuses_grpc_and_says_what_it_speaks(tmp_path: Path) -> None:
    (tmp_path / "profile").write_text("initrd-tiny\n")
    for store in ("grpc+http://10.0.0.1:8000", "grpc+https://s:1", "cache:?near=memory:&far=grpc+http://10.0.0.1:8000"):
        with pytest.raises(
            profile.StoreNotSpoken, match=r"initrd-tiny has no gRPC in it; it speaks tvix\+tcp and tvix\+tls"
        ) as caught:
            profile.check_store(store, str(tmp_path / "profile"))
        assert store in str(caught.value)
        assert "initrd-minimal" in (caught.value.hint or "")
    for store in ("tvix+tcp://10.0.0.1:8000", "tvix+tls://s:1"):
        profile.check_store(store, str(tmp_path / "profile"))


def test_others_speak_everything(tmp_path: Path) -> None:
    (tmp_path / "profile").write_text("initrd-minimal\n")
    profile.check_store("grpc+http://10.0.0.1:8000", str(tmp_path / "profile"))
    profile.check_store("grpc+http://10.0.0.1:8000", str(tmp_path / "none"))
