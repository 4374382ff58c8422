"""REST over a transport, by an exchange's rules: weights charged before a request, refusals that hold
everybody back, failures tried again, errors with the exchange's own code and message.

An exchange says how its replies are read with `RestRules`; the rest is the same for all.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import ClassVar, Final

from flow.context import Context
from flow.errors import ProviderError, Retryable, Terminal
from flow.telemetry.occurrences import Occurrence
from nodes.providers.backoff import Backoff
from nodes.providers.limits import Gate, SlidingWindow, TokenBucket
from nodes.providers.transport import NetworkError, Reply, Transport

__all__ = ["RequestFailed", "RestClient", "RestRules"]

OK: Final = 200
SERVER_ERRORS: Final = 500


class RequestFailed(Occurrence, frozen=True, gc=False):
    """A request that was refused or not answered. `retry_in_s` is 0 where it is not tried again."""

    name: ClassVar[str] = "request.failed"
    level: ClassVar[str] = "warning"
    labels: ClassVar[tuple[str, ...]] = ("provider", "outcome")
    provider: str
    outcome: str
    path: str
    detail: str
    retry_in_s: float = 0.0


class RestRules:
    """How an exchange's replies are read. The defaults are those of HTTP."""

    waits: ClassVar[Mapping[int, float]] = {429: 10.0}
    """Statuses that tell everybody to wait, and the seconds where there is no Retry-After."""

    def used_weight(self, reply: Reply) -> float | None:
        """What the exchange says it has counted in the current window; None where it says nothing."""
        return None

    def error_of(self, reply: Reply) -> str:
        """The exchange's code and message, in one line."""
        return f"HTTP {reply.status}"

    def retry_after_s(self, reply: Reply) -> float:
        """Seconds to wait after a refusal."""
        value = reply.headers.get("Retry-After", "")
        return float(value) if value.isascii() and value.isdigit() else self.waits[reply.status]


class RestClient:
    """GET requests of one provider. `outcomes` counts every reply by what it meant.

    `window` is for weight, `bucket` for the number of requests; both may be
    adjusted to what the exchange says.
    """

    def __init__(
        self,
        context: Context,
        provider: str,
        transport: Transport,
        url: str,
        rules: RestRules,
        window: SlidingWindow,
        bucket: TokenBucket,
        rng: Random,
        *,
        most_at_once: int = 8,
        first_delay_s: float = 0.25,
    ) -> None:
        self.url = url.rstrip("/")
        self.rules = rules
        self.window = window
        self.bucket = bucket
        self.gate = Gate()
        self.outcomes: Counter[str] = Counter()
        self._context = context
        self._provider = provider
        self._transport = transport
        self._rng = rng
        self._first_delay_s = first_delay_s
        self._places = asyncio.Semaphore(most_at_once)

    async def get(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        weight: float = 1.0,
        attempts: int = 5,
        is_reported: bool = True,
    ) -> Reply:
        """The reply with status 200. `is_reported=False` leaves the reporting of failures to the caller.

        Raises `Terminal` with the exchange's code and message for what it refuses, `Retryable` where
        `attempts` tries ended in server errors, network errors or requests to wait.
        """
        backoff = Backoff(self._rng, first_s=self._first_delay_s)
        for attempt in range(1, attempts + 1):
            outcome, reply, error = await self._try(path, params or {}, weight)
            self.outcomes[outcome] += 1
            if error is None:
                return reply
            is_last = attempt == attempts or isinstance(error, Terminal)
            delay = 0.0 if is_last else max(self.gate.shut_for_s, backoff.next_s())
            if is_reported:
                failed = RequestFailed(self._provider, outcome, path, str(error), round(delay, 3))
                self._context.occurred(failed)
            if is_last:
                raise error
            await asyncio.sleep(delay)
        raise ValueError(f"a request needs an attempt at least, not {attempts}")

    async def _try(
        self, path: str, params: Mapping[str, str], weight: float
    ) -> tuple[str, Reply, ProviderError | None]:
        async with self._places:
            await self.gate.passed()
            await self.bucket.acquire()
            await self.window.acquire(weight)
            await self.gate.passed()
            try:
                reply = await self._transport.get(self.url + path, params)
            except NetworkError as error:
                return "network_error", _NO_REPLY, error
        used = self.rules.used_weight(reply)
        if used is not None:
            self.window.at_least(used)
        return self._judged(path, reply)

    def _judged(self, path: str, reply: Reply) -> tuple[str, Reply, ProviderError | None]:
        if reply.status == OK:
            return "ok", reply, None
        message = f"{self._provider} {path}: {self.rules.error_of(reply)}"
        if reply.status in self.rules.waits:
            wait = self.rules.retry_after_s(reply)
            self.gate.shut(wait)
            return f"http_{reply.status}", reply, Retryable(f"{message} (wait {wait:g} s)", wait)
        if reply.status >= SERVER_ERRORS:
            return "server_error", reply, Retryable(message)
        return "refused", reply, Terminal(message)


_NO_REPLY: Final = Reply(0, {}, b"")
