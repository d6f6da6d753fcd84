"""One flight for each thing that is fetched: who asks for what is under way waits for it instead of fetching it as well."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Lock
from typing import Generic, TypeVar

from tvix.errors import TvixError

K = TypeVar("K")
T = TypeVar("T")


class _Flight(Generic[T]):
    __slots__ = ("done", "error", "result")

    def __init__(self) -> None:
        self.done = Event()
        self.result: T | None = None
        self.error: BaseException | None = None


class Flights(Generic[K, T]):
    """Runs work once for all who ask for the same key at the same time. Remembers nothing once it is done."""

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[T]] = {}
        self._lock = Lock()

    def run(self, key: K, work: Callable[[], T]) -> T:
        """The result of `work`, here or in the thread that came first; its error likewise."""
        with self._lock:
            flight = self._flights.get(key)
            leads = flight is None
            if flight is None:
                flight = self._flights[key] = _Flight()
        if not leads:
            flight.done.wait()
            if flight.error is not None:
                raise _again(flight.error)
            return flight.result  # type: ignore[return-value]
        try:
            flight.result = work()
        except BaseException as error:
            flight.error = error
            raise
        finally:
            with self._lock:
                del self._flights[key]
            flight.done.set()
        return flight.result


def _again(error: BaseException) -> BaseException:
    """The error for another thread: an exception raised in two threads would collect both their tracebacks."""
    return type(error)(**error.fields) if isinstance(error, TvixError) else error
