"""Which libraries of the build host a tree of programs needs.

The search is the dynamic loader's (ld.so(8)): the object's own RUNPATH or RPATH, then the directories of `ld.so.conf`, then the
default ones. `LD_LIBRARY_PATH` is left out on purpose: the frozen program sets it itself once it runs, but what it is linked
with has to be found before that. Libraries that only `dlopen` asks for are not found; glibc has its name services built in since
2.34.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tvix.errors import EX_DATAERR, EX_NOINPUT, TvixError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from elftools.elf.elffile import ELFFile

DEFAULT_DIRECTORIES = ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib")
LOADER_CONFIGURATION = Path("/etc/ld.so.conf")

_ATTRIBUTES = {"DT_NEEDED": "needed", "DT_RPATH": "rpath", "DT_RUNPATH": "runpath"}
"""Where pyelftools puts the string of a tag."""


class MissingLibrary(TvixError):
    """A program needs a library that this machine doesn't have."""

    identifier = "initrd.missing-library"
    message = "{needed_by}: needs {library}, which is in none of {directories}"
    hint = "build the initrd on the machine that froze the tree, or install the library"
    exit_code = EX_NOINPUT


class BrokenObject(TvixError):
    """A file says it is ELF and isn't, or is of another machine."""

    identifier = "initrd.broken-object"
    message = "{path}: {reason}"
    exit_code = EX_DATAERR


class Needs(NamedTuple):
    """What one object asks of the loader. `search` is its RUNPATH or RPATH, `$ORIGIN` filled in."""

    interpreter: str | None
    libraries: tuple[str, ...]
    search: tuple[Path, ...]


class Closure(NamedTuple):
    """`libraries` maps the name that is asked for to the file that has it; `loaders` are the interpreters, by the path asked
    for."""

    libraries: dict[str, Path]
    loaders: dict[str, Path]


def is_elf(path: Path) -> bool:
    """Whether a file begins as ELF files do."""
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def needs(path: Path) -> Needs:
    """Read what an object needs; a static one needs nothing. Raises `BrokenObject`."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            if elf.header["e_machine"] != "EM_X86_64":
                raise BrokenObject(path=path, reason=f"made for {elf.header['e_machine']}, not for x86-64")
            return _dynamic(elf, path)
    except (ELFError, ValueError, KeyError) as error:
        raise BrokenObject(path=path, reason=f"not a readable ELF file: {error}") from error


def closure(objects: Iterable[Path], bundled: dict[str, Path]) -> Closure:
    """What `objects` need of the host.

    `bundled` are libraries that travel with the objects, by name. They serve libraries, and each other, but not programs: those are
    loaded before anything can say where the bundled ones are.
    """
    found = Closure({}, {})
    directories = _system_directories()
    programs: list[Path] = []
    libraries: list[Path] = []
    for path in objects:
        (programs if needs(path).interpreter else libraries).append(path)
    _follow(programs, {}, directories, found)
    _follow(libraries, bundled, directories, found)
    return found


def _follow(objects: Iterable[Path], bundled: dict[str, Path], directories: list[Path], found: Closure) -> None:
    queue = list(objects)
    seen = set(queue)
    while queue:
        path = queue.pop()
        wanted = needs(path)
        if wanted.interpreter:
            found.loaders[wanted.interpreter] = Path(wanted.interpreter).resolve()
        for name in wanted.libraries:
            library = bundled.get(name)
            if library is None:
                library = _search(name, path, [*wanted.search, *directories])
                if not _is_loader(name):
                    found.libraries[name] = library
            if library not in seen:
                seen.add(library)
                queue.append(library)


def _search(name: str, needed_by: Path, directories: list[Path]) -> Path:
    for directory in directories:
        candidate = directory / name
        if candidate.is_file():
            return candidate.resolve()
    raise MissingLibrary(needed_by=needed_by, library=name, directories=", ".join(map(str, directories)))


def _is_loader(name: str) -> bool:
    return name.startswith("ld-linux")


def _dynamic(elf: ELFFile, path: Path) -> Needs:
    from elftools.elf.dynamic import DynamicSegment
    from elftools.elf.segments import InterpSegment

    interpreter = None
    values: dict[str, list[str]] = {tag: [] for tag in _ATTRIBUTES}
    for segment in elf.iter_segments():
        if isinstance(segment, InterpSegment):
            interpreter = segment.get_interp_name()
        elif isinstance(segment, DynamicSegment):
            for tag in segment.iter_tags():
                if tag.entry.d_tag in _ATTRIBUTES:
                    values[tag.entry.d_tag].append(getattr(tag, _ATTRIBUTES[tag.entry.d_tag]))
    directories = ":".join(values["DT_RUNPATH"] or values["DT_RPATH"]).split(":")
    origin = str(path.resolve().parent)
    filled = (item.replace("$ORIGIN", origin).replace("${ORIGIN}", origin) for item in directories if item)
    return Needs(interpreter, tuple(values["DT_NEEDED"]), tuple(Path(item) for item in filled))


def _system_directories() -> list[Path]:
    """The directories of ld.so.conf, then the default ones, each once."""
    names = [*_configured(LOADER_CONFIGURATION), *DEFAULT_DIRECTORIES]
    return [Path(name) for name in dict.fromkeys(names)]


def _configured(configuration: Path) -> list[str]:
    names: list[str] = []
    if not configuration.is_file():
        return names
    for line in configuration.read_text(errors="replace").splitlines():
        words = line.split("#", 1)[0].split()
        if words[:1] == ["include"]:
            for pattern in words[1:]:
                base = Path("/") if pattern.startswith("/") else configuration.parent
                for included in sorted(base.glob(pattern.lstrip("/"))):
                    names += _configured(included)
        else:
            names += words
    return names
