"""`derivation` replaced: what a program would build is noted, and nothing is built."""

from __future__ import annotations

from tvix.serde import load

PROGRAM = """
let
  library = derivation { name = "library"; builder = "/bin/sh"; system = "any"; };
  program = derivation { name = "program"; builder = "/bin/sh"; system = "any"; inputs = [ library ]; };
in
"${program}/bin/program"
"""


def main() -> None:
    """Each derivation gets a place of our own."""
    seen: list[str] = []

    def derivation(arguments: dict[str, object]) -> dict[str, object]:
        name = str(arguments["name"])
        seen.append(name)
        return {**arguments, "type": "derivation", "outPath": f"/build/{name}"}

    print(load(PROGRAM, str, builtins={"derivation": derivation}))
    print(f"in this order: {', '.join(seen)}")


if __name__ == "__main__":
    main()
