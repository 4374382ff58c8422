"""Bounded pools of reusable objects, with keyed free lists.

A `Pool` owns at most `capacity` objects of one type. They lie on shelves, one per key (a stream, a
connection), so that what never changes for a key is already in place when an object is taken. An object is
out from `get` to `put`; its `home` is its shelf while it is out and None while it lies there, which is how a
second put is found. A put clears all but the key.

The hot path is written out where it runs: an operator that takes one object per element says

    item = shelf.pop() if shelf else shelf.make()
    item.home = shelf.home

as `shelf.get()` does, and `item.put()`, which each pooled type writes out for itself: code shared by several
types misses the interpreter's inline caches at each change of type. Inside a synchronous chain `make` raises
`PoolTimeout` at once where nothing is free; a source waits with `await pool.wait_free()`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from flow.errors import DoublePut, ForeignPut, PoolTimeout, WrongThread

__all__ = ["Pool", "PoolSettings", "Poolable", "Pools", "Shelf", "release"]

DEFAULT_CAPACITY = 16_384
DEFAULT_WAIT_MS = 100.0
LOOK_AGAIN_S = 0.001
"""How often a waiting source looks for a free object: waking it from `put` would cost every put."""


class Poolable(Protocol):
    """What a pool can hold: a slotted object with a `home`, and a `put` that clears all but its key."""

    home: Any

    def put(self) -> None:
        """Clear, append to the `home` and count its put. Raises `DoublePut` where there is no home."""
        ...


T = TypeVar("T", bound=Poolable)


class Shelf(list[T]):
    """The free list of one key. `home` is what its objects name while they are out: itself, or None where
    the pool is switched off."""

    __slots__ = ("home", "key", "made", "pool", "puts")

    def __init__(self, pool: Pool[T], key: Any) -> None:
        super().__init__()
        self.pool = pool
        self.key = key
        self.home: Shelf[T] | None = None if pool.is_off else self
        self.made = 0
        """Objects that lie here or came from here."""
        self.puts = 0

    def get(self) -> T:
        """A free object, its `home` set. Raises `PoolTimeout` at once where the pool is exhausted."""
        item = self.pop() if self else self.make()
        item.home = self.home
        return item

    def make(self) -> T:
        """An object for a shelf that has none. Raises `PoolTimeout` where the pool is exhausted."""
        return self.pool.make_for(self)

    def put(self, item: T) -> None:
        """Take an object back, cleared. A second put or a foreign object raises."""
        if getattr(item, "home", None) is not self:
            self.pool.misput(item)
        item.put()

    @property
    def out(self) -> int:
        """How many objects are out, from what was made and what lies here."""
        return self.made - len(self)

    @property
    def gets(self) -> int:
        return self.puts + self.out


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
        self._thread = threading.get_ident()

    def shelf(self, key: Hashable) -> Shelf[T]:
        """The free list of a key, made on first use. Raises `WrongThread` from another thread."""
        self.check_thread()
        shelf = self.shelves.get(key)
        if shelf is None:
            shelf = self.shelves[key] = Shelf(self, key)
        return shelf

    def check_thread(self) -> None:
        """Raises `WrongThread` outside of the thread that made the pool."""
        if threading.get_ident() != self._thread:
            raise WrongThread(f"the pool of {self.kind} belongs to another thread's event loop")

    def make_for(self, shelf: Shelf[T]) -> T:
        """A new object for a shelf that has none; at the limit one that lies free on another shelf gives
        way."""
        if self.is_off:
            return self.fresh(shelf.key)
        donor = None
        if self.made >= self.capacity:
            donor = next((other for other in self.shelves.values() if other), None)
            if donor is None:
                self.timeouts += 1
                raise PoolTimeout(self.kind, self.capacity)
        item = self.fresh(shelf.key)
        if donor is None:
            self.made += 1
        else:
            donor.pop()
            donor.made -= 1
        shelf.made += 1
        return item

    def misput(self, item: Any) -> NoReturn:
        """Say what is wrong with a put."""
        if any(item is lying for shelf in self.shelves.values() for lying in shelf):
            raise DoublePut(f"{self.kind}: put of an object that is already in its pool")
        raise ForeignPut(f"{self.kind}: put of an object that belongs elsewhere, or to no pool")

    async def wait_free(self, timeout_ms: float = DEFAULT_WAIT_MS) -> None:
        """Return once an object is free. Raises `PoolTimeout` after `timeout_ms`, and counts it."""
        self.check_thread()
        if self.free_count > 0:
            return
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                while self.free_count <= 0:  # noqa: ASYNC110  an event would cost every put
                    await asyncio.sleep(LOOK_AGAIN_S)
        except TimeoutError:
            self.timeouts += 1
            raise PoolTimeout(self.kind, self.capacity, timeout_ms) from None

    @property
    def out(self) -> int:
        return sum(shelf.out for shelf in self.shelves.values())

    @property
    def free_count(self) -> int:
        """How many more `get`s can succeed now."""
        if self.is_off:
            return self.capacity
        return self.capacity - self.made + sum(len(shelf) for shelf in self.shelves.values())

    def whereabouts(self) -> str:
        """The keys whose objects are out, with their number, for a report."""
        counts = {shelf.key: shelf.out for shelf in self.shelves.values()}
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
    if isinstance(getattr(element, "home", None), Shelf):
        element.put()
