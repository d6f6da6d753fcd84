"""Which files of a `lib/modules/VERSION` loading some kernel modules takes, and for which devices they are.

What a module needs and serves stands in itself (the section `.modinfo`: NUL-terminated `key=value`), so nothing has to have run
depmod. A module that another one names as a soft dependency comes along where the kernel has it. One that is described by an alias
there (`crypto-crc32c`) doesn't: what is built in does the same, slower.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

from tvix.errors import EX_DATAERR, EX_NOINPUT, TvixError

DEFAULT = (
    "af_packet",
    "e1000",
    "e1000e",
    "erofs",
    "fuse",
    "igb",
    "overlay",
    "r8169",
    "virtio_blk",
    "virtio_mmio",
    "virtio_net",
    "virtio_pci",
)
"""What a virtual machine or a common server needs to come up on a network and mount a store; taken where the kernel has it."""

DEFAULT_TINY = tuple(name for name in DEFAULT if name not in ("erofs", "virtio_blk"))
"""The same without what the smallest profile has no use for: it keeps nothing on disks."""

_MAX_PATTERNS = 64


class NoSuchModule(TvixError):
    """The kernel's modules don't include this one."""

    identifier = "initrd.no-such-module"
    message = "{name}: no such module in {directory}"
    hint = "kernel modules lie in lib/modules/VERSION of the kernel that is to boot; its package has them all"
    exit_code = EX_NOINPUT


class NotModules(TvixError):
    """A directory isn't a `lib/modules/VERSION`."""

    identifier = "initrd.not-modules"
    message = "{directory}: no kernel modules here (there is no kernel/ with .ko files, or no modules.builtin)"
    hint = "give the lib/modules/VERSION of the kernel that is to boot"
    exit_code = EX_NOINPUT


class BrokenModule(TvixError):
    """A file isn't a kernel module, or is compressed in a way that isn't known."""

    identifier = "initrd.broken-module"
    message = "{path}: {reason}"
    exit_code = EX_DATAERR


class Module(NamedTuple):
    """A module's file, uncompressed, and what it says about itself."""

    name: str
    content: bytes
    depends: tuple[str, ...]
    soft: tuple[str, ...]
    aliases: tuple[str, ...]


class Directory:
    """A `lib/modules/VERSION`. Modules are read when they are asked for."""

    def __init__(self, path: Path) -> None:
        """Raises `NotModules`."""
        builtin = path / "modules.builtin"
        if not builtin.is_file():
            raise NotModules(directory=path)
        self._path = path
        self._files = {_name(file): file for file in sorted(path.rglob("*.ko*")) if file.is_file()}
        self._builtin = {_name(Path(line)) for line in builtin.read_text().split()}
        self._read: dict[str, Module] = {}

    def has(self, name: str) -> bool:
        """Whether there is a module of this name, as a file or built in."""
        return canonical(name) in self._files or self.is_builtin(name)

    def is_builtin(self, name: str) -> bool:
        """Whether the kernel has this built in."""
        return canonical(name) in self._builtin

    def read(self, name: str) -> Module:
        """Read a module. Raises `NoSuchModule`, `BrokenModule`."""
        name = canonical(name)
        if name not in self._files:
            raise NoSuchModule(name=name, directory=self._path)
        if name not in self._read:
            self._read[name] = _parse(name, self._files[name])
        return self._read[name]

    def load_order(self, name: str) -> list[Module]:
        """What to load for `name`, and in which order; nothing if it is built in. Raises `NoSuchModule`, `BrokenModule`."""
        order: dict[str, Module] = {}
        self._visit(canonical(name), order, set())
        return list(order.values())

    def _visit(self, name: str, order: dict[str, Module], above: set[str]) -> None:
        if name in order or name in above or self.is_builtin(name):
            return
        module = self.read(name)
        for soft in module.soft:
            if soft in self._files:
                self._visit(soft, order, above | {name})
        for needed in module.depends:
            self._visit(needed, order, above | {name})
        order[name] = module


def canonical(name: str) -> str:
    """The kernel's own spelling of a module's name."""
    return name.replace("-", "_")


def index(directory: Directory, names: list[str]) -> tuple[bytes, dict[str, Module]]:
    """The module index (docs/formats/initrd.md) for `names` and what they need, and the modules to put beside it."""
    lines: list[str] = []
    taken: dict[str, Module] = {}
    for name in names:
        taken.update((module.name, module) for module in directory.load_order(name))
    for name in sorted(taken):
        files = [f"{module.name}.ko" for module in directory.load_order(name)]
        lines.append(" ".join(["module", name, *files]))
    pairs = {(pattern, name) for name, module in taken.items() for alias in module.aliases for pattern in _patterns(alias)}
    lines += [f"alias {pattern} {name}" for pattern, name in sorted(pairs)]
    return "".join(f"{line}\n" for line in lines).encode("ascii"), taken


def _name(file: Path) -> str:
    return canonical(file.name.split(".", 1)[0])


def _parse(name: str, path: Path) -> Module:
    content = _uncompressed(path)
    fields: dict[str, list[str]] = {}
    for item in _modinfo(path, content).split(b"\0"):
        key, separator, value = item.partition(b"=")
        if separator:
            fields.setdefault(key.decode(errors="replace"), []).append(value.decode(errors="replace"))
    depends = [canonical(word) for value in fields.get("depends", []) for word in value.split(",") if word]
    soft = [canonical(word) for value in fields.get("softdep", []) for word in value.split() if not word.endswith(":")]
    aliases = [value for value in fields.get("alias", []) if ":" in value and " " not in value]
    return Module(name, content, tuple(depends), tuple(soft), tuple(aliases))


def _uncompressed(path: Path) -> bytes:
    data = path.read_bytes()
    try:
        if path.suffix == ".xz":
            import lzma

            return lzma.decompress(data)
        if path.suffix == ".gz":
            import gzip

            return gzip.decompress(data)
        if path.suffix == ".zst":
            import zstandard

            return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    except Exception as error:
        raise BrokenModule(path=path, reason=f"can't be uncompressed: {error}") from error
    return data


def _modinfo(path: Path, content: bytes) -> bytes:
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        section = ELFFile(io.BytesIO(content)).get_section_by_name(".modinfo")
    except ELFError as error:
        raise BrokenModule(path=path, reason=f"not an ELF file: {error}") from error
    if section is None:
        raise BrokenModule(path=path, reason="has no .modinfo section, so it isn't a kernel module")
    data: bytes = section.data()
    return data


def _patterns(alias: str) -> list[str]:
    """An alias with its character classes written out, so that only `*` is special. What can't be written out short becomes `*`."""
    before, bracket, rest = alias.partition("[")
    if not bracket:
        return [alias.replace("?", "*")]
    characters, _, after = rest.partition("]")
    patterns = [before + character + tail for character in _class(characters) for tail in _patterns(after)]
    return patterns if len(patterns) <= _MAX_PATTERNS else [f"{before}*"]


def _class(characters: str) -> list[str]:
    written: list[str] = []
    position = 0
    while position < len(characters):
        if characters[position + 1 : position + 2] == "-" and position + 2 < len(characters):
            written += [chr(code) for code in range(ord(characters[position]), ord(characters[position + 2]) + 1)]
            position += 3
        else:
            written.append(characters[position])
            position += 1
    return written
