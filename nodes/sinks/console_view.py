"""How the console draws what it knows: a table for a terminal, or one line of plain text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nodes.sinks.console_market import Row, trimmed

__all__ = ["FrameOfView", "final_line", "plain_line", "table_view"]

HEAD_LINES: Final = 6
"""Lines that are no rows: header, blank, column names, rule, foot."""
MODE_STYLES: Final = {
    "simulated": "bold black on yellow",
    "replay": "bold white on blue",
    "live": "bold white on dark_green",
}
OLD_BOOK_S: Final = 10.0


class FrameOfView(Struct, frozen=True):
    """All that one picture shows."""

    graph: str
    mode: str
    uptime_s: float
    events: int
    rate: float
    lag_p99_ms: float
    symbols: int
    missed: int
    rows: list[Row]


def table_view(frame: FrameOfView, width: int, height: int, *, is_ascii: bool = False) -> RenderableType:
    """The header and the table, in at most `height` lines of `width`."""
    header = _header(frame, width)
    if not frame.rows:
        return Group(header, Text(" waiting for the first event", style="dim italic"))
    shown = frame.rows[: max(1, height - HEAD_LINES)]
    parts: list[RenderableType] = [header, _table(shown, width, is_ascii=is_ascii)]
    hidden = frame.symbols - len(shown)
    if hidden > 0:
        parts.append(Text(f"and {hidden:,} less active", style="dim"))
    return Group(*parts)


def _header(frame: FrameOfView, width: int) -> Text:
    mode = (f" {frame.mode.upper()} ", MODE_STYLES.get(frame.mode, "bold reverse"))
    name, uptime = (f" {frame.graph}", "bold"), (f"  up {_span(frame.uptime_s)}", "")
    rate, events = (f"  {frame.rate:,.0f} ev/s", "bold"), (f"  {frame.events:,} events", "dim")
    lag = (f"  lag p99 {_ms(frame.lag_p99_ms)} ms", "")
    missed = (f"  {frame.missed:,} missed", "bold red") if frame.missed else ("", "")
    header = Text.assemble(mode, name, uptime, rate, events, lag, missed)
    if header.cell_len > width:
        header = Text.assemble(mode, name, uptime, rate, lag, missed)
    header.no_wrap, header.overflow = True, "ellipsis"
    return header


class _Column(Struct, frozen=True):
    """`rank` 0 is always shown; of the others the highest goes first where room is short."""

    title: str
    cell: Callable[[Row], Text]
    rank: int
    is_left: bool = False


def _table(rows: list[Row], width: int, *, is_ascii: bool) -> Table:
    """As many columns as fit: a price is shown whole or not at all."""
    cells = {column: [column.cell(row) for row in rows] for column in _columns(is_ascii=is_ascii)}
    widths = {column: max(cell.cell_len for cell in cells[column]) for column in cells}
    chosen = {column: max(len(column.title), n) for column, n in widths.items() if n}
    while sum(chosen.values()) + len(chosen) - 1 > width:
        least = max(column.rank for column in chosen)
        if least == 0:
            break
        chosen = {column: needed for column, needed in chosen.items() if column.rank < least}
    look = box.ASCII2 if is_ascii else box.SIMPLE_HEAD
    is_roomy = sum(chosen.values()) + 2 * len(chosen) <= width
    padding = (0, 1, 0, 0) if is_roomy else 0
    table = Table(box=look, padding=padding, pad_edge=False, header_style="dim", show_edge=False)
    for column, needed in chosen.items():
        least_width = None if column.is_left else needed
        justify = "left" if column.is_left else "right"
        table.add_column(column.title, justify=justify, no_wrap=True, min_width=least_width)
    for row in zip(*(cells[column] for column in chosen), strict=True):
        table.add_row(*row)
    return table


def _columns(*, is_ascii: bool) -> list[_Column]:
    return [
        _Column("symbol", lambda row: Text(row.name, style="bold"), 0, is_left=True),
        _Column("size", lambda row: Text(_size(row.bid_size), style="dim"), 7),
        _Column("bid", lambda row: Text(trimmed(row.bid), style="green"), 0),
        _Column("ask", lambda row: Text(trimmed(row.ask), style="red"), 0),
        _Column("size", lambda row: Text(_size(row.ask_size), style="dim"), 7),
        _Column("spread", lambda row: Text(trimmed(row.spread)), 6),
        _Column("bps", _basis_points, 5),
        _Column("last", lambda row: _last(row, is_ascii=is_ascii), 1),
        _Column("24 h", _change, 8),
        _Column("ev/s", lambda row: Text(f"{row.rate:,.0f}"), 2),
        _Column("lag ms", lambda row: Text(_ms(row.lag_ms)), 4),
        _Column("book", _book, 3),
        _Column("missed", _missed, 4),
    ]


def _basis_points(row: Row) -> Text:
    """The spread in hundredths of a percent of the bid."""
    if not row.spread or not float(row.bid):
        return Text("")
    points = float(row.spread) / float(row.bid) * 1e4
    return Text(f"{points:.2f}" if points < 10 else f"{points:,.0f}")


def _last(row: Row, *, is_ascii: bool) -> Text:
    marks = ("+", "-") if is_ascii else ("▲", "▼")
    if row.side == "buy":
        return Text(f"{trimmed(row.last)} {marks[0]}", style="green")
    if row.side == "sell":
        return Text(f"{trimmed(row.last)} {marks[1]}", style="red")
    return Text(f"{trimmed(row.last)}  ")


def _change(row: Row) -> Text:
    if row.change_percent is None:
        return Text("")
    return Text(f"{row.change_percent:+.2f}%", style="green" if row.change_percent >= 0 else "red")


def _missed(row: Row) -> Text:
    return Text(f"{row.missed:,}" if row.missed else "", style="red")


def _book(row: Row) -> Text:
    if not row.book:
        return Text("")
    if row.book != "live":
        return Text(row.book, style="yellow" if row.book == "partial" else "bold red")
    is_old = row.book_age_s >= OLD_BOOK_S
    return Text(f"live {_age(row.book_age_s)}", style="yellow" if is_old else "green")


def _age(age_s: float) -> str:
    return f"{age_s:.1f}s" if age_s < 100 else _span(age_s)


def _size(quantity: str) -> str:
    """A quantity in at most six places: it is a measure here, not a figure to reckon with."""
    if not quantity:
        return ""
    value = float(quantity)
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= limit:
            return f"{value / (1e3 if unit == 'k' else limit):.1f}{unit}"
    if value >= 100:
        return f"{value:.1f}"
    return f"{value:.3f}" if value >= 1 else f"{value:.4f}" if value >= 1e-4 else f"{value:.0e}"


def _ms(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _span(seconds: float) -> str:
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def plain_line(frame: FrameOfView) -> str:
    """One line, without its end: the whole and the most active symbol."""
    parts = [f"{frame.uptime_s:.1f}s {frame.mode} {frame.rate:.0f} ev/s"]
    if frame.rows:
        parts.append(_plain_row(frame.rows[0]))
    parts.append(f"lag p99 {_ms(frame.lag_p99_ms)} ms")
    if frame.missed:
        parts.append(f"{frame.missed} missed")
    return "  ".join(parts)


def _plain_row(row: Row) -> str:
    words = [row.name]
    if row.bid or row.ask:
        words.append(f"{trimmed(row.bid) or '-'}/{trimmed(row.ask) or '-'}")
    if row.last:
        words.append(f"last {trimmed(row.last)} {row.side}".rstrip())
    if row.book and row.book != "live":
        words.append(f"book {row.book}")
    return " ".join(words)


def final_line(frame: FrameOfView) -> str:
    """What the whole run came to."""
    rate = frame.events / frame.uptime_s if frame.uptime_s > 0 else 0.0
    parts = [
        f"{frame.uptime_s:.1f}s {frame.mode} {frame.graph} ended",
        f"{frame.events} events of {frame.symbols} symbols",
        f"{rate:.0f} ev/s on average",
        f"lag p99 {_ms(frame.lag_p99_ms)} ms",
    ]
    if frame.missed:
        parts.append(f"{frame.missed} missed")
    return "  ".join(parts)
