"""One way to show progress: a bar on a terminal, a line every few seconds in a log file."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Reporter:
    """What a tracked loop can say about itself: ``report(loss=0.1)`` shows the values behind the bar."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def report(self, **values: float) -> None:
        self.values.update(values)

    def text(self) -> str:
        return "  ".join(f"{name} {value:.3g}" for name, value in self.values.items())


def track(
    items: Iterable[T],
    description: str,
    total: int,
    reporter: Reporter | None = None,
    seconds_between_lines: float = 5.0,
) -> Iterator[T]:
    """Yield ``items`` and show how far, how fast and what was last reported. The first line comes after the first item."""
    reporter = reporter or Reporter()
    show = _on_terminal if sys.stderr.isatty() else _in_log
    yield from show(items, description, total, reporter, seconds_between_lines)


def _on_terminal(items: Iterable[T], description: str, total: int, reporter: Reporter, _: float) -> Iterator[T]:
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[values]}"),
    )  # fmt: skip
    from rich.console import Console

    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total, values="")
        for item in items:
            yield item
            bar.update(task, advance=1, values=reporter.text())


def _in_log(items: Iterable[T], description: str, total: int, reporter: Reporter, pause: float) -> Iterator[T]:
    start = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if done in (1, total) or now - last >= pause:
            last = now
            logger.info("%s %d/%d  %.2f/s  %s", description, done, total, done / (now - start), reporter.text())
