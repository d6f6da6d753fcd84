"""Closures for figures: Python and bash, about 40 MB without what nobody reads; and the same as if rebuilt, under other paths."""

from __future__ import annotations

import json
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from tests.bench.machine import HELLO
from tests.bench.program import TVIX
from tvix.nix_compat import nixbase32

_UNREAD = ("lib/gconv", "lib/libmvec.so.1")
_UNREAD_MODULES = (
    "distutils", "ensurepip", "idlelib", "lib2to3", "multiprocessing", "pydoc_data", "sqlite3", "test", "tkinter", "turtledemo",
    "unittest", "venv", "wsgiref", "xml", "xmlrpc", "zoneinfo", "_pydecimal.py", "doctest.py", "pydoc.py", "turtle.py",
)  # fmt: skip
PROGRAMS = ("python3", "bash")


class Closure(NamedTuple):
    """Store paths by package name, where they lie, and the bytes of all their files."""

    paths: dict[str, str]
    info: Path
    store: Path
    size: int


def make_closure(place: Path, rebuilt: str = "", programs: tuple[str, ...] = PROGRAMS) -> Closure:
    """Of `programs`, under `place`.

    With a word `rebuilt` every store path gets another hash, in names and inside files, as after a rebuild."""
    store = place / "store"
    store.mkdir(parents=True)
    infos = {item["path"]: item for item in json.loads((HELLO / "INFO.json").read_text())}
    wanted = closure_of(infos, programs)
    renamed = {path: _rename(path, rebuilt) for path in wanted}
    size = 0
    for path in wanted:
        target = store / Path(renamed[path]).name
        _copy(HELLO / "store" / Path(path).name, target)
        if rebuilt:
            _rewrite(target, renamed)
        size += sum(file.stat().st_size for file in target.rglob("*") if file.is_file() and not file.is_symlink())
    described = [_describe(store, infos[path], renamed) for path in wanted]
    info = place / "INFO.json"
    info.write_text(json.dumps(described))
    return Closure({path.partition("-")[2]: renamed[path] for path in wanted}, info, store, size)


def import_closure(url: str, closure: Closure) -> None:
    """Into the store at `url`."""
    command = [TVIX, "store", "import-closure", "--store", url, "--nix-store", closure.store, "--progress", "quiet", closure.info]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def closure_of(infos: dict[str, dict[str, list[str]]], names: tuple[str, ...]) -> list[str]:
    """The paths of packages and of all that they refer to."""
    found = [path for path in infos if path.partition("-")[2] in names]
    for path in found:
        found += [reference for reference in infos[path]["references"] if reference not in found]
    return found


def _rename(path: str, rebuilt: str) -> str:
    if not rebuilt:
        return path
    digits = nixbase32.encode(sha256(f"{rebuilt}{path}".encode()).digest()[:20])
    return f"/nix/store/{digits}-{path.partition('-')[2]}"


def _copy(source: Path, target: Path) -> None:
    unread = {str(source / name) for name in (*_UNREAD, *(f"lib/python3.11/{module}" for module in _UNREAD_MODULES))}

    def ignored(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if f"{folder}/{name}" in unread]

    shutil.copytree(source, target, symlinks=True, ignore=ignored)


def _rewrite(target: Path, renamed: dict[str, str]) -> None:
    """Put the new hashes in the place of the old ones, which are as long."""
    for file in target.rglob("*"):
        if file.is_symlink():
            link = str(file.readlink())
            new = _replaced(link.encode(), renamed).decode()
            if new != link:
                file.unlink()
                file.symlink_to(new)
        elif file.is_file():
            contents = file.read_bytes()
            new_contents = _replaced(contents, renamed)
            if new_contents != contents:
                mode = file.stat().st_mode
                file.chmod(0o644)
                file.write_bytes(new_contents)
                file.chmod(mode)


def _replaced(contents: bytes, renamed: dict[str, str]) -> bytes:
    for old, new in renamed.items():
        contents = contents.replace(old[11:43].encode(), new[11:43].encode())
    return contents


def _describe(store: Path, info: dict[str, object], renamed: dict[str, str]) -> dict[str, object]:
    from tvix.nix_compat.hashes import Hash
    from tvix.store.nar_hash import hash_path

    path = renamed[str(info["path"])]
    nar = hash_path(store / Path(path).name)
    references = [renamed[reference] for reference in info["references"]]  # type: ignore[attr-defined]
    return {"path": path, "narHash": Hash("sha256", nar.sha256).print("sri"), "narSize": nar.size, "references": references}
