"""The instruments of the simulated market: names, ticks, lots and first prices.

`DECIMALS` is the fixed point in which ticks and lots are given: 8 decimals, so a tick of 0.01 is 1_000_000.
"""

import re
import zlib

import msgspec

__all__ = ["DECIMALS", "Instrument", "built_in_names", "instruments"]

DECIMALS = 8
ONE = 10**DECIMALS

FIRST = ("BTC-USDT", "ETH-USDT", "SOL-USDT")
QUOTES = ("USDT", "USDC", "BTC", "EUR", "FDUSD", "ETH")
BASES = (
    "BTC", "ETH", "SOL", "BNB", "XRP", "DOGE", "ADA", "AVAX", "LINK", "DOT", "TRX", "LTC", "BCH", "UNI",
    "ATOM", "XLM", "NEAR", "APT", "FIL", "ETC", "HBAR", "ARB", "OP", "SUI", "INJ", "AAVE", "ALGO", "ICP",
    "GRT", "SAND", "MANA", "AXS", "EGLD", "THETA", "FTM", "XTZ", "EOS", "FLOW", "CHZ", "CRV", "SNX", "COMP",
    "MKR", "ZEC", "DASH", "ENJ", "BAT", "ZIL", "KSM", "LRC", "RUNE", "NKN", "BLZ", "QTUM", "IOTA", "NEO",
    "WAVES", "ONT", "ICX", "ZRX", "YFI", "SUSHI", "1INCH", "CELO", "ANKR", "STORJ", "SKL", "CTSI", "OCEAN",
    "BAND", "KAVA", "ROSE", "HOT", "VET", "KNC", "BNT", "REN", "UMA", "LPT", "MASK", "ENS", "GALA", "IMX",
    "LDO", "DYDX", "APE", "GMT", "JASMY", "STX", "RNDR", "FET", "AGIX", "WOO", "MAGIC", "SSV", "ID", "EDU",
    "PEPE", "FLOKI", "WLD", "SEI", "TIA", "PYTH", "JTO", "ORDI", "BLUR", "CFX", "MINA", "KAS", "TON", "NOT",
    "ENA", "STRK", "JUP", "DYM", "PIXEL", "ALT", "MANTA", "XAI", "ACE", "NFP", "AI", "BOME", "W", "TNSR",
)  # fmt: skip

USD_PRICES = {
    "BTC": 60_000.0, "ETH": 3_000.0, "SOL": 150.0, "BNB": 550.0, "XRP": 0.52, "DOGE": 0.12, "ADA": 0.45,
    "AVAX": 35.0, "LINK": 14.0, "DOT": 7.0, "TRX": 0.12, "LTC": 80.0, "BCH": 450.0, "UNI": 9.0, "ATOM": 8.0,
    "NKN": 0.35, "BLZ": 0.2, "LRC": 0.35, "RUNE": 7.5, "MKR": 2_800.0, "YFI": 7_000.0, "AAVE": 95.0,
    "USDT": 1.0, "USDC": 1.0, "FDUSD": 1.0, "EUR": 1.08, "USD": 1.0, "GBP": 1.27,
}  # fmt: skip

NAME = re.compile(r"[A-Z0-9]{1,12}-[A-Z0-9]{1,12}")
TICKS_AT_LEAST = 2_000
LOT_USD = 0.5


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """One symbol. `tick` and `lot` in 10**-8, `first_price` in ticks, `usual_lots` a common order size."""

    name: str
    base: str
    quote: str
    tick: int
    lot: int
    first_price: int
    usual_lots: int

    def price(self, ticks: int) -> str:
        """The decimal price, 8 decimals."""
        whole, part = divmod(ticks * self.tick, ONE)
        return f"{whole}.{part:08d}"

    def quantity(self, lots: int) -> str:
        """The decimal base quantity, 8 decimals."""
        whole, part = divmod(lots * self.lot, ONE)
        return f"{whole}.{part:08d}"

    def value(self, ticks_lots: int) -> str:
        """The decimal quote value of a sum of price times quantity in ticks and lots, 8 decimals, exact."""
        whole, part = divmod(ticks_lots * self.tick * self.lot // ONE, ONE)
        return f"{whole}.{part:08d}"


def built_in_names() -> list[str]:
    """The canonical names that a count of symbols takes from the start; 500 or more, the best known first."""
    names: dict[str, None] = dict.fromkeys(FIRST)
    for quote in QUOTES:
        names.update({f"{base}-{quote}": None for base in BASES if base != quote and _is_above(base, quote)})
    return list(names)


def instruments(symbols: int | list[str]) -> list[Instrument]:
    """The instruments for a count or for canonical names. Raises ValueError for what it can't give."""
    if isinstance(symbols, int):
        names = built_in_names()
        if not 1 <= symbols <= len(names):
            raise ValueError(f"there are 1 to {len(names)} built-in symbols, not {symbols}")
        return [_instrument(name) for name in names[:symbols]]
    if len(set(symbols)) != len(symbols):
        raise ValueError("a symbol is named twice")
    return [_instrument(name) for name in symbols]


def _is_above(base: str, quote: str) -> bool:
    """Whether a pair is quoted this way round: BTC-ETH is not."""
    return (base, quote) != ("BTC", "ETH")


def _usd_price(asset: str) -> float:
    known = USD_PRICES.get(asset)
    if known is not None:
        return known
    spread = zlib.crc32(asset.encode()) % 10_000
    return 0.02 * 10 ** (spread / 10_000 * 3)


def _instrument(name: str) -> Instrument:
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not of the form BASE-QUOTE")
    base, quote = name.split("-")
    price = round(_usd_price(base) / _usd_price(quote) * ONE)
    tick = _power_below(price // TICKS_AT_LEAST, most=ONE // 100)
    lot = _power_below(round(LOT_USD / _usd_price(base) * ONE), most=ONE)
    lot = max(lot, ONE // tick)
    return Instrument(
        name=name,
        base=base,
        quote=quote,
        tick=tick,
        lot=lot,
        first_price=max(price // tick, 200),
        usual_lots=max(2, round(400 / (_usd_price(base) * lot / ONE))),
    )


def _power_below(value: int, *, most: int) -> int:
    """The greatest power of ten that is neither above `value` nor above `most`, and 1 at least."""
    return min(10 ** (len(str(max(value, 1))) - 1), most)
