"""What an evaluation may look at, as a decorator of any `EvalIO`: nothing but some paths and what lies below them.

Symlinks are followed here, a component at a time, and every place on the way is checked: a link that leads out of what is allowed
is no way out. The directories above an allowed path can be listed, as far as they lead there.
"""

from __future__ import annotations

from tvix.eval import symlinks
from tvix.eval.errors import AccessForbidden

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from tvix.eval.io import EvalIO, FileKind


class RestrictedIO:
    """An `EvalIO` of what `inner` has at and below `allowed`. With `pure`, there is no environment and no time either."""

    def __init__(self, inner: EvalIO, allowed: Iterable[str] = (), *, pure: bool = False) -> None:
        self._inner = inner
        self._pure = pure
        self._allowed: set[str] = set()
        self._above: set[str] = set()
        for path in allowed:
            self.allow(path)

    def allow(self, path: str) -> None:
        """Allow a path, which has no symlinks in it, and all below it."""
        self._allowed.add(path)
        while path != "/":
            path = path.rpartition("/")[0] or "/"
            self._above.add(path)

    def allows(self, path: str) -> bool:
        """Whether a path may be looked at. Nothing is looked at for it, so links in the path aren't known."""
        if path in self._allowed or path in self._above:
            return True
        while path != "/":
            path = path.rpartition("/")[0] or "/"
            if path in self._allowed:
                return True
        return False

    def kind(self, path: str) -> FileKind | None:
        self._check(path)
        return self._inner.kind(path)

    def resolve(self, path: str) -> str:
        return symlinks.resolve(self, path)

    def read(self, path: str) -> bytes:
        return self._inner.read(self._checked(path))

    def list(self, path: str) -> dict[str, FileKind]:
        place = self._checked(path)
        before = place if place != "/" else ""
        return {name: kind for name, kind in self._inner.list(place).items() if self.allows(f"{before}/{name}")}

    def read_link(self, path: str) -> str:
        self._check(path)
        return self._inner.read_link(path)

    def environment(self, name: str) -> str:
        return ""

    def now(self) -> int:
        return 0 if self._pure else self._inner.now()

    def _checked(self, path: str) -> str:
        place = self.resolve(path)
        self._check(place)
        return place

    def _check(self, path: str) -> None:
        if not self.allows(path):
            mode = "pure evaluation mode (use '--impure' to override)" if self._pure else "restricted mode"
            raise AccessForbidden(f"access to absolute path '{path}' is forbidden in {mode}")
