"""Whole lines to a file or to standard output, by a thread: a slow disk or pipe delays no event loop.

Lines gather in memory and go to the thread in chunks, one at a time, when a chunk is large enough or its time
has come. What can't be written is lost and counted; the file is opened again for the next chunk. A regular
file keeps nothing of a chunk that failed, so it never holds half a line.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

__all__ = ["LineFile", "LineWriter", "StandardOutput"]

CHUNK_BYTES: Final = 256 * 1024
MOST_BYTES: Final = 4 * CHUNK_BYTES
"""How much may wait in memory before whoever writes has to wait."""
CLOSE_WITHIN_S: Final = 3.0


class LineFile:
    """A file that lines are appended to. All methods block and raise `OSError`."""

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self.path = path
        self.name = str(path)
        self._first_flags = os.O_TRUNC if overwrite else 0
        self._fd: int | None = None

    def open(self) -> None:
        if self._fd is not None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | self._first_flags
        self._fd = os.open(self.path, flags, 0o644)
        self._first_flags = 0

    def append(self, chunk: bytes) -> None:
        self.open()
        assert self._fd is not None
        before = os.fstat(self._fd)
        try:
            _write_all(self._fd, chunk)
        except OSError:
            if stat.S_ISREG(before.st_mode):
                os.ftruncate(self._fd, before.st_size)
            self.close()
            raise

    def close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


class StandardOutput:
    """Standard output as it is when a chunk is written, past its text layer where it has a descriptor."""

    name = "standard output"

    def open(self) -> None:
        return

    def append(self, chunk: bytes) -> None:
        sys.stdout.flush()
        try:
            fd = sys.stdout.fileno()
        except (OSError, ValueError, AttributeError):
            sys.stdout.write(chunk.decode(errors="replace"))
            sys.stdout.flush()
            return
        _write_all(fd, chunk)

    def close(self) -> None:
        return


def _write_all(fd: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(fd, rest) :]


class LineWriter:
    """Hands lines to a thread. `on_error(error)` is told of the first failure after a success.

    Used from one event loop: `open`, then `write` for each line, then `close`.
    """

    def __init__(
        self,
        target: LineFile | StandardOutput,
        on_error: Callable[[Exception], None],
        *,
        flush_every_s: float = 1.0,
    ) -> None:
        self.target = target
        self.on_error = on_error
        self.flush_every_s = flush_every_s
        self.written = 0
        self.lost: Counter[str] = Counter()
        """Lines that could not be written, by error."""
        self._lines: list[bytes] = []
        self._size = 0
        self._is_failing = False
        self._job: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="lines")

    @property
    def is_busy(self) -> bool:
        """Whether the thread is at work on a chunk."""
        return self._job is not None

    async def open(self) -> None:
        """Make the file appear. A failure is reported, not raised: later chunks try again."""
        self._start(self.target.open, 0)
        await self.rest()

    def write(self, line: bytes) -> Awaitable[object] | None:
        """Take one line, its end included. Gives something to await where too much waits already."""
        self._lines.append(line)
        self._size += len(line)
        if self._size >= CHUNK_BYTES:
            self.flush()
        elif self._timer is None and self._job is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self.flush_every_s, self.flush)
        if self._size < MOST_BYTES or self._job is None:
            return None
        return asyncio.shield(self._job)

    def flush(self) -> None:
        """Hand over what waits, unless the thread is at work: then that follows."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._job is not None or not self._lines:
            return
        lines, self._lines, self._size = self._lines, [], 0
        chunk = b"".join(lines)
        self._start(lambda: self.target.append(chunk), len(lines))

    async def close(self) -> None:
        """Write what waits and close the file; gives up after `CLOSE_WITHIN_S` of a thread that hangs."""
        try:
            await asyncio.wait_for(self._finish(), CLOSE_WITHIN_S)
        except TimeoutError:
            self._failed(TimeoutError(f"still not written after {CLOSE_WITHIN_S:g} s"), len(self._lines))
            self._lines, self._size = [], 0
        finally:
            self._threads.shutdown(wait=False)

    async def _finish(self) -> None:
        while self._job is not None or self._lines:
            self.flush()
            await self.rest()
        self._start(self.target.close, 0)
        await self.rest()

    async def rest(self) -> None:
        """Return once the thread is through with its chunk."""
        if self._job is not None:
            await asyncio.wait([self._job])

    def _start(self, work: Callable[[], None], lines: int) -> None:
        # A future of its own is done only after the figures are in.
        loop = asyncio.get_running_loop()
        job = self._job = loop.create_future()
        at_work = loop.run_in_executor(self._threads, _outcome, work)

        def done(ended: asyncio.Future[Exception | None]) -> None:
            error = None if ended.cancelled() else ended.result()
            self._job = None
            if error is None:
                self._is_failing = self._is_failing and lines == 0
                self.written += lines
            else:
                self._failed(error, lines)
            if self._size >= CHUNK_BYTES or (self._lines and self.flush_every_s == 0):
                self.flush()
            elif self._lines and self._timer is None:
                self._timer = loop.call_later(self.flush_every_s, self.flush)
            if not job.done():
                job.set_result(None)

        at_work.add_done_callback(done)

    def _failed(self, error: Exception, lines: int) -> None:
        if lines:
            self.lost[type(error).__name__] += lines
        if not self._is_failing:
            self._is_failing = True
            self.on_error(error)


def _outcome(work: Callable[[], None]) -> Exception | None:
    try:
        work()
    except Exception as error:  # closed streams raise ValueError, encodings UnicodeError
        return error
    return None
