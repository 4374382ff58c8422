"""One connection to Binance's combined streams: requests at its pace, answers by id, and its notices."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from flow.events.frames import Connection
from flow.telemetry.occurrences import Occurrence
from nodes.providers.limits import SlidingWindow
from nodes.providers.link import SERVER_SHUTDOWN, Link
from nodes.providers.transport import Wire

__all__ = ["BinanceLink", "LinkStats", "RequestRefused"]

SHUTDOWN_STREAM: Final = "!serverShutdown"
SHUTDOWN_EVENT: Final = "serverShutdown"
MOST_ATTEMPTS: Final = 3


class RequestRefused(Occurrence, frozen=True, gc=False):
    """The exchange answered a request with an error, or not at all (code "none")."""

    name: ClassVar[str] = "request.refused"
    level: ClassVar[str] = "warning"
    labels: ClassVar[tuple[str, ...]] = ("provider", "code")
    provider: str
    connection_id: int
    code: str
    message: str
    streams: int
    first_stream: str
    is_final: bool


class LinkStats:
    """Counted over all connections of one source."""

    def __init__(self) -> None:
        self.requests = 0
        self.refused: Counter[str] = Counter()
        self.given_up: dict[str, str] = {}
        """Streams that the exchange refused for good, with its message."""


class _Fault(Struct):
    code: int = 0
    msg: str = ""


class _Control(Struct):
    """Any message that is no market data: an answer, an error or a notice."""

    id: int | str | UnsetType | None = UNSET
    result: Any = UNSET
    code: int | None = None
    msg: str = ""
    error: _Fault | None = None
    stream: str = ""
    event: str = msgspec.field(name="e", default="")


class _Request:
    __slots__ = ("attempts", "method", "names", "timer")

    def __init__(self, method: str, names: list[str], attempts: int = 0) -> None:
        self.method = method
        self.names = names
        self.attempts = attempts
        self.timer: asyncio.TimerHandle | None = None


_control = msgspec.json.Decoder(_Control)


class BinanceLink(Link):
    """Sends what is asked for in batches. A refused batch is halved until the stream at fault stands
    alone, which is tried `MOST_ATTEMPTS` times; an answer that does not come ends the connection after as
    many attempts."""

    def __init__(
        self,
        wire: Wire,
        connection: Connection,
        stats: LinkStats,
        report: Callable[[Occurrence], None],
        *,
        is_answered: bool = True,
        messages_per_s: int = 4,
        batch: int = 200,
        answer_timeout_s: float = 10.0,
    ) -> None:
        super().__init__(wire, connection, asyncio.get_running_loop().time())
        self._stats = stats
        self._report = report
        self._is_answered = is_answered
        self._pace = SlidingWindow(messages_per_s, 1.0)
        self._batch = batch
        self._answer_timeout_s = answer_timeout_s
        self._outbox: deque[_Request] = deque()
        self._asked = asyncio.Event()
        self._waiting: dict[int, _Request] = {}
        self._last_id = 0

    def subscribe(self, names: Iterable[str]) -> None:
        added = [name for name in names if name not in self.names]
        self.names.update(dict.fromkeys(added))
        self._ask("SUBSCRIBE", added)

    def unsubscribe(self, names: Iterable[str]) -> None:
        removed = [name for name in names if name in self.names]
        for name in removed:
            del self.names[name]
        self._ask("UNSUBSCRIBE", removed)

    def resubscribe(self, names: Iterable[str]) -> None:
        """Ask anew for streams that are subscribed but silent."""
        silent = [name for name in names if name in self.names]
        self._ask("UNSUBSCRIBE", silent)
        self._ask("SUBSCRIBE", silent)

    def _ask(self, method: str, names: list[str]) -> None:
        batches = [names[at : at + self._batch] for at in range(0, len(names), self._batch)]
        self._queue(*(_Request(method, batch) for batch in batches))

    def _queue(self, *requests: _Request) -> None:
        if requests:
            self._outbox.extend(requests)
            self._asked.set()
            self.answered.clear()

    async def speak(self) -> None:
        while True:
            while self._outbox:
                await self._pace.acquire()
                await self._send(self._outbox.popleft())
            self._settle()
            self._asked.clear()
            await self._asked.wait()

    async def _send(self, request: _Request) -> None:
        self._drop_outdated(request)
        if not request.names:
            return
        self._last_id = number = self._last_id + 1
        request.attempts += 1
        self._stats.requests += 1
        if self._is_answered:
            self._waiting[number] = request
            loop = asyncio.get_running_loop()
            request.timer = loop.call_later(self._answer_timeout_s, self._unanswered, number)
        message = {"method": request.method, "params": request.names, "id": number}
        await self.wire.send(msgspec.json.encode(message))

    def _drop_outdated(self, request: _Request) -> None:
        """Leave out what was asked the other way since."""
        if request.method == "SUBSCRIBE":
            request.names = [name for name in request.names if name in self.names]
        elif request.attempts:
            request.names = [name for name in request.names if name not in self.names]

    def _settle(self) -> None:
        if not self._outbox and not self._waiting:
            self.answered.set()

    def take_control(self, payload: bytes) -> bool:
        try:
            control = _control.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return False
        if control.stream == SHUTDOWN_STREAM or control.event == SHUTDOWN_EVENT:
            self.renew(SERVER_SHUTDOWN)
            return True
        fault = control.error or (_Fault(control.code, control.msg) if control.code is not None else None)
        if fault is None and (control.id is UNSET or control.result is UNSET):
            return False
        request = self._waiting.pop(control.id, None) if isinstance(control.id, int) else None
        if request is not None and request.timer is not None:
            request.timer.cancel()
        if fault is not None:
            self._refused(request, str(fault.code), fault.msg)
        self._settle()
        return True

    def _unanswered(self, number: int) -> None:
        request = self._waiting.pop(number)
        if request.attempts >= MOST_ATTEMPTS:
            self._tell(request, "none", "no answer", is_final=True)
            self.give_up("no_answer")
            return
        self._tell(request, "none", "no answer", is_final=False)
        self._queue(request)

    def _refused(self, request: _Request | None, code: str, message: str) -> None:
        if request is None or len(request.names) > 1:
            self._tell(request, code, message, is_final=False)
        if request is None:
            return
        if len(request.names) > 1:
            middle = len(request.names) // 2
            halves = request.names[:middle], request.names[middle:]
            self._queue(*(_Request(request.method, half) for half in halves))
            return
        is_final = request.attempts >= MOST_ATTEMPTS
        self._tell(request, code, message, is_final=is_final)
        if not is_final:
            self._queue(request)
        elif request.method == "SUBSCRIBE":
            self._stats.given_up[request.names[0]] = message

    def _tell(self, request: _Request | None, code: str, message: str, *, is_final: bool) -> None:
        self._stats.refused[code] += 1
        names = request.names if request is not None else []
        connection, first = self.connection, names[0] if names else ""
        self._report(
            RequestRefused(
                connection.provider, connection.connection_id, code, message, len(names), first, is_final
            )
        )

    async def close(self) -> None:
        for request in self._waiting.values():
            if request.timer is not None:
                request.timer.cancel()
        self._waiting.clear()
        await super().close()
