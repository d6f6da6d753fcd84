"""Whatever arrives on port 68, the client reads it or says that it is malformed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.net import dhcp_packet as packets
from appliance.net.addresses import is_address, prefix_of

HARDWARE = bytes.fromhex("525400123456")
OPTIONS = st.dictionaries(st.integers(1, 254).filter(lambda code: code != packets.OVERLOAD), st.binary(max_size=255), max_size=12)


@given(st.integers(0, 2**32 - 1), OPTIONS)
def test_options_read_back(transaction: int, options: dict[int, bytes]) -> None:
    packet = packets.decode(packets.encode(transaction, HARDWARE, options))
    assert (packet.transaction, packet.options) == (transaction, options)


@given(st.binary(max_size=200), st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(tail: bytes, overlay: bytes) -> None:
    frame = bytearray(packets.encode(1, HARDWARE, {packets.OVERLOAD: b"\3"})[:243])
    frame[44 : 44 + len(overlay)] = overlay
    try:
        packet = packets.decode(bytes(frame) + tail)
        packets.lease(packet)
    except packets.MalformedPacket:
        return


@given(OPTIONS, st.binary(min_size=4, max_size=4))
def test_a_lease_is_always_usable(options: dict[int, bytes], address: bytes) -> None:
    grant = {
        **options,
        packets.SERVER: b"\x0a\0\0\2",
        packets.LEASE_TIME: b"\0\0\x0e\x10",
        packets.SUBNET_MASK: b"\xff\xff\0\0",
    }
    packet = packets.Packet(2, 1, ".".join(map(str, address)), HARDWARE, grant)
    try:
        lease = packets.lease(packet)
    except packets.MalformedPacket:
        return
    assert 0 < lease.renew <= lease.rebind <= lease.duration
    found = lease.configuration
    assert found.prefix == prefix_of("255.255.0.0")
    assert all(
        is_address(network) and 0 <= prefix <= 32 and (way is None or is_address(way)) for network, prefix, way in found.routes
    )
    assert all(character.isprintable() and character != " " for character in found.domain + found.hostname)
