"""Who waits for the file system, and whether it is about to die.

Linux sends INTERRUPT for any signal, handled ones included. A program must not see EINTR from a regular file because a child of it
has ended, so a request is given up only for a caller that is being killed: a fatal signal puts SIGKILL among the pending
signals of each thread. See proc_pid_status(5).

It sends none for READs that fill the page cache, since nobody waits for these but for the pages: a program that is killed meanwhile
just goes. Those are given up once their caller is gone. Whoever else waits for the same pages asks again.
"""

from __future__ import annotations

import os

_SIGKILL_BIT = 1 << 8


def is_dying(thread: int) -> bool:
    """Whether the thread is being killed, gone, or not to be seen from here (0: in a namespace of its own)."""
    if thread == 0:
        return True
    try:
        with open(f"/proc/{thread}/status", "rb") as status:
            lines = status.read().splitlines()
    except OSError:
        return True
    return any(int(line.split()[1], 16) & _SIGKILL_BIT for line in lines if line.startswith((b"SigPnd:", b"ShdPnd:")))


def is_gone(thread: int) -> bool:
    """Whether the thread has ended; False where it isn't to be seen from here."""
    if thread == 0:
        return False
    try:
        os.kill(thread, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # it is there
    return False
