"""The names of a market: canonical inside (`BTC-USDT`), the exchange's own on the wire."""

from collections.abc import Iterable, Iterator

from msgspec import Struct

__all__ = ["SymbolInfo", "Symbols", "precision_of"]


class SymbolInfo(Struct, frozen=True, kw_only=True):
    """What an exchange says of one symbol. `tick` and `quantity_step` are decimal strings, "" where there
    is none."""

    canonical: str
    wire: str
    base: str
    quote: str
    status: str = ""
    is_trading: bool = True
    tick: str = ""
    quantity_step: str = ""

    @property
    def price_precision(self) -> int:
        """Decimals that a price can have."""
        return precision_of(self.tick)

    @property
    def quantity_precision(self) -> int:
        """Decimals that a quantity can have."""
        return precision_of(self.quantity_step)


def precision_of(step: str) -> int:
    """Decimals of a step written as a decimal string: 2 for "0.01000000", 0 for "1.00" and ""."""
    return len(step.partition(".")[2].rstrip("0"))


class Symbols:
    """A two-way table, empty until it is loaded. Wire names are found in the exchange's case and in lower
    case."""

    def __init__(self) -> None:
        self._by_canonical: dict[str, SymbolInfo] = {}
        self._canonical: dict[str, str] = {}

    def load(self, infos: Iterable[SymbolInfo]) -> None:
        """Replace the whole table."""
        self._by_canonical = {info.canonical: info for info in infos}
        self._canonical = {}
        for info in self._by_canonical.values():
            self._canonical[info.wire] = self._canonical[info.wire.lower()] = info.canonical

    def __len__(self) -> int:
        return len(self._by_canonical)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_canonical)

    def __contains__(self, canonical: object) -> bool:
        return canonical in self._by_canonical

    def canonical(self, wire_name: str) -> str | None:
        """The canonical name of the exchange's."""
        return self._canonical.get(wire_name)

    def wire(self, canonical: str) -> str | None:
        """The exchange's name of the canonical one."""
        info = self._by_canonical.get(canonical)
        return None if info is None else info.wire

    def info(self, canonical: str) -> SymbolInfo | None:
        return self._by_canonical.get(canonical)
