"""A disk that fails at one chosen moment: the system calls by which files get written, and LMDB's commits, below one directory.

The calls themselves are replaced, in this process and for as long as the context lasts, so whatever writes is tested as it is.
Count with `fail_at=None` how many moments there are, then let each of them fail in turn.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, cast

import lmdb

from tvix.castore.pack import index

Path = str | bytes | os.PathLike[str]
_Call = Callable[..., object]


class FailingDisk:
    """Call number `fail_at`, from 0, fails with `number`; with `stays` all later ones too; with `short` a write writes half.

    What a failed fsync should have made durable is lost, as on a real disk once the kernel has let go of the pages.
    `calls` lists what was counted: of ENOSPC no calls that need no space, of short writes nothing but writes.
    """

    def __init__(
        self, directory: Path, fail_at: int | None, number: int = errno.EIO, *, stays: bool = False, short: bool = False
    ) -> None:
        self._directory = os.path.realpath(os.fsdecode(directory))
        self._fail_at = fail_at
        self._number = number
        self._stays = stays
        self._short = short
        self.calls: list[str] = []
        self._kept: dict[str, _Call] = {}
        self._unsynced: dict[int, int] = {}

    def __enter__(self) -> Self:
        replaced: dict[str, _Call] = {
            **{name: self._by_fd(name) for name in ("fsync", "fdatasync")},
            **{name: self._write(name) for name in ("write", "pwrite", "pwritev")},
            "open": self._open,
            "rename": self._rename,
            "unlink": self._unlink,
        }
        for name, call in replaced.items():
            self._kept[name] = getattr(os, name)
            setattr(os, name, call)
        opened = self._open_index = index._Environment.open

        def open_index(environment: index._Environment) -> lmdb.Environment:
            return cast("lmdb.Environment", _Environment(opened(environment), self))

        index._Environment.open = open_index  # type: ignore[method-assign,assignment]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        index._Environment.open = self._open_index  # type: ignore[method-assign]
        for name, call in self._kept.items():
            setattr(os, name, call)

    def due(self, what: str) -> bool:
        """Count a call; whether it is one that fails."""
        if self._short and "write" not in what:
            return False
        self.calls.append(what)
        number = len(self.calls) - 1
        return self._fail_at is not None and (number >= self._fail_at if self._stays else number == self._fail_at)

    @property
    def message(self) -> str:
        """What the system says of the error."""
        return os.strerror(self._number)

    def _fail(self) -> None:
        raise OSError(self._number, self.message)

    def _is_ours(self, path: Path | int) -> bool:
        place = os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else os.path.realpath(os.fsdecode(path))
        return place.startswith(self._directory + "/") or place == self._directory

    def _by_fd(self, name: str) -> _Call:
        def call(fd: int) -> object:
            if self._is_ours(fd) and self.due(name):
                self._lose(fd)
                self._fail()
            done = self._kept[name](fd)
            self._unsynced.pop(os.fstat(fd).st_ino, None)
            return done

        return call

    def _lose(self, fd: int) -> None:
        start = self._unsynced.pop(os.fstat(fd).st_ino, None)
        if start is not None:
            size = os.fstat(fd).st_size
            os.truncate(fd, min(start, size))
            os.truncate(fd, size)

    def _write(self, name: str) -> _Call:
        def call(fd: int, data: bytes | Sequence[bytes], *rest: int) -> object:
            ours = self._is_ours(fd)
            if ours and rest:
                inode = os.fstat(fd).st_ino
                self._unsynced[inode] = min(rest[0], self._unsynced.get(inode, rest[0]))
            if not ours or not self.due(name):
                return self._kept[name](fd, data, *rest)
            if not self._short:
                self._fail()
            whole = b"".join(cast("Sequence[bytes]", data)) if name == "pwritev" else bytes(cast("bytes", data))
            return self._kept["write" if name == "write" else "pwrite"](fd, whole[: (len(whole) + 1) // 2], *rest)

        return call

    def _open(self, path: Path, flags: int, *rest: object, **named: object) -> object:
        if flags & os.O_CREAT and self._is_ours(path) and self.due("create"):
            self._fail()
        return self._kept["open"](path, flags, *rest, **named)

    def _rename(self, source: Path, destination: Path, **named: object) -> None:
        if self._is_ours(destination) and self.due("rename"):
            self._fail()
        self._kept["rename"](source, destination, **named)

    def _unlink(self, path: Path, **named: object) -> None:
        if self._number != errno.ENOSPC and self._is_ours(path) and self.due("unlink"):
            self._fail()
        self._kept["unlink"](path, **named)


class _Environment:
    """An LMDB environment whose write transactions may fail to commit."""

    def __init__(self, environment: lmdb.Environment, disk: FailingDisk) -> None:
        self._environment = environment
        self._disk = disk

    def __getattr__(self, name: str) -> object:
        return getattr(self._environment, name)

    def begin(self, *, write: bool = False) -> lmdb.Transaction | _Commit:
        """A transaction; those that write are counted when they commit."""
        transaction = self._environment.begin(write=write)
        return _Commit(transaction, self._disk) if write else transaction


class _Commit:
    def __init__(self, transaction: lmdb.Transaction, disk: FailingDisk) -> None:
        self._transaction = transaction
        self._disk = disk

    def __enter__(self) -> lmdb.Transaction:
        return self._transaction

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self._transaction.abort()
        elif self._disk.due("commit"):
            self._transaction.abort()
            raise lmdb.Error(f"mdb_txn_commit: {self._disk.message}")
        else:
            self._transaction.commit()
