"""Which addresses can be listened on, and who may do what there."""

from __future__ import annotations

import pytest

from tvix.grpc_api.policy import (
    Insecure,
    InsecureAddress,
    InvalidListenAddress,
    Listen,
    access_at,
    caller_at,
    parse_listen,
)


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("127.0.0.1:8000", Listen(host="127.0.0.1", port=8000)),
        ("localhost:0", Listen(host="localhost")),
        ("[::1]:8000", Listen(host="::1", port=8000)),
        ("[fe80::1%eth0]:1", Listen(host="fe80::1%eth0", port=1)),
        ("0.0.0.0:65535", Listen(host="0.0.0.0", port=65535)),
        ("store.example:80", Listen(host="store.example", port=80)),
        ("unix:/run/tvix/store.sock", Listen(path="/run/tvix/store.sock")),
        ("unix:/with space:and colon", Listen(path="/with space:and colon")),
        ("tvix+unix:/run/framed", Listen(path="/run/framed", scheme="tvix+unix")),
        ("tvix+tcp://[::1]:9", Listen(host="::1", port=9, scheme="tvix+tcp")),
        ("tvix+tls://store.example:9", Listen(host="store.example", port=9, scheme="tvix+tls")),
        ("grpc+https://0.0.0.0:0", Listen(host="0.0.0.0", scheme="grpc+https")),
    ],
)
def test_addresses_and_their_text(text: str, listen: Listen) -> None:
    assert parse_listen(text) == listen
    assert str(listen) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        ":8000",
        "localhost",
        "localhost:",
        "localhost:http",
        "localhost:-1",
        "localhost:65536",
        "localhost:８０",
        "::1:8000",
        "[::1]",
        "[]:80",
        "[127.0.0.1]:80",
        "http://localhost:80",
        "unix:",
        "tvix+tcp://",
        "tvix+tcp:/run/socket",
        "tvix+unix:relative",
        "tvix+tls://localhost",
        "grpc+https://localhost:1/path",
        "tvix+http://localhost:1",
        "unix:relative",
        "unix:/\0",
        "unix:/" + "x" * 107,
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InvalidListenAddress):
        parse_listen(text)


@pytest.mark.parametrize("text", ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "localhost:1", "unix:/s"])
@pytest.mark.parametrize("insecure", [None, "read", "write"])
def test_this_machine_alone_reads_and_writes(text: str, insecure: Insecure) -> None:
    assert access_at(parse_listen(text), insecure) == "write"


@pytest.mark.parametrize(
    "text",
    ["0.0.0.0:1", "[::]:1", "192.168.0.1:1", "10.0.2.2:1", "[fe80::1%eth0]:1", "[::ffff:10.0.0.1]:1", "store.example:1", "127.1:1"],
)
def test_everywhere_else_it_has_to_be_spelled_out(text: str) -> None:
    listen = parse_listen(text)
    with pytest.raises(InsecureAddress, match="other machines"):
        access_at(listen)
    assert access_at(listen, "read") == "read"
    assert access_at(listen, "write") == "write"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("127.0.0.1:1", "grpc+http://127.0.0.1:1"),
        ("grpc+http://[::1]:1", "grpc+http://[::1]:1"),
        ("unix:/run/a b", "grpc+unix:/run/a%20b"),
        ("grpc+unix:/run/x", "grpc+unix:/run/x"),
        ("tvix+unix:/run/a b", "tvix+unix:/run/a%20b"),
        ("tvix+tcp://127.0.0.1:1", "tvix+tcp://127.0.0.1:1"),
        ("tvix+tls://[fe80::1]:1", "tvix+tls://[fe80::1]:1"),
        ("grpc+https://store.example:1", "grpc+https://store.example:1"),
    ],
)
def test_what_clients_write(text: str, url: str) -> None:
    assert parse_listen(text).url == url


@pytest.mark.parametrize("text", ["tvix+tls://0.0.0.0:1", "grpc+https://store.example:1"])
def test_certificates_decide_where_there_is_tls(text: str) -> None:
    assert access_at(parse_listen(text)) == "write"


def test_plain_framed_addresses_are_judged_as_others() -> None:
    with pytest.raises(InsecureAddress, match="other machines"):
        access_at(parse_listen("tvix+tcp://0.0.0.0:1"))
    assert access_at(parse_listen("tvix+tcp://127.0.0.1:1")) == access_at(parse_listen("tvix+unix:/s")) == "write"


def test_who_callers_are() -> None:
    assert caller_at(parse_listen("unix:/s"), "write") == ("unix", True, True)
    assert caller_at(parse_listen("tvix+tcp://[::1]:1"), "read") == ("loopback", False, True)
    assert caller_at(parse_listen("0.0.0.0:1"), "read") == ("anonymous", False, True)
