"""The FUSE protocol as bytes: what of it a read-only file system needs. Source: include/uapi/linux/fuse.h of Linux, version 7.38.

Every request begins with a header of 40 bytes and every reply with one of 16. Numbers are in the machine's byte order; the machines
this runs on are little-endian.
"""

from __future__ import annotations

from struct import Struct

LOOKUP, FORGET, GETATTR, SETATTR, READLINK, SYMLINK = 1, 2, 3, 4, 5, 6
MKNOD, MKDIR, UNLINK, RMDIR, RENAME, LINK = 8, 9, 10, 11, 12, 13
OPEN, READ, WRITE, STATFS, RELEASE, FSYNC = 14, 15, 16, 17, 18, 20
SETXATTR, GETXATTR, LISTXATTR, REMOVEXATTR, FLUSH, INIT = 21, 22, 23, 24, 25, 26
OPENDIR, READDIR, RELEASEDIR, FSYNCDIR, GETLK, SETLK, SETLKW = 27, 28, 29, 30, 31, 32, 33
ACCESS, CREATE, INTERRUPT, BMAP, DESTROY, IOCTL, POLL = 34, 35, 36, 37, 38, 39, 40
NOTIFY_REPLY, BATCH_FORGET, FALLOCATE, READDIRPLUS, RENAME2, LSEEK = 41, 42, 43, 44, 45, 46
COPY_FILE_RANGE, SETUPMAPPING, REMOVEMAPPING, SYNCFS, TMPFILE, STATX = 47, 48, 49, 50, 51, 52

NAMES = {value: name for name, value in list(globals().items()) if name.isupper()}
"""What the kernel calls each operation, for counters."""

WRITES = frozenset(
    (
        SETATTR,
        SYMLINK,
        MKNOD,
        MKDIR,
        UNLINK,
        RMDIR,
        RENAME,
        LINK,
        WRITE,
        SETXATTR,
        REMOVEXATTR,
        CREATE,
        FALLOCATE,
        RENAME2,
        COPY_FILE_RANGE,
        TMPFILE,
    )
)
"""Operations that a read-only file system refuses as such."""

UNANSWERED = frozenset((FORGET, BATCH_FORGET, NOTIFY_REPLY))
"""Requests that take no reply."""

ASYNC_READ = 1 << 0
DO_READDIRPLUS = 1 << 13
READDIRPLUS_AUTO = 1 << 14
NO_OPEN_SUPPORT = 1 << 17
PARALLEL_DIROPS = 1 << 18
MAX_PAGES = 1 << 22
CACHE_SYMLINKS = 1 << 23
NO_OPENDIR_SUPPORT = 1 << 24

FOPEN_KEEP_CACHE = 1 << 1
FOPEN_CACHE_DIR = 1 << 3

NOTIFY_INVAL_INODE = 2

FOREVER = 0x7FFFFFFF
"""A time-out in seconds that outlives machines; the kernel caps it where its clock would overflow."""

IN_HEADER = Struct("<IIQQIIIHH")
"""length, operation, unique, node, uid, gid, pid, extension length, padding."""
IN_HEADER_READ = Struct("<IIQQ8xI4x")
"""The same without uid, gid and what is behind the pid: what the loop reads of each request."""
OUT_HEADER = Struct("<IiQ")
"""length, negative errno or 0, unique (0 for notifications, which have their code in place of the error)."""
INIT_IN = Struct("<IIII")
"""major, minor, read-ahead limit, flags; newer kernels send more behind these."""
INIT_OUT = Struct("<IIIIHHIIHHII24x")
"""major, minor, read-ahead, flags, background limit, congestion threshold, max write, time granularity (ns), max pages, map
alignment, flags2, stack depth."""
ENTRY_OUT = Struct("<QQQQIIQQQQQQIIIIIIIIII")
"""node, generation, entry and attribute validity (s), the same (ns); then as `ATTR_OUT` from the node on."""
ATTR_OUT = Struct("<QIIQQQQQQIIIIIIIIII")
"""attribute validity (s, ns), padding; then node, size, blocks, atime, mtime, ctime, the same (ns), mode, links, uid, gid, device,
block size, flags."""
OPEN_OUT = Struct("<QIi")
"""file handle, flags, backing file."""
READ_IN = Struct("<QQI")
"""file handle, offset, size; the same for reading directories."""
DIRENT = Struct("<QQII")
"""node, offset of the next, length of the name, type; the name follows, padded to 8 bytes."""
DIRENT_PLUS = Struct("<QQQQIIQQQQQQIIIIIIIIIIQQII")
"""`ENTRY_OUT`, then `DIRENT`."""
STATFS_OUT = Struct("<QQQQQIIII24x")
"""blocks, free, available, files, free files, block size, longest name, fragment size, padding."""
GETXATTR_IN = Struct("<II")
"""size of the caller's buffer, padding; for GETXATTR the name follows."""
GETXATTR_OUT = Struct("<II")
"""size of the value, padding: the answer to a buffer of size 0."""
INTERRUPT_IN = Struct("<Q")
"""unique of the request meant."""
INVAL_INODE_OUT = Struct("<Qqq")
"""node, offset, length: forget attributes and the cached pages from offset on."""

HEADER_BYTES = 40
MAX_WRITE = 4096
"""The least the kernel accepts. The reader's buffer must hold a header and this much, or reading /dev/fuse fails and the mount is
dead."""
REQUEST_BYTES = 64 << 10
"""The reader's buffer."""
MAX_PAGES_PER_READ = 256
"""1 MiB a READ."""
