"""What every test can ask for: the project's folder and the recordings."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from flow.cli import main

settings.register_profile(
    "house", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("nightly", settings.get_profile("house"), max_examples=10_000)
settings.load_profile("house")


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The folder that holds pyproject.toml."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder named by FLOW_RECORDINGS; the test is skipped where there is none."""
    named = os.environ.get("FLOW_RECORDINGS", "")
    if not named:
        pytest.skip("FLOW_RECORDINGS is not set: no recordings to replay")
    folder = Path(named)
    if not folder.is_dir():
        pytest.skip(f"FLOW_RECORDINGS names {named}, which is no folder")
    return folder


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Standard error, by line."""
        return self.err.splitlines()


@pytest.fixture
def flow_command(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """`flow_command("run", path, "--sim")` in this process."""

    def call(*args: object) -> Outcome:
        capfd.readouterr()
        code = main([str(arg) for arg in args])
        said = capfd.readouterr()
        assert "Traceback" not in said.err
        return Outcome(code, said.out, said.err)

    return call


SYMBOLS = {"AAAUSDT": ("AAA", "USDT"), "BBBUSDT": ("BBB", "USDT")}
CAPTURED_AT_S = 1_700_000_000


@pytest.fixture
def binance_capture(tmp_path: Path) -> Callable[..., Path]:
    """Writes a recording of Binance's combined streams: the exchange's symbols AAA-USDT and BBB-USDT, a
    connection, and the frames that are given, `step_ms` apart."""

    def write(*frames: bytes, step_ms: int = 10, books: Mapping[str, bytes] | None = None) -> Path:
        symbols = ",".join(
            f'{{"symbol":"{wire}","status":"TRADING","baseAsset":"{base}","quoteAsset":"{quote}"}}'
            for wire, (base, quote) in SYMBOLS.items()
        )
        at = f"{CAPTURED_AT_S}.0"
        head = f'https://x.test/api/v3/exchangeInfo -> {at}: {{"rateLimits":[],"symbols":[{symbols}]}}\n'
        lines = [head.encode()]
        for wire, body in (books or {}).items():
            url = f"https://x.test/api/v3/depth?symbol={wire}&limit=1000"
            lines.append(f"{url} -> {at}: ".encode() + body + b"\n")
        lines.append(f"wss://x.test/stream <-> {at}\n".encode())
        for number, frame in enumerate(frames):
            ts = CAPTURED_AT_S + number * step_ms / 1000
            lines.append(f"{ts:.6f}: ".encode() + frame + b"\n")
        path = tmp_path / "capture.raw"
        path.write_bytes(b"".join(lines))
        return path

    return write


def binance_trade(number: int, symbol: str = "aaausdt", price: str = "1.50") -> bytes:
    """A trade as Binance sends it in a combined stream."""
    data = (
        f'{{"e":"trade","E":{CAPTURED_AT_S}000,"s":"{symbol.upper()}","t":{number},"p":"{price}","q":"2.0",'
        f'"T":{CAPTURED_AT_S}000,"m":true,"M":true}}'
    )
    return f'{{"stream":"{symbol}@trade","data":{data}}}'.encode()


@pytest.fixture
def trade_frame() -> Callable[..., bytes]:
    return binance_trade
