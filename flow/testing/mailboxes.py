"""A mailbox whose account a test can check: what is put in is counted apart."""

from __future__ import annotations

from typing import Any

from flow.runtime.mailbox import Mailbox

__all__ = ["CountingMailbox"]


class CountingMailbox(Mailbox):
    """Counts its puts."""

    puts = 0

    def put(self, element: Any) -> None:
        self.puts += 1
        super().put(element)

    def put_many(self, elements: list[Any]) -> None:
        for element in elements:
            self.put(element)

    @property
    def offered(self) -> int:
        """What came in: puts, and the gap markers that the mailbox added itself."""
        return self.puts + self.markers
