"""Signed closure roots in a store server."""

from __future__ import annotations

import pytest

from tvix.testing.closure_roots_conformance import *  # noqa: F403

pytestmark = pytest.mark.parametrize("way", ["grpc+tcp", "grpc+unix", "tvix+tcp", "tvix+unix"], indirect=True)
"""Published services have no such thing."""
