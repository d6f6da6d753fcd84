"""Where the programs under measurement are, and the surroundings that stock Nix needs."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TVIX = ROOT / ".venv/bin/tvix"


def nix_environment(home: Path) -> dict[str, str]:
    """A home of its own and no substituters: nothing is asked of the network, nothing of the user's is read."""
    home.mkdir(parents=True, exist_ok=True)
    settings = "substituters =\nbuild-users-group =\nexperimental-features = nix-command\n"
    return {**os.environ, "HOME": str(home), "NIX_CONFIG": settings}
