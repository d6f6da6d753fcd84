"""The generated modules are those of the sources, and the sources are one protocol under two names."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent.parent
NAMES = {"DirectoryNode": "DirectoryEntry", "FileNode": "FileEntry", "SymlinkNode": "SymlinkEntry", "Node": "Entry"}


def test_generating_again_changes_nothing(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "packaging/generate_protos.py", tmp_path], check=True)
    made = sorted((tmp_path / "tvix/proto").iterdir())
    assert len(made) == 12
    for path in made:
        assert path.read_text() == (ROOT / "tvix/proto" / path.name).read_text(), path.name


@pytest.mark.parametrize("room", ["castore", "store"])
def test_both_generations_are_one_protocol(room: str) -> None:
    tvix, snix = (import_module(f"tvix.proto.{generation}_{room}_v1_pb2").DESCRIPTOR for generation in ("tvix", "snix"))

    def shape(message: object) -> object:
        fields = [(field.number, field.type, field.is_repeated) for field in message.fields]  # type: ignore[attr-defined]
        nested = {each.name: shape(each) for each in message.nested_types}  # type: ignore[attr-defined]
        enums = {each.name: [(v.name, v.number) for v in each.values] for each in message.enum_types}  # type: ignore[attr-defined]
        return fields, nested, enums

    earlier = {NAMES.get(name, name): shape(message) for name, message in tvix.message_types_by_name.items()}
    assert earlier == {name: shape(message) for name, message in snix.message_types_by_name.items()}
    for name, service in tvix.services_by_name.items():
        assert [method.name for method in service.methods] == [method.name for method in snix.services_by_name[name].methods]
