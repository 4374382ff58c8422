"""Bounded pools of reusable objects, with keyed free lists.

A `Pool` owns at most `capacity` objects of one type. They lie on shelves, one per key (a stream, a
connection), so that what never changes for a key is already in place when an object is taken. An object is
out from `get` to `put`; its `home` is its shelf while it is out and None while it lies there, which is how a
second put is found. `put` resets.

Shelves are the hot path: the operators of this project call `shelf.get()` and `home.put(x)` and nothing else.
Inside a synchronous chain `get` raises `PoolTimeout` at once where nothing is free; a source waits with
`await pool.wait_free()`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable
from typing import Any, Generic, NoReturn, Protocol, TypeVar, cast

from flow.errors import DoublePut, ForeignPut, PoolTimeout, WrongThread

__all__ = ["Pool", "PoolSettings", "Poolable", "Pools", "Shelf", "UnpooledShelf", "release"]

DEFAULT_CAPACITY = 16_384
DEFAULT_WAIT_MS = 100.0


class Poolable(Protocol):
    """What a pool can hold: a slotted object with a `home`, and a `reset` that clears all but its key."""

    home: Any

    def reset(self) -> None: ...


T = TypeVar("T", bound=Poolable)


class Shelf(Generic[T]):
    """The free list of one key."""

    __slots__ = ("free", "gets", "key", "pool", "puts")

    def __init__(self, pool: Pool[T], key: Any) -> None:
        self.pool = pool
        self.key = key
        self.free: list[T] = []
        self.gets = self.puts = 0

    def get(self) -> T:
        """A free object, its `home` set. Raises `PoolTimeout` at once where the pool is exhausted."""
        item = self.free.pop() if self.free else self.pool.make_for(self)
        item.home = self
        self.gets += 1
        return item

    def put(self, item: T) -> None:
        """Take an object back, reset. A second put or a foreign object raises."""
        try:
            if item.home is not self:
                self.pool.misput(item)
        except AttributeError:
            self.pool.misput(item)
        item.home = None
        item.reset()
        self.free.append(item)
        self.puts += 1
        if self.pool.waiters:
            self.pool.wake()


class UnpooledShelf(Shelf[T]):
    """What a pool that is switched off gives: fresh objects, which are nobody's to put."""

    __slots__ = ()

    def get(self) -> T:
        return self.pool.fresh(self.key)


class Pool(Generic[T]):
    """At most `capacity` objects of one type, made when first needed; `is_off` makes every object fresh."""

    def __init__(
        self, kind: str, make: Callable[[Any], T], capacity: int = DEFAULT_CAPACITY, *, is_off: bool = False
    ) -> None:
        self.kind = kind
        self.capacity = capacity
        self.is_off = is_off
        self.fresh = make
        self.made = 0
        self.timeouts = 0
        self.shelves: dict[Hashable, Shelf[T]] = {}
        self.waiters: list[asyncio.Future[None]] = []
        self._thread = threading.get_ident()

    def shelf(self, key: Hashable) -> Shelf[T]:
        """The free list of a key, made on first use. Raises `WrongThread` from another thread."""
        self.check_thread()
        shelf = self.shelves.get(key)
        if shelf is None:
            shelf = self.shelves[key] = (UnpooledShelf if self.is_off else Shelf)(self, key)
        return shelf

    def check_thread(self) -> None:
        """Raises `WrongThread` outside of the thread that made the pool."""
        if threading.get_ident() != self._thread:
            raise WrongThread(f"the pool of {self.kind} belongs to another thread's event loop")

    def make_for(self, shelf: Shelf[T]) -> T:
        """A new object for a shelf that has none; at the limit one that lies free on another shelf gives
        way."""
        if self.made < self.capacity:
            item = self.fresh(shelf.key)
            self.made += 1
            return item
        donor = next((other for other in self.shelves.values() if other.free), None)
        if donor is None:
            self.timeouts += 1
            raise PoolTimeout(self.kind, self.capacity)
        item = self.fresh(shelf.key)
        donor.free.pop()
        return item

    def misput(self, item: Any) -> NoReturn:
        """Say what is wrong with a put."""
        if any(item is lying for shelf in self.shelves.values() for lying in shelf.free):
            raise DoublePut(f"{self.kind}: put of an object that is already in its pool")
        raise ForeignPut(f"{self.kind}: put of an object that belongs elsewhere, or to no pool")

    async def wait_free(self, timeout_ms: float = DEFAULT_WAIT_MS) -> None:
        """Return once an object is free. Raises `PoolTimeout` after `timeout_ms`, and counts it."""
        self.check_thread()
        if self.free_count > 0:
            return
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                while self.free_count <= 0:
                    await self._next_put()
        except TimeoutError:
            self.timeouts += 1
            raise PoolTimeout(self.kind, self.capacity, timeout_ms) from None

    async def _next_put(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self.waiters:
                self.waiters.remove(waiter)

    def wake(self) -> None:
        """Let those go on who wait for a free object."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    @property
    def out(self) -> int:
        return sum(shelf.gets - shelf.puts for shelf in self.shelves.values())

    @property
    def free_count(self) -> int:
        """How many more `get`s can succeed now."""
        if self.is_off:
            return self.capacity
        return self.capacity - self.made + sum(len(shelf.free) for shelf in self.shelves.values())

    def whereabouts(self) -> str:
        """The keys whose objects are out, with their number, for a report."""
        counts = {shelf.key: shelf.gets - shelf.puts for shelf in self.shelves.values()}
        return ", ".join(f"{key!r} x {n}" for key, n in counts.items() if n)

    def figures(self) -> dict[str, int]:
        """capacity, out, high_water (objects ever made), gets, puts, timeouts."""
        return {
            "capacity": self.capacity,
            "out": self.out,
            "high_water": self.made,
            "gets": sum(shelf.gets for shelf in self.shelves.values()),
            "puts": sum(shelf.puts for shelf in self.shelves.values()),
            "timeouts": self.timeouts,
        }


class PoolSettings:
    """What YAML says of one type's pool."""

    __slots__ = ("capacity", "is_off")

    def __init__(self, capacity: int = DEFAULT_CAPACITY, *, is_off: bool = False) -> None:
        self.capacity = capacity
        self.is_off = is_off


class Pools:
    """The pools of one graph, by type name, made on first use with the settings given."""

    def __init__(self, settings: dict[str, PoolSettings] | None = None) -> None:
        self.settings = {} if settings is None else settings
        self.by_kind: dict[str, Pool[Any]] = {}

    def of(self, kind: str, make: Callable[[Any], T]) -> Pool[T]:
        """The pool of a type."""
        pool = self.by_kind.get(kind)
        if pool is None:
            chosen = self.settings.get(kind) or PoolSettings()
            pool = self.by_kind[kind] = Pool(kind, make, chosen.capacity, is_off=chosen.is_off)
        return pool

    def figures(self) -> dict[str, dict[str, int]]:
        return {kind: pool.figures() for kind, pool in sorted(self.by_kind.items())}


def release(element: Any) -> None:
    """Put an element back where it came from; nothing happens to one that is not pooled."""
    home = getattr(element, "home", None)
    if isinstance(home, Shelf):
        cast(Shelf[Any], home).put(element)
