"""What the graph costs at top speed, measured in turns with THE LOOP and THE BOOK LOOP on the same frames.

"file": replayed from a capture, whose reading counts. "memory": the same frames, pushed by the replay's pump
out of lists, which is what a socket would leave to do.

The CPU time of a whole `flow.run` counts: the event loop, reading and checking the graph, building and
starting it, the frames, the drain and the summary. `start_up_ms` says how much of it is not frames.
"""

import statistics
import time

import flow
from flow import FlowError
from profiling import frames as mixer
from profiling.interleave import Comparison, interleave
from profiling.the_loop import candidates
from profiling.workload import Workload

__all__ = ["BOOK_LOOP", "DECODING", "LOOP", "MOST_RATIO", "graph_cost", "start_up_ms", "verdicts"]

LOOP, BOOK_LOOP, DECODING = "THE LOOP", "THE BOOK LOOP", "decoding only"
MOST_RATIO = 1.6
FROM_FILE, FROM_MEMORY = "graph, file", "graph, memory"
BOOKS_FROM_FILE, BOOKS_FROM_MEMORY = "graph + books, file", "graph + books, memory"
JUDGED = {FROM_FILE: LOOP, FROM_MEMORY: LOOP, BOOKS_FROM_FILE: BOOK_LOOP, BOOKS_FROM_MEMORY: BOOK_LOOP}
"""What each variant of the graph is held against."""


def graph_cost(work: Workload, rounds: int) -> Comparison:
    """The loops and the graph in turns. Raises `WrongWork` where a run did not do the whole work."""
    loops = candidates(work.frames, mixer.snapshots(mixer.recording_folder()))
    plain, plain_memory = work.from_file(), work.from_memory()
    books, books_memory = work.from_file(has_books=True), work.from_memory(has_books=True)
    return interleave(
        {
            LOOP: loops[LOOP],
            FROM_FILE: lambda: work.handled(plain),
            FROM_MEMORY: lambda: work.handled(plain_memory),
            BOOK_LOOP: loops[BOOK_LOOP],
            BOOKS_FROM_FILE: lambda: work.handled(books),
            BOOKS_FROM_MEMORY: lambda: work.handled(books_memory),
            DECODING: loops[DECODING],
        },
        rounds,
        title=f"The graph at top speed: {work.title}",
    )


def ratios(comparison: Comparison, name: str, to: str) -> list[float]:
    """The ratio of one candidate to another in each round."""
    by_name = {figures.name: figures.rounds_cpu_us for figures in comparison.figures}
    return [ours / theirs for ours, theirs in zip(by_name[name], by_name[to], strict=True)]


def verdicts(comparison: Comparison) -> list[str]:
    """A line for each variant: its ratio to its loop and to decoding, and whether that is within 1.6."""
    lines: list[str] = []
    for name, loop in JUDGED.items():
        within = ratios(comparison, name, loop)
        ratio, to_decoding = statistics.median(within), statistics.median(ratios(comparison, name, DECODING))
        word = "met" if ratio <= MOST_RATIO else "MISSED"
        lower, _, upper = (
            statistics.quantiles(within, n=4, method="inclusive") if len(within) > 1 else within * 3
        )
        lines.append(
            f"{name}: {ratio:.2f} x {loop} (quartiles {lower:.2f} - {upper:.2f}), "
            f"{to_decoding:.2f} x decoding; at most {MOST_RATIO} x the loop: {word}"
        )
    return lines


def start_up_ms(work: Workload, *, has_books: bool = False, repeats: int = 5) -> float:
    """CPU time of a whole run that ends after its first frame, median, in ms."""
    spent: list[float] = []
    variant = work.from_file(has_books=has_books)
    for _ in range(repeats):
        begun = time.process_time()
        summary = flow.run(variant.graph(), replay=[("binance", work.capture)], speed=None, max_frames=1)
        spent.append((time.process_time() - begun) * 1000)
        if summary["frames"] != 1:
            raise FlowError(f"one frame was wanted, {summary['frames']} came")
    return statistics.median(spent)
