"""What was expected beside what came, so that one sees at once where they part: marbles in two lines, rows in
a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, cast

from flow.clock import NS_PER_MS
from flow.scenarios.marbles import NAME, Cells, drawn
from flow.scenarios.patterns import MISSING, Pattern, looked_up, written
from flow.scenarios.spec import Wanted
from flow.scenarios.vocabulary import Port, Vocabulary

__all__ = ["Came", "difference", "ms"]

Came = list[tuple[int, Any]]
"""(ns from the start, row)."""

UNKNOWN: Final = "?"
MOST_WIDTH: Final = 120
BEFORE: Final = 60
MOST_UNKNOWN: Final = 5
MOST_LINES: Final = 40
AROUND: Final = 3
MOST_COMPARED: Final = 1_000_000
NOISE: Final = (
    "event_id",
    "exchange_ts",
    "ingest_ts",
    "emit_ts",
    "trace_id",
    "decision_id",
    "schema_version",
)

Pair = tuple[int | None, int | None]
"""Indices into what was wanted and what came, one of them None where there is no counterpart."""


def ms(ns: int) -> str:
    """A time as tests write it."""
    return f"{ns / NS_PER_MS:g}" if ns % NS_PER_MS else str(ns // NS_PER_MS)


def difference(
    wanted: Wanted, came: Came, completed_ns: int | None, port: Port, words: Vocabulary
) -> list[str]:
    """Lines that show where the two part; [] where they are alike."""
    pairs = _aligned(wanted, came)
    is_end_right = not wanted.is_ended or completed_ns == wanted.completed_ns
    if is_end_right and all(None not in pair for pair in pairs):
        return []
    end_ns = completed_ns if wanted.is_ended else None
    times = [at_ns for at_ns, _ in came] + ([] if end_ns is None else [end_ns])
    if wanted.step_ns and not any(at_ns % wanted.step_ns for at_ns in times):
        lines = _marbles(wanted, came, end_ns, pairs, _Namer(port, words))
        if lines:
            return lines
    lines = _table(wanted, came, pairs)
    if not is_end_right:
        said = "never" if completed_ns is None else f"at {ms(completed_ns)} ms"
        due = "" if wanted.completed_ns is None else f" at {ms(wanted.completed_ns)} ms"
        lines.append(f"expected the end{due}, it came {said}")
    return lines


def _is_alike(wanted: tuple[int | None, Pattern, str], came: tuple[int, Any]) -> bool:
    at_ns, pattern, _ = wanted
    return (at_ns is None or at_ns == came[0]) and pattern.fits(came[1])


def _aligned(wanted: Wanted, came: Came) -> list[Pair]:
    """The longest row of counterparts, in order, and between them what has none."""
    entries = wanted.entries
    count, first = min(len(entries), len(came)), 0
    while first < count and _is_alike(entries[first], came[first]):
        first += 1
    last = 0
    while last < count - first and _is_alike(entries[-1 - last], came[-1 - last]):
        last += 1
    ends = len(entries) - last, len(came) - last
    middle = _longest(entries[first : ends[0]], came[first : ends[1]])
    pairs: list[Pair] = [(at, at) for at in range(first)]
    pairs += [(None if w is None else w + first, None if c is None else c + first) for w, c in middle]
    return pairs + [(ends[0] + at, ends[1] + at) for at in range(last)]


def _longest(wanted: Sequence[tuple[int | None, Pattern, str]], came: Came) -> list[Pair]:
    rows, columns = len(wanted), len(came)
    if rows * columns > MOST_COMPARED:
        return [*((at, None) for at in range(rows)), *((None, at) for at in range(columns))]
    alike = [[_is_alike(one, other) for other in came] for one in wanted]
    best = [[0] * (columns + 1) for _ in range(rows + 1)]
    for w in reversed(range(rows)):
        for c in reversed(range(columns)):
            skipped = max(best[w + 1][c], best[w][c + 1])
            best[w][c] = max(skipped, best[w + 1][c + 1] + 1) if alike[w][c] else skipped
    pairs: list[Pair] = []
    w = c = 0
    while w < rows or c < columns:
        if w < rows and c < columns and alike[w][c] and best[w][c] == best[w + 1][c + 1] + 1:
            pairs.append((w, c))
            w, c = w + 1, c + 1
        elif w < rows and (c == columns or best[w + 1][c] >= best[w][c + 1]):
            pairs.append((w, None))
            w += 1
        else:
            pairs.append((None, c))
            c += 1
    return pairs


class _Namer:
    """What a row is called in a drawing."""

    def __init__(self, port: Port, words: Vocabulary) -> None:
        self.patterns = [
            (name, words.pattern(tree, port)) for name, tree in words.events.items() if tree.value is not None
        ]
        self.stream = Pattern(words.stream_pattern())

    def __call__(self, row: Any) -> str:
        for name, pattern in self.patterns:
            if pattern.fields and pattern.fits(row):
                return name
        if isinstance(row, dict):
            sequence = looked_up(row, "sequence")
            return str(sequence) if isinstance(sequence, int) and self.stream.fits(row) else UNKNOWN
        said = written(row)
        return said if NAME.fullmatch(said) and len(said) <= len("-1.2345e+10") else UNKNOWN


def _marbles(
    wanted: Wanted, came: Came, end_ns: int | None, pairs: list[Pair], name_of: Callable[[Any], str]
) -> list[str]:
    step_ns = wanted.step_ns
    names = {c: wanted.entries[w][2] for w, c in pairs if w is not None and c is not None}
    shown = [(at_ns, names.get(at) or name_of(row)) for at, (at_ns, row) in enumerate(came)]
    due = [((at_ns or 0) // step_ns, name) for at_ns, _, name in wanted.entries]
    end = None if wanted.completed_ns is None else wanted.completed_ns // step_ns
    expected = drawn(due, end, wanted.places)
    got = drawn(
        [(at_ns // step_ns, name) for at_ns, name in shown],
        None if end_ns is None else end_ns // step_ns,
        wanted.places if end is None else 0,
    )
    if expected == got:
        return []
    unknown = [at for at, (_, name) in enumerate(shown) if name == UNKNOWN]
    lines = _two_lines(expected, got, step_ns)
    for at in unknown[:MOST_UNKNOWN]:
        lines.append(f"{UNKNOWN} at {ms(came[at][0])} ms is {_short(came[at][1])}")
    if len(unknown) > MOST_UNKNOWN:
        lines.append(f"and {len(unknown) - MOST_UNKNOWN} more {UNKNOWN}")
    return lines


def _two_lines(expected: Cells, got: Cells, step_ns: int) -> list[str]:
    count = max(len(expected), len(got))
    both = [
        (expected[at] if at < len(expected) else "", got[at] if at < len(got) else "") for at in range(count)
    ]
    widths = [max(len(one), len(other)) for one, other in both]
    first = next(at for at, (one, other) in enumerate(both) if one != other)
    column = sum(widths[:first])
    upper = "".join(one.ljust(width) for (one, _), width in zip(both, widths, strict=True))
    lower = "".join(other.ljust(width) for (_, other), width in zip(both, widths, strict=True))
    start = column - BEFORE if len(upper) > MOST_WIDTH and column > BEFORE else 0
    lead = "..." if start else ""
    texts = [f"{lead}{line[start : start + MOST_WIDTH]}".rstrip() for line in (upper, lower)]
    caret = " " * (len(lead) + column - start)
    return [f"expected  {texts[0]}", f"got       {texts[1]}", f"          {caret}^ {ms(first * step_ns)} ms"]


def _short(row: Any) -> str:
    if isinstance(row, dict) and "event_id" in row:
        fields = cast(dict[str, Any], row)
        row = {key: value for key, value in fields.items() if key not in NOISE and value not in (None, "")}
    return written(row, MOST_WIDTH * 2)


def _table(wanted: Wanted, came: Came, pairs: list[Pair]) -> list[str]:
    """The rows that were expected (-), those that came (+), and those that did both."""
    names = list(dict.fromkeys(name for _, pattern, _ in wanted.entries for name in pattern.fields))
    is_timed = any(at_ns is not None for at_ns, _, _ in wanted.entries)

    def cells(mark: str, at_ns: int | None, value_of: Callable[[str], Any], whole: Any) -> list[str]:
        time = [] if not is_timed else ["" if at_ns is None else ms(at_ns)]
        return [mark, *time, *([written(value_of(name)) for name in names] or [written(_short(whole))])]

    rows: list[list[str]] = []
    for w, c in pairs:
        if w is not None and c is None:
            at_ns, pattern, _ = wanted.entries[w]
            fields = pattern.fields

            def said(name: str, fields: Any = fields) -> Any:
                return fields[name].plain() if name in fields else ""

            rows.append(cells("-", at_ns, said, pattern.tree.plain()))
        elif c is not None:
            at_ns, row = came[c]
            rows.append(cells("+" if w is None else " ", at_ns, lambda name, row=row: _cell(row, name), row))
    head = [" ", *(["at_ms"] if is_timed else []), *(names or ["element"])]
    return list(_laid_out(head, rows))


def _cell(row: Any, name: str) -> Any:
    value = looked_up(row, name)
    return "(missing)" if value is MISSING else value


def _laid_out(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    changed = [at for at, row in enumerate(rows) if row[0] != " "]
    kept = [at for at in range(len(rows)) if any(abs(at - other) <= AROUND for other in changed)]
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    yield _row(head, widths)
    for at in kept[:MOST_LINES]:
        yield _row(rows[at], widths)
    if len(kept) > MOST_LINES:
        yield f"  ... and {len(kept) - MOST_LINES} more"


def _row(cells: list[str], widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
