"""Credentials for addresses that name none."""

from __future__ import annotations

import pytest

from tvix.castore.addresses import parse_address
from tvix.castore.default_credentials import with_credentials

CASES = {
    "grpc+https://h:1": "grpc+https://h:1?credentials=/c%20d",
    "tvix+tls://h:1?deadline=3": "tvix+tls://h:1?deadline=3&credentials=/c%20d",
    "grpc+https://h:1?credentials=/own": "grpc+https://h:1?credentials=/own",
    "tvix+tls://h:1?ca=/own.pem": "tvix+tls://h:1?ca=/own.pem",
    "grpc+http://h:1": "grpc+http://h:1",
    "pack:/grpc+https:/x%41": "pack:/grpc+https:/x%41",
    "grpc+https://nonsense": "grpc+https://nonsense",
    "": "",
}


@pytest.mark.parametrize("url", CASES)
def test_addresses(url: str) -> None:
    assert with_credentials(url, "/c d") == CASES[url]


def test_inside_a_cache() -> None:
    given = "cache:?near=pack%3A%2Fn&far=grpc%2Bhttps%3A%2F%2Fh%3A1%3Fdeadline%3D3&max=1G"
    address = parse_address(with_credentials(given, "/c&d"))
    assert address.parameter("near") == "pack:/n"
    assert address.parameter("max") == "1G"
    far = parse_address(address.parameter("far"))
    assert (far.parameter("credentials"), far.parameter("deadline")) == ("/c&d", "3")
