"""The program's first lines: which part of it is meant, by the first word or by the name it was called by.

PID 1 starts here too, so nothing is imported before it is known that it is needed.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

VERBS = {
    "store": "appliance.cli.store",
    "eval": "appliance.cli.eval",
    "parse": "appliance.cli.parse",
    "repl": "appliance.cli.repl",
    "lint": "appliance.cli.lint",
    "nix-instantiate": "appliance.cli.nix_instantiate",
    "path-info": "appliance.cli.path_info",
    "hash": "appliance.cli.hash",
    "mount": "appliance.cli.mount",
    "run": "appliance.cli.run",
    "boot": "appliance.cli.boot",
    "key": "appliance.cli.key",
    "image": "appliance.cli.image",
    "tls": "appliance.cli.tls",
    "doctor": "appliance.cli.doctor",
    "selftest": "appliance.cli.selftest",
}
"""The module of each verb. A module with `VERBS` of its own is a group, and the next word says which of it."""
PERSONALITIES = {"nix-instantiate"}
"""Verbs that are also names by which the program may be called."""


def run(argv: Sequence[str] | None = None) -> int:
    """Do what the command line (`argv`, the program's name first) says; the answer is the exit status."""
    words = list(sys.argv if argv is None else argv)
    called = words[0].rpartition("/")[2] if words else ""
    if called == "init" or (called.startswith("tvix") and _is_first_process() and not _asks_for_a_verb(words)):
        from appliance.boot import early

        mount_process = early.fork_at_once()
        from appliance.boot.init import main

        return main(mount_process)
    if called in PERSONALITIES:
        words[0:1] = ["tvix", called]
    if called.startswith("tvix-") and called[5:] in VERBS:
        words[0:1] = ["tvix", called[5:]]
    if words[1:] == ["--version"]:
        return _print_version()
    try:
        from appliance.cli.dispatch import dispatch
    except ModuleNotFoundError:  # the smallest of the frozen trees
        print("tvix: error: this build boots machines and has no command line", file=sys.stderr)  # noqa: T201
        return 64

    return dispatch(words[1:])


def _is_first_process() -> bool:
    import posix

    return posix.getpid() == 1


def _asks_for_a_verb(words: list[str]) -> bool:
    """In a container the program may be PID 1 without being the machine's init; the kernel passes its init no verb."""
    return len(words) > 1 and (words[1] in VERBS or words[1] in ("--help", "--version", "-h", "help"))


def _print_version() -> int:
    from tvix import VERSION

    try:
        print("tvix", VERSION, flush=True)  # noqa: T201
    except OSError as error:
        from appliance.cli.failure import report

        return report(error, [], as_json=False)
    return 0


if __name__ == "__main__":
    sys.exit(run())
