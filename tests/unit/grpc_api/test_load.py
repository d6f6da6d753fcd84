"""Bounded pools, doors and rooms; what a refusal says."""

from __future__ import annotations

from threading import Event, Thread

import pytest

from tvix.grpc_api.authorisation import authorise
from tvix.grpc_api.caller import Caller, NotAllowed
from tvix.grpc_api.load import BoundedPool, Limits, Room, Slots, TooManyCalls, TooMuchAtOnce, refusal
from tvix.grpc_api.methods import BOTH_WAYS, STREAM_IN, STREAM_OUT, UNARY, Method, MethodTable
from tvix.grpc_api.status import ReadOnly, status_of

REFUSAL = TooManyCalls(what="calls", limit=1, waiting=0)


def method(kind: str = UNARY, *, needs_write: bool = False) -> Method:
    return Method("castore.v1.Test", "Do", kind, lambda request, _caller: request, needs_write=needs_write)


def test_a_pool_is_full_with_those_who_wait() -> None:
    pool = BoundedPool(1, 1, "test")
    go_on = Event()
    futures = [pool.submit(go_on.wait, 20)]
    assert not pool.full
    futures.append(pool.submit(go_on.wait, 20))
    assert pool.full
    go_on.set()
    assert all(future.result() for future in futures)
    pool.shutdown()
    assert not pool.full


def test_a_cancelled_call_leaves_its_place() -> None:
    pool = BoundedPool(1, 1, "test")
    go_on = Event()
    pool.submit(go_on.wait, 20)
    assert pool.submit(print).cancel()
    assert not pool.full
    go_on.set()
    pool.shutdown()


def test_slots_let_wait_and_refuse() -> None:
    slots = Slots(1, 1)
    entered, leave = Event(), Event()

    def stay() -> None:
        with slots.taken(REFUSAL):
            entered.set()
            leave.wait(20)

    threads = [Thread(target=stay) for _ in range(2)]
    threads[0].start()
    assert entered.wait(20)
    threads[1].start()
    while slots._waiting < 1:
        pass
    with pytest.raises(TooManyCalls), slots.taken(REFUSAL):
        pass
    leave.set()
    for thread in threads:
        thread.join()
    with slots.taken(REFUSAL):
        pass


def test_room_is_given_back() -> None:
    room = Room(10)
    room.take(6)
    with pytest.raises(TooMuchAtOnce):
        room.take(5)
    room.give_back(6)
    room.take(10)


@pytest.mark.parametrize("kind", [UNARY, STREAM_IN, STREAM_OUT, BOTH_WAYS])
def test_a_refusal_says_what_to_do(kind: str) -> None:
    status = status_of(refusal(method(kind), Limits()))
    assert status.code == "RESOURCE_EXHAUSTED"
    assert "--processes" in status.details
    assert status.identifier.startswith("grpc.too-many-")


def test_names_of_both_generations_and_of_ours() -> None:
    table = MethodTable([method(), Method("tvix_appliance.test.v1.Ours", "Do", UNARY, print)])
    assert [path for path, _method in table] == [
        "/tvix.castore.v1.Test/Do",
        "/snix.castore.v1.Test/Do",
        "/tvix_appliance.test.v1.Ours/Do",
    ]
    assert table.services == ("tvix.castore.v1.Test", "snix.castore.v1.Test", "tvix_appliance.test.v1.Ours")
    assert table.get("/castore.v1.Test/Do") is None


def test_who_may_do_what() -> None:
    writes = method(needs_write=True)
    anonymous = Caller("anonymous", may_write=False)
    reader = Caller("tvix://home/reader/kitchen", may_write=False)
    authorise(method(), anonymous)
    authorise(method(), reader)
    authorise(writes, Caller("unix", may_write=True))
    with pytest.raises(ReadOnly):
        authorise(writes, anonymous)
    with pytest.raises(NotAllowed, match=r"tvix://home/reader/kitchen may not call Do: that needs the role writer"):
        authorise(writes, reader)
    with pytest.raises(ReadOnly):  # its role isn't to blame
        authorise(writes, reader, read_only=True)
    with pytest.raises(NotAllowed, match="reader"):
        authorise(method(), Caller("tvix://home/nobody/x", may_write=False, may_read=False))
