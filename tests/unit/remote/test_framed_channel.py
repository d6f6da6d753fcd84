"""The framed channel: what goes over which connection, what is repeated, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import Event, Semaphore, Thread

import pytest

from tvix.castore.addresses import parse_address
from tvix.castore.blobs.interface import StoreUnavailable
from tvix.castore.framed_channel import FramedChannel
from tvix.castore.remote_channel import BLOBS, Channel, open_channel
from tvix.castore.remote_errors import StoreFailed, StoreFull, StoreRefused
from tvix.grpc_api.load import TooManyCalls, TooManyStreams
from tvix.testing.framed_peer import Behaviour, FramedPeer, Refusal

SERVICE = "tvix_appliance.test.v1.Test"
Start = Callable[..., tuple[FramedPeer, Channel]]


def echo(requests: Iterator[bytes]) -> Iterator[bytes]:
    yield b"".join(requests)


def count(requests: Iterator[bytes]) -> Iterator[bytes]:
    (request,) = requests
    for number in range(int(request)):
        yield b"%d" % number


def refuse(requests: Iterator[bytes]) -> Iterator[bytes]:
    for request in requests:
        raise Refusal(*request.decode().split(","))
    yield b""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A peer with these methods, and a channel to it."""
    opened: list[FramedPeer | Channel] = []

    def begin(methods: Mapping[str, Behaviour], deadline: float = 10) -> tuple[FramedPeer, Channel]:
        peer = FramedPeer(f"{tmp_path}/socket{len(opened)}", {f"/{SERVICE}/{name}": method for name, method in methods.items()})
        channel = open_channel(parse_address(f"{peer.url}?deadline={deadline}"))
        opened.extend((channel, peer))
        return peer, channel

    yield begin
    for one in opened:
        one.close()


def connections(peer: FramedPeer) -> int:
    return len(peer._connections)


def test_calls_one_after_the_other_share_a_connection(start: Start) -> None:
    peer, channel = start({"Echo": echo, "Count": count})
    for number in range(5):
        assert channel.unary(SERVICE, "Echo", b"%d" % number) == b"%d" % number
    incoming = channel.stream(SERVICE, "Count", b"3")
    assert [bytes(incoming.next() or b"") for _ in range(3)] == [b"0", b"1", b"2"]
    assert incoming.next() is None
    assert channel.send(SERVICE, "Echo", lambda: [b"a", b"b"]) == b"ab"
    assert connections(peer) == 1


def test_many_questions_go_out_before_the_first_answer(start: Start) -> None:
    seen: list[bytes] = []

    def slow(requests: Iterator[bytes]) -> Iterator[bytes]:
        (request,) = requests
        seen.append(request)
        yield request

    peer, channel = start({"Slow": slow})
    wanted = [b"%d" % number for number in range(500)]
    assert list(channel.unary_many(SERVICE, "Slow", wanted)) == wanted
    assert (connections(peer), seen) == (1, wanted)


def test_a_refusal_in_the_middle_of_many_is_that_ones_alone(start: Start) -> None:
    def odd(requests: Iterator[bytes]) -> Iterator[bytes]:
        (request,) = requests
        if int(request) % 7 == 3:
            raise Refusal("NOT_FOUND")
        yield request

    _peer, channel = start({"Odd": odd})
    answers = list(channel.unary_many(SERVICE, "Odd", [b"%d" % number for number in range(100)]))
    assert answers == [None if number % 7 == 3 else b"%d" % number for number in range(100)]


def test_answers_to_what_nobody_waits_for_go_to_nobody(start: Start) -> None:
    def odd(requests: Iterator[bytes]) -> Iterator[bytes]:
        (request,) = requests
        if request == b"50":
            raise Refusal("INTERNAL", "broken")
        yield request

    _peer, channel = start({"Odd": odd, "Echo": echo})
    wanted = [b"%d" % number for number in range(100)]
    with pytest.raises(StoreFailed, match="broken"):
        list(channel.unary_many(SERVICE, "Odd", wanted))
    assert channel.unary(SERVICE, "Echo", b"x") == b"x"
    for answer in channel.unary_many(SERVICE, "Odd", wanted):
        if answer == b"10":
            break
    assert channel.unary(SERVICE, "Echo", b"y") == b"y"


def test_large_messages_pass_both_ways(start: Start) -> None:
    _peer, channel = start({"Echo": echo})
    large = os.urandom(15 << 20)
    assert channel.unary(SERVICE, "Echo", large) == large
    assert channel.send(SERVICE, "Echo", lambda: [large[:7], large[7:]]) == large


def test_a_message_over_the_limit_is_refused_unread(start: Start) -> None:
    _peer, channel = start({"Many": lambda _requests: iter([bytes(17 << 20)])})
    with pytest.raises(StoreFailed, match="17825792 bytes"):
        channel.unary(SERVICE, "Many", b"")


def test_concurrent_calls_have_connections_of_their_own(start: Start) -> None:
    arrived, go = Event(), Event()

    def wait(_requests: Iterator[bytes]) -> Iterator[bytes]:
        arrived.set()
        go.wait()
        yield b"late"

    peer, channel = start({"Wait": wait, "Echo": echo})
    answers: list[bytes | None] = []
    waiting = Thread(target=lambda: answers.append(channel.unary(SERVICE, "Wait", b"")))
    waiting.start()
    arrived.wait()
    assert channel.unary(SERVICE, "Echo", b"soon") == b"soon"
    go.set()
    waiting.join()
    assert (answers, connections(peer)) == ([b"late"], 2)


def test_a_connection_that_was_closed_while_idle_costs_nothing(start: Start) -> None:
    peer, channel = start({"Echo": echo})
    for _ in range(3):
        assert channel.unary(SERVICE, "Echo", b"x") == b"x"
        peer.hang_up()
    assert peer.calls == [f"/{SERVICE}/Echo"] * 3


def test_a_call_that_is_cut_off_is_made_again(start: Start) -> None:
    attempts: list[int] = []

    def flaky(requests: Iterator[bytes]) -> Iterator[bytes]:
        attempts.append(1)
        if len(attempts) < 3:
            raise OSError("gone")
        yield b"".join(requests)

    _peer, channel = start({"Flaky": flaky})
    assert channel.unary(SERVICE, "Flaky", b"x") == b"x"
    assert len(attempts) == 3


def test_many_questions_survive_a_connection_that_is_lost(start: Start) -> None:
    calls: list[bytes] = []

    def flaky(requests: Iterator[bytes]) -> Iterator[bytes]:
        (request,) = requests
        calls.append(request)
        if len(calls) in (10, 50):
            raise OSError("gone")
        yield request

    _peer, channel = start({"Flaky": flaky})
    wanted = [b"%d" % number for number in range(100)]
    assert list(channel.unary_many(SERVICE, "Flaky", wanted)) == wanted


def test_a_stream_that_is_forgotten_closes_its_connection(start: Start) -> None:
    ended = Event()

    def endless(_requests: Iterator[bytes]) -> Iterator[bytes]:
        try:
            while True:
                yield bytes(1 << 16)
        finally:
            ended.set()

    _peer, channel = start({"Endless": endless, "Echo": echo})
    incoming = channel.stream(SERVICE, "Endless", b"")
    assert incoming.next()
    del incoming
    assert ended.wait(10)
    assert channel.unary(SERVICE, "Echo", b"x") == b"x"


def test_a_stream_may_be_forgotten_at_any_moment(start: Start) -> None:
    """Garbage is collected wherever Python pleases, also where a thread is about to take a connection."""
    _peer, channel = start({"Echo": echo, "Count": count})
    assert isinstance(channel, FramedChannel)
    forgotten = [channel.stream(SERVICE, "Count", b"3")]
    assert forgotten[0].next() == b"0"

    def forget() -> None:
        with channel._pool.lock:
            forgotten.clear()

    thread = Thread(target=forget, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert channel.unary(SERVICE, "Echo", b"x") == b"x"


@pytest.mark.parametrize("late", ["the other call is over", "both were asked by the later name"])
def test_two_calls_find_the_earlier_name_of_a_service_at_a_time(tmp_path: Path, late: str) -> None:
    asked, go_on = Semaphore(0), Event()

    def unknown(requests: Iterator[bytes]) -> Iterator[bytes]:
        if next(requests) == b"late":
            asked.release()
            go_on.wait(10)
        raise Refusal("UNIMPLEMENTED")
        yield b""

    peer = FramedPeer(
        f"{tmp_path}/socket", {f"/{name}.{BLOBS}/Echo": method for name, method in (("snix", unknown), ("tvix", echo))}
    )
    channel = open_channel(parse_address(peer.url))
    answers: list[bytes | None] = []
    first = Thread(target=lambda: answers.append(channel.unary(BLOBS, "Echo", b"late")))
    first.start()
    assert asked.acquire(timeout=10)
    if late == "the other call is over":
        assert channel.unary(BLOBS, "Echo", b"x") == b"x"
        go_on.set()
    else:
        second = Thread(target=lambda: answers.append(channel.stream(BLOBS, "Echo", b"late").next()))  # type: ignore[arg-type]
        second.start()
        assert asked.acquire(timeout=10)
        go_on.set()
        second.join()
    first.join()
    assert set(answers) == {b"late"}
    channel.close()
    peer.close()


CALLS: list[Callable[[Channel], object]] = [
    lambda channel: channel.unary(SERVICE, "Wait", b""),
    lambda channel: channel.stream(SERVICE, "Wait", b"").next(),
    lambda channel: channel.send(SERVICE, "Wait", lambda: [b"x"]),
]


@pytest.mark.parametrize("call", CALLS, ids=["unary", "stream", "send"])
def test_a_server_that_says_nothing_is_unavailable_after_the_deadline(start: Start, call: Callable[[Channel], object]) -> None:
    hang = Event()

    def wait(_requests: Iterator[bytes]) -> Iterator[bytes]:
        hang.wait()
        yield b""

    _peer, channel = start({"Wait": wait}, deadline=0.2)
    try:
        with pytest.raises(StoreUnavailable, match=r"within 0\.2 s"):
            call(channel)
    finally:
        hang.set()


def test_a_server_that_takes_nothing_is_unavailable_after_the_deadline(start: Start) -> None:
    hang = Event()

    def deaf(_requests: Iterator[bytes]) -> Iterator[bytes]:
        hang.wait()
        yield b""

    _peer, channel = start({"Deaf": deaf}, deadline=0.2)
    try:
        with pytest.raises(StoreUnavailable):
            channel.send(SERVICE, "Deaf", lambda: [bytes(1 << 20)] * 20)
    finally:
        hang.set()


def test_a_server_that_is_not_there_is_unavailable_with_the_reason(tmp_path: Path) -> None:
    channel = open_channel(parse_address(f"tvix+unix:{tmp_path}/nobody?deadline=0.1"))
    with pytest.raises(StoreUnavailable, match="No such file"):
        channel.unary(SERVICE, "Echo", b"")
    channel.close()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("PERMISSION_DENIED,no", StoreRefused),
        ("RESOURCE_EXHAUSTED,no room", StoreFull),
        ("INTERNAL,broken,grpc.whatever", StoreFailed),
        ("UNIMPLEMENTED,what", StoreFailed),
        ("RESOURCE_EXHAUSTED,too large,grpc.message-too-large", StoreFailed),
    ],
)
def test_what_statuses_become(start: Start, status: str, error: type[Exception]) -> None:
    _peer, channel = start({"Refuse": refuse})
    with pytest.raises(error) as raised:
        channel.unary(SERVICE, "Refuse", status.encode())
    assert getattr(raised.value, "remote_identifier", "") == (status.split(",")[2:] or [""])[0]


def test_a_busy_server_is_asked_again_while_there_is_time(start: Start) -> None:
    attempts: list[int] = []

    def busy(requests: Iterator[bytes]) -> Iterator[bytes]:
        attempts.append(1)
        if len(attempts) < 4:
            raise Refusal("RESOURCE_EXHAUSTED", "as many as it takes", TooManyCalls.identifier)
        yield b"".join(requests)

    _peer, channel = start({"Busy": busy})
    assert channel.unary(SERVICE, "Busy", b"x") == b"x"
    attempts.clear()
    incoming = channel.stream(SERVICE, "Busy", b"x")
    assert bytes(incoming.next() or b"") == b"x"
    _peer, hasty = start({"Busy": lambda _requests: _raise(Refusal("RESOURCE_EXHAUSTED", "busy", TooManyStreams.identifier))}, 0.1)
    with pytest.raises(StoreUnavailable, match="busy"):
        hasty.unary(SERVICE, "Busy", b"x")


def _raise(error: Exception) -> Iterator[bytes]:
    raise error


def test_a_server_that_says_why_it_takes_no_more_is_heard(start: Start) -> None:
    def full(requests: Iterator[bytes]) -> Iterator[bytes]:
        for _request in requests:
            raise Refusal("RESOURCE_EXHAUSTED", "No space left on device")
        yield b""

    _peer, channel = start({"Full": full})
    with pytest.raises(StoreFull, match="No space left"):
        channel.send(SERVICE, "Full", lambda: [bytes(1000)] * 3)


def test_close_ends_what_waits(start: Start) -> None:
    arrived, hang = Event(), Event()

    def wait(_requests: Iterator[bytes]) -> Iterator[bytes]:
        arrived.set()
        hang.wait()
        yield b""

    _peer, channel = start({"Wait": wait}, deadline=60)
    failed: list[Exception] = []

    def ask() -> None:
        try:
            channel.unary(SERVICE, "Wait", b"")
        except StoreUnavailable as error:
            failed.append(error)

    asking = Thread(target=ask)
    asking.start()
    arrived.wait()
    channel.close()
    asking.join()
    hang.set()
    assert "closed here" in str(failed[0])
    with pytest.raises(ValueError, match="closed"):
        channel.unary(SERVICE, "Wait", b"")


def test_a_forked_child_has_connections_of_its_own(start: Start) -> None:
    peer, channel = start({"Echo": echo})
    assert channel.unary(SERVICE, "Echo", b"parent") == b"parent"
    child = os.fork()
    if child == 0:
        good = channel.unary(SERVICE, "Echo", b"child") == b"child"
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert channel.unary(SERVICE, "Echo", b"parent") == b"parent"
    assert connections(peer) == 2


def test_nothing_heavy_is_imported() -> None:
    script = (
        "import sys\n"
        "from tvix.store.addresses import open_store\n"
        "store = open_store('tvix+unix:/nowhere?deadline=0.01')\n"
        "try:\n    store.blobs.missing([bytes(32)])\n"
        "except Exception as error:\n    assert type(error).__name__ == 'StoreUnavailable', error\n"
        "print(*sorted({'grpc', 'google', 'asyncio', 'ssl', 'zstandard', 'pyfastcdc', 'nacl', 'concurrent'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
