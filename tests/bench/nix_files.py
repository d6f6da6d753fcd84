"""Some thousand Nix files of the kind that package sets are made of, the same every time."""

from __future__ import annotations

import random
from pathlib import Path

_WORDS = (
    "build",
    "check",
    "core",
    "data",
    "flag",
    "graph",
    "image",
    "kernel",
    "library",
    "module",
    "network",
    "object",
    "parser",
    "query",
    "render",
    "server",
    "test",
    "unit",
    "view",
    "web",
)
_PHASES = ("configurePhase", "buildPhase", "checkPhase", "installPhase", "fixupPhase")


def make_files(folder: Path, total_bytes: int, seed: int = 0) -> Path:
    """Write files of that size together, and one beside them that imports all and counts their attributes; its path."""
    chance = random.Random(seed)
    names: list[str] = []
    written = 0
    while written < total_bytes:
        name = f"package-{len(names)}.nix"
        text = _package(chance, len(names))
        place = folder / f"{len(names) // 100}"
        place.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
        names.append(f"./{place.name}/{name}")
        written += len(text)
    everything = folder / "default.nix"
    paths = "\n  ".join(names)
    count = "sum: file: sum + builtins.length (builtins.attrNames (builtins.functionArgs (import file)))"
    everything.write_text(f"builtins.foldl' ({count}) 0 [\n  {paths}\n]\n")
    return everything


def _package(chance: random.Random, number: int) -> str:
    words = chance.sample(_WORDS, 8)
    inputs = [f"lib{word}" for word in words]
    version = ".".join(str(chance.randrange(30)) for _ in range(3))
    lines = [
        "# One package among many; nothing builds it.",
        f"{{ lib, stdenv, fetchurl, {', '.join(inputs)}, with{words[0].title()} ? true, with{words[1].title()} ? false }}:",
        "",
        "let",
        f'  version = "{version}";',
        f"  optional{words[2].title()} = lib.optionals with{words[0].title()} [ {inputs[0]} {inputs[1]} ];",
        "in",
        "stdenv.mkDerivation rec {",
        f'  pname = "{words[3]}-{number}";',
        "  inherit version;",
        "",
        "  src = fetchurl {",
        f'    url = "https://example.org/{words[3]}/${{pname}}-${{version}}.tar.gz";',
        f'    hash = "sha256-{chance.getrandbits(250):063x}";',
        "  };",
        "",
        f"  buildInputs = [ {' '.join(inputs[2:])} ] ++ optional{words[2].title()};",
    ]
    for phase in chance.sample(_PHASES, 3):
        lines += ["", f"  {phase} = ''", f"    runHook pre{phase}"]
        for word in chance.sample(_WORDS, 2):
            lines.append(f"    substituteInPlace src/{word}.c --replace /usr/{word} ${{lib{words[0]}}}/{word} --flag ''${{{word}}}")
        lines += [f"    runHook post{phase}", "  '';"]
    lines += ["", "  meta = with lib; {", f'    description = "A {words[4]} for {words[5]}s";', "    license = licenses.mit;"]
    for word in chance.sample(_WORDS, 6):
        lines.append(
            f'    {word} = if versionAtLeast version "{chance.randrange(9)}" then [ {chance.randrange(99)} ./{word} ] else {{ }};'
        )
    lines += [
        f"    broken = with{words[1].title()} && !stdenv.isLinux || stdenv.hostPlatform.{words[6]} or false;",
        "  };",
        "}",
        "",
    ]
    return "\n".join(lines)
