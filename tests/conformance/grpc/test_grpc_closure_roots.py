"""Signed closure roots in a store server."""

from __future__ import annotations

from tvix.testing.closure_roots_conformance import *  # noqa: F403
