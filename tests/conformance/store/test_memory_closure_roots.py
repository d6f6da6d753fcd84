"""Signed closure roots in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tvix.store.addresses import open_store
from tvix.store.store import Store
from tvix.testing.closure_roots_conformance import *  # noqa: F403


@pytest.fixture
def store() -> Iterator[Store]:
    with open_store("memory:") as store:
        yield store
