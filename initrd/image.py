"""Makes an initrd: a frozen tree, the libraries it needs of this machine, kernel modules, and the few files around them.

What comes out is described in `docs/formats/initrd.md`. The file appears whole or not at all.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from initrd import cpio, elf, layout, modules
from tvix.castore.credentials import CA_FILE, CERTIFICATE_FILE, KEY_FILE, Credentials, own_certificate
from tvix.errors import EX_IOERR, EX_NOINPUT, TvixError
from tvix.events import Operation, silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tvix.events import Emit

LEVEL = 19
"""Of zstd. Beyond it come windows as large as the data, and the image no longer unpacks in 128 MB of memory."""


_JOB_SIZE = 16 << 20
"""What each of two threads compresses at a time: fixed, since it shows in the bytes."""


class NotATree(TvixError):
    """A directory isn't a frozen tree."""

    identifier = "initrd.not-a-tree"
    message = "{tree}: not a frozen tree (no executable {program} in it)"
    hint = "`make freeze` makes dist/initrd-minimal; give it with --tree"
    exit_code = EX_NOINPUT


class CannotWrite(TvixError):
    """The image can't be written."""

    identifier = "initrd.cannot-write"
    message = "{output}: {reason}"
    exit_code = EX_IOERR


class Report(NamedTuple):
    """What went into an image. Sizes are in bytes."""

    files: int
    unpacked: int
    size: int
    modules: list[str]
    libraries: list[str]


def build(
    tree: Path,
    kernel_modules: modules.Directory,
    extra: list[str],
    output: Path,
    *,
    credentials: Credentials | None = None,
    emit: Emit = silent,
) -> Report:
    """Write the initrd of a frozen tree for one kernel.

    `extra` are modules that have to be there; those of `modules.DEFAULT` are taken where the kernel has them. With `credentials`
    the image says who the machine is, and only its owner may read it. Raises `NotATree`, `CannotWrite`, and what `elf`, `modules`
    and `cpio` raise.
    """
    program = tree / Path(layout.PROGRAM).name
    if not os.access(program, os.X_OK):
        raise NotATree(tree=tree, program=program.name)
    usual = modules.DEFAULT if _profile(tree) != layout.TINY else modules.DEFAULT_TINY
    wanted = [name for name in usual if kernel_modules.has(name)] + [name for name in extra if not kernel_modules.is_builtin(name)]
    with Operation(emit, "image", unit="files", output=str(output)) as operation:
        index, taken = modules.index(kernel_modules, wanted)
        libraries = list(_libraries(tree))
        entries = [*_base(_build_date(tree, program, credentials)), *_tree(tree), *libraries]
        if credentials:
            entries += _credentials(credentials)
        entries += [cpio.regular(f"{layout.MODULES}/{module.name}.ko", module.content) for module in taken.values()]
        entries.append(cpio.regular(layout.MODULE_INDEX, index))
        operation.progress(len(entries))
        unpacked = write(entries, output, 0o600 if credentials else 0o644)
    names = sorted(Path(entry.name).name for entry in libraries if isinstance(entry.content, Path))
    return Report(len(entries), unpacked, output.stat().st_size, sorted(taken), names)


def write(entries: Iterable[cpio.Entry], output: Path, mode: int = 0o644) -> int:
    """Write one compressed archive; how many bytes it has unpacked. Raises `CannotWrite`."""
    return _replace(output, lambda file: _compress(entries, file), mode)


def append(base: Path, files: dict[str, bytes], output: Path, *, secret: bool = False) -> None:
    """A copy of an image in which `files`, by name, replace what is there or are added. Executable where they begin as programs
    do; where they are `secret`, they and the image are for their owner alone."""
    directories = sorted({str(parent) for name in files for parent in Path(name).parents if str(parent) != "."})
    entries = [cpio.directory(name) for name in directories]
    for name, content in files.items():
        program = content[:2] in {b"#!", b"\x7fE"}
        entries.append(cpio.secret(name, content) if secret else cpio.regular(name, content, executable=program))

    def both(file: BinaryIO) -> int:
        file.write(base.read_bytes())
        return _compress(entries, file)

    _replace(output, both, 0o600 if secret else 0o644)


def add_credentials(base: Path, credentials: Credentials, output: Path) -> None:
    """A copy of an image that says who the machine is; its clock begins when its certificate does. Raises `CannotWrite`."""
    files = {entry.name: entry.content for entry in _credentials(credentials) if isinstance(entry.content, bytes) and entry.content}
    append(base, {**files, layout.BUILD_DATE: b"%d\n" % own_certificate(credentials).not_before}, output, secret=True)


def _compress(entries: Iterable[cpio.Entry], output: BinaryIO) -> int:
    import zstandard

    parameters = zstandard.ZstdCompressionParameters.from_level(LEVEL, threads=2, job_size=_JOB_SIZE)
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    with compressor.stream_writer(output, closefd=False) as stream:
        return cpio.write(entries, cast("BinaryIO", stream))


def _replace(output: Path, fill: Callable[[BinaryIO], int], mode: int = 0o644) -> int:
    """Write a file beside `output` and put it in its place once it is whole."""
    try:
        handle, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}-")
    except OSError as error:
        raise CannotWrite(output=output, reason=error.strerror) from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            result = fill(file)
            file.flush()
            os.fchmod(file.fileno(), mode)
        temporary.replace(output)
    except OSError as error:
        raise CannotWrite(output=output, reason=error.strerror) from error
    finally:
        temporary.unlink(missing_ok=True)
    return result


def _base(build_date: int) -> Iterator[cpio.Entry]:
    yield from (cpio.directory(name) for name in layout.DIRECTORIES)
    yield from (cpio.symlink(name, target) for name, target in layout.LINKS)
    yield from (cpio.character_device(*device) for device in layout.DEVICES)
    yield from (cpio.regular(name, content) for name, content in layout.FILES)
    yield cpio.regular(layout.BUILD_DATE, b"%d\n" % build_date)


def _build_date(tree: Path, program: Path, credentials: Credentials | None) -> int:
    """What the freeze noted, else when the program was made; and no time at which the certificate isn't valid yet."""
    noted = tree / "build-date"
    built = int(noted.read_text()) if noted.is_file() else int(program.stat().st_mtime)
    return max(built, own_certificate(credentials).not_before) if credentials else built


def _credentials(credentials: Credentials) -> Iterator[cpio.Entry]:
    yield cpio.directory(layout.CREDENTIALS)
    yield cpio.regular(f"{layout.CREDENTIALS}/{CA_FILE}", credentials.ca)
    yield cpio.regular(f"{layout.CREDENTIALS}/{CERTIFICATE_FILE}", credentials.certificate)
    yield cpio.secret(f"{layout.CREDENTIALS}/{KEY_FILE}", credentials.key.reveal())


def _profile(tree: Path) -> str:
    """What the freeze called it; nothing where it wasn't one of ours."""
    noted = tree / Path(layout.PROFILE).name
    return noted.read_text().strip() if noted.is_file() else ""


def _tree(tree: Path) -> Iterator[cpio.Entry]:
    """The frozen tree below `/app`. Anything but files, directories and links is refused."""
    for path in sorted(tree.rglob("*")):
        name = f"{layout.APP}/{path.relative_to(tree).as_posix()}"
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            yield cpio.symlink(name, str(path.readlink()))
        elif stat.S_ISDIR(status.st_mode):
            yield cpio.directory(name)
        elif stat.S_ISREG(status.st_mode):
            yield cpio.regular(name, path, executable=bool(status.st_mode & 0o100))
        else:
            raise cpio.UnsuitableEntry(name=str(path), reason="neither file, directory nor symbolic link")


def _libraries(tree: Path) -> Iterator[cpio.Entry]:
    """What the tree needs of this machine, where the loader looks for it."""
    objects = [path for path in sorted(tree.rglob("*")) if path.is_file() and not path.is_symlink() and elf.is_elf(path)]
    bundled = {path.name: path for path in sorted(tree.rglob("*.so*")) if path.is_file() and path.parent.name == "_internal"}
    found = elf.closure(objects, bundled)
    for name, file in found.libraries.items():
        yield cpio.regular(f"{layout.LIBRARIES}/{name}", file, executable=True)
    for asked, file in found.loaders.items():
        yield cpio.regular(f"{layout.LOADER_DIRECTORY}/{Path(asked).name}", file, executable=True)
