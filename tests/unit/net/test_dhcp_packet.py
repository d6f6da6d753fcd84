"""DHCP messages: what we send, what we make of answers."""

from __future__ import annotations

import pytest

from appliance.net import dhcp_packet as packets
from appliance.net.dhcp_packet import MalformedPacket, Packet, decode, encode, lease

HARDWARE = bytes.fromhex("525400123456")
GRANT = {
    packets.MESSAGE_TYPE: bytes((packets.ACK,)),
    packets.SERVER: bytes((10, 0, 0, 2)),
    packets.LEASE_TIME: (3600).to_bytes(4, "big"),
    packets.SUBNET_MASK: bytes((255, 255, 255, 0)),
    packets.ROUTER: bytes((10, 0, 0, 1)),
}


def _granted(address: str = "10.0.0.9", **more: bytes) -> packets.Lease:
    options = {**GRANT, **{int(code[1:]): value for code, value in more.items()}}
    return lease(Packet(2, 7, address, HARDWARE, options))


def test_what_is_sent_reads_back() -> None:
    data = encode(0x01020304, HARDWARE, {packets.MESSAGE_TYPE: b"\1"}, seconds=9, client_address="10.0.0.9")
    assert len(data) == 300
    assert data[:12].hex() == "010106000102030400098000"
    assert data[12:16] == bytes((10, 0, 0, 9))
    packet = decode(data)
    assert (packet.operation, packet.transaction, packet.kind, packet.hardware) == (1, 0x01020304, packets.DISCOVER, HARDWARE)


def test_unicast_has_no_broadcast_flag() -> None:
    assert encode(1, HARDWARE, {}, broadcast=False)[10:12] == b"\0\0"


def test_overloaded_and_split_options() -> None:
    data = bytearray(encode(1, HARDWARE, {packets.OVERLOAD: b"\3", packets.DOMAIN: b"lab"}))
    data[108:120] = bytes((packets.DOMAIN, 5)) + b".test" + bytes((255, 0, 0, 0, 0))
    data[44:48] = bytes((packets.MTU, 2)) + (1400).to_bytes(2, "big")
    packet = decode(bytes(data))
    assert packet.options[packets.DOMAIN] == b"lab.test"
    assert packet.options[packets.MTU] == b"\x05\x78"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "0 bytes"),
        (bytes(300), "magic cookie"),
        (encode(1, HARDWARE, {})[:240] + b"\x35", "option 53 is cut off"),
        (encode(1, HARDWARE, {})[:240] + b"\x35\x02\x01", "option 53 is cut off"),
    ],
)
def test_malformed(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedPacket, match=reason):
        decode(data)


def test_a_lease() -> None:
    granted = _granted(_6=bytes((1, 1, 1, 1, 9, 9, 9, 9)), _15=b"lab.test\0", _12=b"box", _26=(1400).to_bytes(2, "big"))
    configuration = granted.configuration
    assert (configuration.address, configuration.prefix, granted.server) == ("10.0.0.9", 24, "10.0.0.2")
    assert configuration.routes == [("0.0.0.0", 0, "10.0.0.1")]
    assert (configuration.resolvers, configuration.domain) == (["1.1.1.1", "9.9.9.9"], "lab.test")
    assert (configuration.hostname, configuration.mtu) == ("box", 1400)
    assert (granted.duration, granted.renew, granted.rebind) == (3600, 1800, 3150)


def test_times_that_make_no_sense_become_the_usual_fractions() -> None:
    granted = _granted(_58=(5000).to_bytes(4, "big"), _59=(10).to_bytes(4, "big"))
    assert (granted.renew, granted.rebind) == (1800, 3150)


def test_classless_routes_replace_the_router() -> None:
    granted = _granted(_121=bytes((0, 10, 0, 0, 254, 25, 10, 9, 8, 200, 0, 0, 0, 0)))
    assert granted.configuration.routes == [("0.0.0.0", 0, "10.0.0.254"), ("10.9.8.128", 25, None)]


@pytest.mark.parametrize("value", [bytes((33, 1, 2, 3, 4, 5, 6, 7, 8, 9)), bytes((24, 10)), b"\0"])
def test_malformed_classless_routes_leave_the_router_out_of_it(value: bytes) -> None:
    """Who sends them means something other than the router; what, nobody can tell, so the router is the better guess."""
    assert _granted(_121=value).configuration.routes == [("0.0.0.0", 0, "10.0.0.1")]


@pytest.mark.parametrize("name", [b"a b", b"x\nnameserver 6.6.6.6", "ä".encode(), b"", b"a" * 254])
def test_names_that_do_not_belong_in_a_file_are_left_out(name: bytes) -> None:
    granted = _granted(_15=name, _12=name)
    assert (granted.configuration.domain, granted.configuration.hostname) == ("", "")


def test_an_mtu_too_small_is_left_out() -> None:
    assert _granted(_26=(68).to_bytes(2, "big")).configuration.mtu == 0


@pytest.mark.parametrize("code", [packets.SERVER, packets.LEASE_TIME, packets.SUBNET_MASK])
def test_what_cannot_be_done_without(code: int) -> None:
    with pytest.raises(MalformedPacket):
        _granted(**{f"_{code}": b"\1"})


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"])
def test_addresses_that_are_no_machines(address: str) -> None:
    with pytest.raises(MalformedPacket):
        _granted(address)
