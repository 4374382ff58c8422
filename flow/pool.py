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

In debug mode the shelves are `DebugShelf`s, which the same lines reach: they know who holds what, poison what
is put (see `flow.poison`), and give no object twice. The figures are the same.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from collections import Counter
from collections.abc import Callable, Hashable
from operator import attrgetter
from typing import Any, Generic, NoReturn, Protocol, SupportsIndex, TypeVar, cast

from flow.errors import DoublePut, ForeignPut, OwnershipBug, PoolTimeout, UsedAfterPut, WrongThread
from flow.poison import Found, Place, poison, refuse_second_put

__all__ = ["DebugShelf", "Pool", "PoolSettings", "Poolable", "Pools", "Shelf", "release"]

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


MOST_HOLDERS = 3
IDENTIFYING = ("sequence", "trace_id", "received_at", "client_order_id")
"""Fields that tell one object of a key from another, in a report."""

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

    def left_out(self) -> dict[str, list[T]]:
        """What is out and still held by somebody, by where it was got; "" as nobody wrote that down."""
        held = [item for item in gc.get_referrers(self) if _is_poolable(item) and item.home is self]
        return {"": held} if held else {}


class DebugShelf(Shelf[T]):
    """The free list of one key in debug mode. It gives a fresh object for each that lies here longest, so
    that a reference kept from before meets poison for ever."""

    __slots__ = ("blank", "fields", "read", "taken")

    def __init__(self, pool: Pool[T], key: Any) -> None:
        super().__init__(pool, key)
        blank = pool.fresh(key)
        self.fields = [name for name in _slots(type(blank)) if hasattr(blank, name)]
        self.read: Callable[[T], Any] = attrgetter(*self.fields)
        self.blank = self.read(blank)
        """The values of the fields of an object that was cleared."""
        self.taken: dict[int, tuple[T, Place]] = {}
        """What is out, by identity, and where it was got."""

    def pop(self, index: SupportsIndex = 0, /) -> T:
        self.pool.check_thread()
        item = self.pool.fresh(self.key)
        super().pop(index)
        self.taken[id(item)] = item, Place.here()
        return item

    def make(self) -> T:
        item = super().make()
        self.taken[id(item)] = item, Place.here()
        return item

    def append(self, item: T, /) -> None:
        """Take a cleared object back, and poison it. Raises `OwnershipBug` for all that is not right."""
        self.pool.check_thread()
        _, got = self.taken.get(id(item)) or self.pool.misput(item)
        if self.read(item) != self.blank:
            self._refuse_uncleared(item)
        del self.taken[id(item)]
        poison(item, self.pool.kind, self.key, got, self.pool.found)
        super().append(item)

    def put(self, item: T) -> None:
        refuse_second_put(item)
        super().put(item)

    def left_out(self) -> dict[str, list[T]]:
        by_place: dict[str, list[T]] = {}
        for item, place in self.taken.values():
            by_place.setdefault(f", got at {place}", []).append(item)
        return by_place

    def _refuse_uncleared(self, item: T) -> NoReturn:
        values = zip(self.fields, self.read(item), self.blank, strict=True)
        left = ", ".join({name: None for name, value, blank in values if value != blank})
        place = f"put at {Place.here()} with {left} not cleared"
        raise self.pool.told(OwnershipBug(f"{self.pool.kind} of {self.key!r}: {place}"))


def _slots(kind: type[Any]) -> list[str]:
    slots = [getattr(parent, "__slots__", ()) for parent in kind.__mro__]
    return ["home", *(name for names in slots for name in ((names,) if isinstance(names, str) else names))]


def _is_poolable(item: Any) -> bool:
    kind = cast(type[Any], type(item))
    return not issubclass(kind, Shelf) and hasattr(kind, "home") and hasattr(kind, "put")


def _untold(bug: OwnershipBug) -> None:
    return


class Pool(Generic[T]):
    """At most `capacity` objects of one type, made when first needed; `is_off` makes every object fresh."""

    def __init__(
        self,
        kind: str,
        make: Callable[[Any], T],
        capacity: int = DEFAULT_CAPACITY,
        *,
        is_off: bool = False,
        is_debug: bool = False,
        found: Found = _untold,
    ) -> None:
        self.kind = kind
        self.capacity = capacity
        self.is_off = is_off
        self.is_debug = is_debug and not is_off
        self.found = found
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
            shelf = self.shelves[key] = DebugShelf(self, key) if self.is_debug else Shelf(self, key)
        return shelf

    def check_thread(self) -> None:
        """Raises `WrongThread` outside of the thread that made the pool."""
        if threading.get_ident() != self._thread:
            place = f" (touched at {Place.here()})" if self.is_debug else ""
            raise self.told(
                WrongThread(f"the pool of {self.kind} belongs to another thread's event loop{place}")
            )

    def told(self, bug: OwnershipBug) -> OwnershipBug:
        """A bug to be raised, once `found` knows of it."""
        self.found(bug)
        return bug

    def make_for(self, shelf: Shelf[T]) -> T:
        """A new object for a shelf that has none; at the limit one that lies free on another shelf gives
        way."""
        if self.is_off:
            return self.fresh(shelf.key)
        self.check_thread()
        donor = None
        if self.made >= self.capacity:
            donor = next((other for other in self.shelves.values() if other), None)
            if donor is None:
                raise self.exhausted()
        item = self.fresh(shelf.key)
        if donor is None:
            self.made += 1
        else:
            del donor[-1]
            donor.made -= 1
        shelf.made += 1
        return item

    def misput(self, item: Any) -> NoReturn:
        """Say what is wrong with a put."""
        refuse_second_put(item)
        if any(item is lying for shelf in self.shelves.values() for lying in shelf):
            raise self.told(DoublePut(f"{self.kind}: put of an object that is already in its pool"))
        home: Shelf[Any] | None = getattr(item, "home", None)
        where = f"{home.pool.kind} of {home.key!r}" if isinstance(home, Shelf) else "no pool"
        place = f" (put at {Place.here()})" if self.is_debug else ""
        put = f"put of a {type(item).__name__} that belongs to {where}{place}"
        raise self.told(ForeignPut(f"{self.kind}: {put}"))

    def exhausted(self, waited_ms: float = 0.0) -> PoolTimeout:
        """A timeout, counted, to be raised."""
        self.timeouts += 1
        return PoolTimeout(self.kind, self.capacity, waited_ms, self.holders())

    def holders(self) -> str:
        """In debug mode where most of what is out was got, and how much of it."""
        shelves = [shelf for shelf in self.shelves.values() if isinstance(shelf, DebugShelf)]
        counts = Counter(str(place) for shelf in shelves for _, place in shelf.taken.values())
        return ", ".join(f"{n} got at {place}" for place, n in counts.most_common(MOST_HOLDERS))

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
            raise self.exhausted(timeout_ms) from None

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

    def left_out(self) -> list[str]:
        """What is out, a line per key and place of the get, each object by its numbers; for the end of a run.

        Without debug mode the objects are found by a search of the heap: those that nobody holds any more are
        only counted.
        """
        lines: list[str] = []
        for shelf in self.shelves.values():
            found = shelf.left_out() if shelf.out else {}
            for where, items in found.items():
                lines.append(f"{self.kind} of {shelf.key!r}: {', '.join(map(_identity, items))}{where}")
            lost = shelf.out - sum(len(items) for items in found.values())
            if lost:
                lines.append(f"{self.kind} of {shelf.key!r}: {lost} that nobody holds any more")
        return lines

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


def _identity(item: Any) -> str:
    """An object by its numbers, as far as it has any."""
    numbers = [f"{name} {getattr(item, name)}" for name in IDENTIFYING if hasattr(item, name)]
    return " ".join(numbers) or f"{type(item).__name__} at {id(item):#x}"


class PoolSettings:
    """What YAML says of one type's pool."""

    __slots__ = ("capacity", "is_off")

    def __init__(self, capacity: int = DEFAULT_CAPACITY, *, is_off: bool = False) -> None:
        self.capacity = capacity
        self.is_off = is_off


class Pools:
    """The pools of one graph, by type name, made on first use with the settings given."""

    def __init__(self, settings: dict[str, PoolSettings] | None = None, *, is_debug: bool = False) -> None:
        self.settings = {} if settings is None else settings
        self.is_debug = is_debug
        self.by_kind: dict[str, Pool[Any]] = {}
        self.bug_listeners: list[Found] = []
        """Told of each bug of ownership that a pool finds, as it is raised, in the thread that has it."""

    def of(self, kind: str, make: Callable[[Any], T]) -> Pool[T]:
        """The pool of a type."""
        pool = self.by_kind.get(kind)
        if pool is None:
            chosen = self.settings.get(kind) or PoolSettings()
            pool = self.by_kind[kind] = Pool(
                kind,
                make,
                chosen.capacity,
                is_off=chosen.is_off,
                is_debug=self.is_debug,
                found=self._found,
            )
        return pool

    def _found(self, bug: OwnershipBug) -> None:
        for listener in self.bug_listeners:
            listener(bug)

    def figures(self) -> dict[str, dict[str, int]]:
        return {kind: pool.figures() for kind, pool in sorted(self.by_kind.items())}


def release(element: Any) -> None:
    """Put an element back where it came from; nothing happens to one that is not pooled. In debug mode a
    second time raises `DoublePut`."""
    try:
        home = getattr(element, "home", None)
    except UsedAfterPut:
        refuse_second_put(element)
        raise
    if isinstance(home, Shelf):
        element.put()
