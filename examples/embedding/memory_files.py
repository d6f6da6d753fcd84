"""Files that are on no disk, and limits for programs that nobody vouches for."""

from __future__ import annotations

from tvix.eval.errors import LimitExceeded
from tvix.eval.io_memory import MemoryIO
from tvix.serde import EvaluationFailed, Limits, load, load_file

FILES = {
    "/project/default.nix": b"let greet = import ./greet.nix; in map greet (import ./names.nix) ++ [ (builtins.readFile ./note) ]",
    "/project/greet.nix": b'name: "hello ${name}"',
    "/project/names.nix": b'[ "one" "two" ]',
    "/project/note": b"read as a file",
}


def main() -> None:
    """Evaluate a project in memory; then see what can't be reached, and what takes too long."""
    print(load_file("/project", list[str], io=MemoryIO(FILES)))
    try:
        load("builtins.readFile /etc/passwd", str)
    except EvaluationFailed as error:
        print(error)
    try:
        load("builtins.length (builtins.genList (n: n) 1000000000)", int, limits=Limits(seconds=10, memory=256 << 20))
    except LimitExceeded as error:
        print(error)


if __name__ == "__main__":
    main()
