"""Runs in a network namespace: a DHCP server for one client whose leases last a second.

Each transaction that begins with a DISCOVER is given the next address, however often it asks. Renewals are transactions of their
own, and get no answer.
"""

from __future__ import annotations

import socket
import struct
import sys

from appliance.net import dhcp_packet as packets

SERVER = "10.88.0.1"


def main(device: str) -> None:
    channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    channel.bind(("", 67))
    print("ready", flush=True)
    number = 9
    transaction: int | None = None
    while True:
        packet = packets.decode(channel.recv(2048))
        if packet.kind == packets.DISCOVER:
            if packet.transaction != transaction:  # and isn't asked once more
                number, transaction = number + 1, packet.transaction
            kind = packets.OFFER
        elif packet.kind == packets.REQUEST and packet.transaction == transaction:
            kind = packets.ACK
        else:
            continue
        channel.sendto(_reply(packet, kind, f"10.88.0.{number}"), ("255.255.255.255", 68))


def _reply(packet: packets.Packet, kind: int, address: str) -> bytes:
    options = {
        packets.MESSAGE_TYPE: bytes((kind,)),
        packets.SERVER: socket.inet_aton(SERVER),
        packets.LEASE_TIME: struct.pack("!I", 1),
        packets.SUBNET_MASK: b"\xff\xff\xff\0",
    }
    data = bytearray(packets.encode(packet.transaction, packet.hardware, options))
    data[0] = 2
    data[16:20] = socket.inet_aton(address)
    return bytes(data)


if __name__ == "__main__":
    main(sys.argv[1])
