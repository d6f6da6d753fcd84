"""Both ends of a `Fetch`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tvix.castore.addresses import Castore
from tvix.testing.fetch_ends import Ends, memory


@pytest.fixture
def make() -> Callable[..., Ends]:
    """Both ends, with lists trusted or not, and a near end."""

    def begin(*, trusts_lists: bool = True, near: Castore | None = None) -> Ends:
        return Ends(near or memory(), memory(), trusts_lists=trusts_lists)

    return begin


@pytest.fixture
def ends(make: Callable[..., Ends]) -> Ends:
    """With lists trusted."""
    return make()
