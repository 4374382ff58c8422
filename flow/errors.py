"""Every error of the project, one tree.

FlowError
├── ConfigurationError    what the user gave can't be used: a parameter, a recording (exit 78)
│   └── GraphError        a YAML graph that can't be used; carries every fault found
├── ConsumerError         what a consumer's handler raised, on its way out of a bare `.pipe`
├── PoolError
│   ├── PoolTimeout       no free object within the time allowed: backpressure, counted, retryable
│   └── OwnershipBug      a bug in the code, never bad data: it ends the graph with exit 1
│       ├── DoublePut     the object is already in its pool
│       ├── ForeignPut    the object belongs to another pool, or to none
│       ├── UsedAfterPut  debug mode: read, written, cloned, compared or encoded after its put
│       └── WrongThread   a pool or mailbox touched from outside its event loop's thread
├── ProviderError         what an exchange answered, or failed to
│   ├── Retryable         worth trying again after `retry_after_s`
│   └── Terminal          trying again gives the same answer
└── OrderError
"""

from __future__ import annotations

from dataclasses import dataclass


class FlowError(Exception):
    """The root of the tree."""


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing wrong with one place of a file. `line` and `column` count from 1; 0 means the whole file."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class ConfigurationError(FlowError):
    """What the user gave can't be used; the message says what, and what would do."""


class GraphError(ConfigurationError):
    """A graph that can't be used. `faults` holds every fault that was found, in file order."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = sorted(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class ConsumerError(FlowError):
    """A consumer that can't go on; the cause is chained."""


class PoolError(FlowError):
    """Anything to do with a pool."""


class PoolTimeout(PoolError):
    """No free object of `kind` within the time allowed. Backpressure: slow down and try again.

    `left` says how many elements at the end of a run were not taken, and are to be offered again; `holders`,
    in debug mode, where most of what is out was got.
    """

    left = 1

    def __init__(self, kind: str, capacity: int, waited_ms: float = 0.0, holders: str = "") -> None:
        self.kind, self.capacity, self.waited_ms, self.holders = kind, capacity, waited_ms, holders
        most = f"; most of them: {holders}" if holders else ""
        super().__init__(f"pool {kind}: all {capacity} objects are out (waited {waited_ms:g} ms){most}")


class OwnershipBug(PoolError):
    """A bug in the code that owns pooled objects. Never dead-lettered: it ends the graph."""


class DoublePut(OwnershipBug):
    """The object is already in its pool."""


class ForeignPut(OwnershipBug):
    """The object belongs to another pool, or to none."""


class UsedAfterPut(OwnershipBug):
    """Debug mode: an object was touched after it had been put."""


class WrongThread(OwnershipBug):
    """A pool or a mailbox belongs to one event loop; another thread touched it."""


class ProviderError(FlowError):
    """What an exchange answered, or failed to."""


class Retryable(ProviderError):
    """Worth trying again, not before `retry_after_s` seconds have passed."""

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class Terminal(ProviderError):
    """Trying again gives the same answer."""


class OrderError(FlowError):
    """An order that was refused before it left."""
