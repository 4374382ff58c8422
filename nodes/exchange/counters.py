"""What the embedded exchange counts."""

import msgspec

__all__ = ["Counters"]


class Counters(msgspec.Struct, kw_only=True):
    """Totals since the start. `disconnects` by reason; `skipped_ms` is market time that passed without orders
    because the process could not keep up."""

    connections: int = 0
    open_connections: int = 0
    frames: int = 0
    bytes_sent: int = 0
    messages: int = 0
    requests: int = 0
    refused: int = 0
    skipped_ms: int = 0
    disconnects: dict[str, int] = {}

    def disconnected(self, reason: str) -> None:
        self.disconnects[reason] = self.disconnects.get(reason, 0) + 1
