"""Path infos in a server, held to the suite."""

from __future__ import annotations

from tvix.testing.path_infos_conformance import *  # noqa: F403
