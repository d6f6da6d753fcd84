"""`ip=` as the kernel reads it."""

from __future__ import annotations

import pytest

from appliance.net.addresses import InvalidAddress, in_network, is_address, parse, prefix_of


@pytest.mark.parametrize("text", [None, "dhcp", "on", "any", "both", "::::::dhcp", ":::::"])
def test_dhcp(text: str | None) -> None:
    assert parse(text).method == "dhcp"


@pytest.mark.parametrize("text", ["off", "none", "::::::off"])
def test_no_network(text: str) -> None:
    assert parse(text).method == "none"


def test_dhcp_on_one_device_with_a_name() -> None:
    request = parse("::::box:eth1:dhcp")
    assert (request.method, request.device, request.hostname) == ("dhcp", "eth1", "box")


def test_static() -> None:
    request = parse("10.0.0.7:10.0.0.2:10.0.0.1:255.255.252.0:box:eth0:off:10.0.0.53:10.0.0.54:10.0.0.9")
    configuration = request.configuration
    assert configuration is not None
    assert (request.method, request.device, configuration.hostname) == ("static", "eth0", "box")
    assert (configuration.address, configuration.prefix) == ("10.0.0.7", 22)
    assert configuration.routes == [("0.0.0.0", 0, "10.0.0.1")]
    assert configuration.resolvers == ["10.0.0.53", "10.0.0.54"]


@pytest.mark.parametrize(("address", "prefix"), [("10.1.2.3", 8), ("172.16.0.1", 16), ("192.168.1.1", 24)])
def test_the_mask_of_the_address_class(address: str, prefix: int) -> None:
    configuration = parse(address).configuration
    assert configuration is not None
    assert (configuration.prefix, configuration.routes) == (prefix, [])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("bogus", "neither an address nor"),
        ("10.0.0", "10.0.0 is not an IPv4 address"),
        ("10.0.0.256", "10.0.0.256 is not an IPv4 address"),
        ("10.0.0.1::gateway", "gateway gateway is not"),
        ("10.0.0.1:::255.0.255.0", "netmask 255.0.255.0 has holes"),
        ("10.0.0.1::::::bootp", "autoconf bootp is none of"),
        ("10.0.0.1::::::dhcp", "an address and autoconf dhcp"),
        (":" * 12, "13 fields"),
    ],
)
def test_mistakes(text: str, reason: str) -> None:
    with pytest.raises(InvalidAddress) as caught:
        parse(text)
    assert reason in str(caught.value)


def test_prefixes() -> None:
    assert [prefix_of(mask) for mask in ("0.0.0.0", "128.0.0.0", "255.255.255.255")] == [0, 1, 32]
    assert in_network("10.1.2.3", "10.1.2.200", 24)
    assert not in_network("10.1.3.3", "10.1.2.200", 24)
    assert in_network("1.2.3.4", "9.9.9.9", 0)
    assert not is_address("1.2.3.٤")
