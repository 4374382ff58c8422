"""Faults on demand: which frame or request suffers one, drawn from a seed or forced, and counted by kind.

| kind | what happens |
| --- | --- |
| gap | a depth frame is never sent |
| duplicate | a frame is sent twice |
| reorder | two adjacent frames of one stream are swapped |
| disconnect | the socket is cut without a close frame |
| malformed | a frame of broken JSON is sent before the true one |
| stall | a stream is silent for `stall_ms` of market time; what it would have sent is lost |
| http_429, http_5xx | a REST request is refused |
| stale_snapshot | a depth snapshot from before the first event of every stream |
"""

from enum import StrEnum
from random import Random

from nodes.exchange.params import FaultParams

__all__ = ["DEPTH_KINDS", "FRAME_KINDS", "REQUEST_KINDS", "FaultKind", "Faults"]


class FaultKind(StrEnum):
    """The kinds of faults, named as the parameters that give their rates."""

    GAP = "gap"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    DISCONNECT = "disconnect"
    MALFORMED = "malformed"
    STALL = "stall"
    HTTP_429 = "http_429"
    HTTP_5XX = "http_5xx"
    STALE_SNAPSHOT = "stale_snapshot"


FRAME_KINDS = (
    FaultKind.GAP,
    FaultKind.DUPLICATE,
    FaultKind.REORDER,
    FaultKind.DISCONNECT,
    FaultKind.MALFORMED,
    FaultKind.STALL,
)
REQUEST_KINDS = (FaultKind.HTTP_429, FaultKind.HTTP_5XX, FaultKind.STALE_SNAPSHOT)
DEPTH_KINDS = (FaultKind.GAP, FaultKind.STALE_SNAPSHOT)


class Faults:
    """Decides about each frame and each request. `counts` holds how many faults were made of each kind."""

    def __init__(self, params: FaultParams, seed: int) -> None:
        self.params = params
        self.counts: dict[FaultKind, int] = dict.fromkeys(FaultKind, 0)
        self._rng = Random(f"faults {seed}")
        self._frame_rates = _rates(params, FRAME_KINDS)
        self._request_rates = _rates(params, REQUEST_KINDS)
        self._forced: list[tuple[FaultKind, str | None]] = []
        self._frame_total = sum(rate for _, rate in self._frame_rates)
        self.is_on_frames = self._frame_total > 0

    def force(self, kind: FaultKind, symbol: str | None = None) -> None:
        """Make the next frame or request (of a canonical symbol) that can suffer this kind suffer it."""
        self._forced.append((kind, symbol))
        self.is_on_frames = self.is_on_frames or kind in FRAME_KINDS

    @property
    def forced(self) -> int:
        """How many forced faults wait for their frame or request."""
        return len(self._forced)

    def on_frame(self, symbol: str, *, is_depth: bool) -> FaultKind | None:
        """The fault for one frame about to be sent. The caller counts it with `made` once it took effect."""
        if self._forced:
            kind = self._take_forced(FRAME_KINDS, symbol, is_depth=is_depth)
            if kind is not None:
                return kind
        return self._draw(self._frame_rates, is_depth=is_depth)

    def on_request(self, symbol: str | None, *, is_depth: bool) -> FaultKind | None:
        """The fault for one REST request; `symbol` is None where the request names none."""
        if self._forced:
            kind = self._take_forced(REQUEST_KINDS, symbol, is_depth=is_depth)
            if kind is not None:
                return kind
        return self._draw(self._request_rates, is_depth=is_depth)

    def made(self, kind: FaultKind) -> None:
        """Count a fault that took effect."""
        self.counts[kind] += 1

    def _draw(self, rates: list[tuple[FaultKind, float]], *, is_depth: bool) -> FaultKind | None:
        if not rates:
            return None
        draw = self._rng.random()
        for kind, rate in rates:
            draw -= rate
            if draw < 0:
                return kind if is_depth or kind not in DEPTH_KINDS else None
        return None

    def _take_forced(
        self, kinds: tuple[FaultKind, ...], symbol: str | None, *, is_depth: bool
    ) -> FaultKind | None:
        for index, (kind, wanted) in enumerate(self._forced):
            if kind in kinds and wanted in (None, symbol) and (is_depth or kind not in DEPTH_KINDS):
                del self._forced[index]
                left = any(kind in FRAME_KINDS for kind, _ in self._forced)
                self.is_on_frames = left or self._frame_total > 0
                return kind
        return None


def _rates(params: FaultParams, kinds: tuple[FaultKind, ...]) -> list[tuple[FaultKind, float]]:
    """The kinds that have a rate. Raises ValueError where together they exceed 1."""
    rates = [(kind, float(getattr(params, kind.value))) for kind in kinds if getattr(params, kind.value)]
    if sum(rate for _, rate in rates) > 1:
        raise ValueError(f"the rates of {', '.join(kind.value for kind in kinds)} add up to more than 1")
    return rates
