"""Kernel modules: those that devices want, and those asked for by name. The index is `docs/formats/initrd.md`'s.

Devices say what drives them in `modalias` files; a driver may bring up a bus with more devices, so looking ends when nothing new
is found.
"""

from __future__ import annotations

import os

from appliance.boot import syscalls
from initrd import layout
from tvix.errors import EX_NOINPUT, TvixError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_BUSES = "/sys/bus"


class NoFeature(TvixError):
    """The kernel lacks something that boot can't do without."""

    identifier = "boot.kernel-lacks"
    message = "this kernel has no {feature}, and the initrd no module {module} for it"
    hint = "make the initrd with the modules of the kernel it is booted with: tvix image initrd --kernel-modules"
    exit_code = EX_NOINPUT


class Modules:
    """The modules of the initrd. Each is loaded at most once, what it needs first."""

    def __init__(self, directory: str = f"/{layout.MODULES}", *, log: Callable[[str], None] = lambda _text: None) -> None:
        """An initrd without an index has no modules, which suits kernels that have everything built in. Raises OSError."""
        self._directory = directory
        self._log = log
        self._files: dict[str, list[str]] = {}
        self._aliases: dict[str, list[tuple[str, str]]] = {}
        self._loaded: set[str] = set()
        self._seen: set[str] = set()
        self.loaded: list[str] = []
        """Names in the order in which they were loaded."""
        index = f"{directory}/{os.path.basename(layout.MODULE_INDEX)}"
        if os.path.exists(index):
            self._read(index)

    def _read(self, index: str) -> None:
        with open(index, encoding="utf-8") as stream:
            for line in stream:
                kind, name, *rest = line.split()
                if kind == "module":
                    self._files[name] = rest
                else:
                    self._aliases.setdefault(_bus(name), []).append((name, rest[0]))

    def for_devices(self) -> None:
        """Load what the devices that are there want. Modules that don't load are logged and passed over: they may not be needed."""
        while True:
            fresh = [alias for alias in _modaliases() if alias not in self._seen]
            if not fresh:
                return
            for alias in fresh:
                self._seen.add(alias)
                for pattern, name in self._aliases.get(_bus(alias), ()):
                    if matches(pattern, alias):
                        self.load(name)

    def load(self, name: str) -> bool:
        """Load a module by name. False where the initrd hasn't got it, or it doesn't load."""
        files = self._files.get(name)
        return files is not None and all(self._load_file(file) for file in files)

    def _load_file(self, file: str) -> bool:
        if file in self._loaded:
            return True
        try:
            descriptor = os.open(f"{self._directory}/{file}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                syscalls.load_module(descriptor, file)
            except FileExistsError:
                pass
            finally:
                os.close(descriptor)
        except OSError as error:
            self._log(f"module {file}: {error.strerror}")
            return False
        self._loaded.add(file)
        self.loaded.append(file.removesuffix(".ko"))
        return True

    def need_filesystem(self, name: str) -> None:
        """See to it that the kernel knows a file system. Raises `NoFeature`."""
        if not _knows(name) and not (self.load(name) and _knows(name)):
            raise NoFeature(feature=f"file system {name}", module=name)


def matches(pattern: str, text: str) -> bool:
    """Whether `text` is `pattern`, in which `*` stands for any text."""
    first, *middle = pattern.split("*")
    if not middle:
        return pattern == text
    last = middle.pop()
    if not text.startswith(first) or not text.endswith(last) or len(text) < len(first) + len(last):
        return False
    position, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, position, end)
        if found < 0:
            return False
        position = found + len(piece)
    return True


def _bus(alias: str) -> str:
    return alias.partition(":")[0]


def _modaliases() -> list[str]:
    found = []
    for bus in os.listdir(_BUSES):
        devices = f"{_BUSES}/{bus}/devices"
        for device in os.listdir(devices):
            try:
                with open(f"{devices}/{device}/modalias", encoding="utf-8") as stream:
                    found.append(stream.read().strip())
            except OSError:  # most devices have none, and some go away
                continue
    return found


def _knows(filesystem: str) -> bool:
    with open("/proc/filesystems", encoding="utf-8") as stream:
        return any(line.split()[-1] == filesystem for line in stream)
