"""`python -m tests.bench [NAME…]`: run the measurements and print the table that the README holds."""

from __future__ import annotations

import importlib
import sys

NAMES = ("importing", "mount", "memory", "image", "boot", "grpc_latency", "transfer", "load", "evaluator")


def main(names: list[str]) -> int:
    """Run the named measurements, or all. Exit 1 when a goal is missed."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"no measurement named {unknown[0]}; there are: {', '.join(NAMES)}", file=sys.stderr)
        return 64
    short = 0
    print("what | against | seen | goal | verdict", flush=True)
    for name in names or NAMES:
        for figure in importlib.import_module(f"tests.bench.{name}").figures():
            print(figure, flush=True)
            short += not figure.reached
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
