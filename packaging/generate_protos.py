"""Generate `tvix/proto` from `protos/`; `python packaging/generate_protos.py [DIRECTORY]`.

The virtual path `tvix/proto` in front of every file makes the generated modules import each other by their real names, and keeps
the files apart from others' in the one pool of descriptors that a process has.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def generate(destination: Path) -> None:
    """Write the modules and their type stubs to `destination`/tvix/proto."""
    import grpc_tools
    from grpc_tools import protoc

    well_known = Path(grpc_tools.__file__).parent / "_proto"
    sources = sorted(path.name for path in (ROOT / "protos").glob("*.proto"))
    arguments = ["protoc", f"-Itvix/proto={ROOT / 'protos'}", f"-I{well_known}", f"--python_out={destination}"]
    arguments += [f"--pyi_out={destination}", *(f"tvix/proto/{name}" for name in sources)]
    if protoc.main(arguments) != 0:
        sys.exit("protoc refused the files in protos/")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
