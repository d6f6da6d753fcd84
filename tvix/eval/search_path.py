"""The search path: what `<name>` means.

An entry is a prefix and a path. `<a/b>` is found by an entry with the prefix `a` as its path followed by `b`, and by an entry
without a prefix as its path followed by `a/b`; the first entry that has it there counts. `<nix/…>` are files of the evaluator's own
(`core_packages`), where no entry has them.
"""

from __future__ import annotations

from tvix.eval import core_packages
from tvix.eval.annotations import final
from tvix.eval.errors import NotInSearchPath
from tvix.eval.paths import normal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final

    from tvix.eval.io import EvalIO

_SCHEMES: Final = ("http", "https", "file", "channel", "git", "s3", "ssh")


def parse_entry(text: str) -> tuple[str, str]:
    """`prefix=path`, or a path alone, as `-I` takes it."""
    prefix, equals, path = text.partition("=")
    return (prefix, path) if equals else ("", text)


def split_entries(text: str) -> list[tuple[str, str]]:
    """The entries of a `NIX_PATH`, which colons part; those that are URLs have colons of their own."""
    entries: list[tuple[str, str]] = []
    start = 0
    while start < len(text):
        end = text.find(":", start)
        path = text.find("=", start, max(end, 0)) + 1 or start
        is_scheme = text.startswith("://", end) and text[path:end] in _SCHEMES
        if end >= 0 and (is_scheme or text.startswith(("channel:", "flake:"), path)):
            end = text.find(":", end + 1)
        end = len(text) if end < 0 else end
        if end > start:
            entries.append(parse_entry(text[start:end]))
        start = end + 1
    return entries


def is_url(text: str) -> bool:
    """Whether an entry's path is fetched rather than looked at."""
    if text.startswith(("channel:", "flake:")):
        return True
    scheme, separator, _ = text.partition("://")
    return bool(separator) and scheme in _SCHEMES


@final
class SearchPath:
    """Looks names up. Paths that don't begin with `/` start from `base`; `warn` hears of entries that aren't there, once each."""

    def __init__(self, io: EvalIO, base: str, warn: Callable[[str], object], *, pure: bool) -> None:
        self._io = io
        self._base = base
        self._warn = warn
        self._pure = pure
        self._places: dict[str, str | None] = {}

    def find(self, entries: Sequence[tuple[str, str]], name: str) -> str:
        """The path of `<name>`, without symlinks in it. Raises `NotInSearchPath`."""
        for prefix, path in entries:
            rest = _rest(prefix, name)
            place = None if rest is None else self.place(path)
            if place is None:
                continue
            found = self._io.resolve(normal(f"{place}/{rest}") if rest else place)
            if self._io.kind(found) is not None:
                return found
        if name.startswith("nix/"):
            return core_packages.path(name[4:])
        if self._pure:
            raise NotInSearchPath(f"cannot look up '<{name}>' in pure evaluation mode (use '--impure' to override)")
        raise NotInSearchPath(f"file '{name}' was not found in the Nix search path (add it using $NIX_PATH or -I)")

    def place(self, path: str) -> str | None:
        """Where the path of an entry is; None where it isn't there."""
        if path in self._places:
            return self._places[path]
        place: str | None = None
        if is_url(path):
            self._warn(f"warning: Nix search path entry '{path}' cannot be downloaded, ignoring")
        else:
            place = normal(path if path.startswith("/") else f"{self._base}/{path}")
            if self._io.kind(self._io.resolve(place)) is None:
                self._warn(f"warning: Nix search path entry '{path}' does not exist, ignoring")
                place = None
        self._places[path] = place
        return place


def _rest(prefix: str, name: str) -> str | None:
    """What of `name` comes after `prefix`; None where it doesn't begin with it."""
    if not prefix:
        return name
    if name == prefix:
        return ""
    return name[len(prefix) + 1 :] if name.startswith(prefix + "/") else None
