"""Freezes the trees into `dist/NAME`: `freeze.py [NAME…]`. A tree whose sources haven't changed is left as it is."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import lines
import trees

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
BUILD = ROOT / "build/freeze"
SOURCES = ("appliance", "initrd", "tvix")
INPUTS = (
    "tvix.spec",
    "requirements.lock",
    "packaging/trees.py",
    "packaging/freeze.py",
    "packaging/direct.py",
    "packaging/entry.py",
    "packaging/lines.py",
    "packaging/compiled.py",
    "packaging/arenas.c",
    "packaging/mypyc_deallocation.h",
    "setup.py",
    "packaging/light/typing.py",
)


def freeze(tree: trees.Tree, inputs: str) -> None:
    """Make `dist/NAME` whole or not at all."""
    target = DIST / tree.name
    made_from = BUILD / f"{tree.name}.inputs"
    if target.exists() and made_from.is_file() and made_from.read_text() == inputs:
        return
    started = time.monotonic()
    work = BUILD / tree.name
    _run_pyinstaller(tree, work)
    made = work / "dist" / ("" if tree.one_file else tree.name)
    if tree.kept_encodings:
        _trim_base_library(made / "_internal/base_library.zip", tree)
    for program in tree.programs:
        _add_program(program, made)
    (made / "build-date").write_text(f"{_source_date()}\n")
    (made / "profile").write_text(f"{tree.name}\n")
    DIST.mkdir(exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    made_from.unlink(missing_ok=True)
    made.rename(target)
    made_from.write_text(inputs)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"Froze {tree.name}: {size / 1e6:.1f} MB in {time.monotonic() - started:.0f} s", file=sys.stderr)


def inputs() -> str:
    """A digest over all that freezing depends on. Contents count, not times."""
    total = hashlib.sha256()
    files = [path for name in SOURCES for path in (ROOT / name).rglob("*.py")] + [ROOT / name for name in INPUTS]
    for path in sorted(files):
        content = path.read_bytes()
        total.update(f"{path.relative_to(ROOT)} {len(content)}\n".encode() + content)
    return total.hexdigest()


def _evaluator_is_compiled() -> bool:
    sys.path.insert(0, str(ROOT))
    from tvix.eval.uncompiled import is_compiled

    return is_compiled()


def _run_pyinstaller(tree: trees.Tree, work: Path) -> None:
    work.mkdir(parents=True, exist_ok=True)
    log = work / "log"
    print(f"Freezing {tree.name} (log: {log.relative_to(ROOT)})", file=sys.stderr)
    options = ["--noconfirm", "--distpath", str(work / "dist"), "--workpath", str(work / "work")]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "SOURCE_DATE_EPOCH": str(_source_date())}
    if not tree.one_file:
        # The initrd is compressed as a whole, better than module by module, and a start has nothing to inflate.
        environment["PYINSTALLER_ZLIB_COMPRESSION_LEVEL"] = "0"
    command = [sys.executable, "-m", "PyInstaller", *options, "tvix.spec", "--", tree.name]
    with log.open("wb") as output:
        done = subprocess.run(command, cwd=ROOT, stdout=output, stderr=output, env=environment, check=False)
    if done.returncode:
        sys.exit(f"error: freezing {tree.name} failed; the end of {log}:\n{log.read_text(errors='replace')[-3000:]}")


def _trim_base_library(archive: Path, tree: trees.Tree) -> None:
    """Of the hundred encodings that the interpreter could start with, keep those that a store and a console speak."""
    kept = {f"encodings/{name}.pyc" for name in tree.kept_encodings}
    dropped = {f"{name}.pyc" for name in tree.unused_library}
    with zipfile.ZipFile(archive) as source:
        names = [name for name in source.namelist() if name not in dropped]
        contents = {name: source.read(name) for name in names if not name.startswith("encodings/") or name in kept}
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:
        for name, content in sorted(contents.items()):
            kept_content = content if tree.library_lines else lines.pyc_without_lines(content)
            target.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), kept_content)


def _add_program(program: str, tree: Path) -> None:
    """Put a program of this machine beside ours; the initrd brings the libraries it needs."""
    found = shutil.which(program)
    if found is None:
        sys.exit(f"error: {program} is not installed, and {tree.name} takes it along")
    (tree / "bin").mkdir()
    shutil.copyfile(found, tree / "bin" / program)
    (tree / "bin" / program).chmod(0o755)


def _source_date() -> int:
    """Seconds since the epoch: SOURCE_DATE_EPOCH, else the date of the commit, else now."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    done = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 and done.stdout.strip() else int(time.time())


def main() -> None:
    """Freeze the trees that are named, or all."""
    names = sys.argv[1:] or list(trees.TREES)
    unknown = [name for name in names if name not in trees.TREES]
    if unknown:
        sys.exit(f"error: no tree is named {unknown[0]}; there are {', '.join(trees.TREES)}")
    if not _evaluator_is_compiled():
        sys.exit("error: the evaluator isn't compiled, or not from these sources: make dev")
    digest = inputs()
    for name in names:
        freeze(trees.TREES[name], digest)


if __name__ == "__main__":
    main()
