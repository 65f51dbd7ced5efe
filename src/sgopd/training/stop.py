"""SIGTERM (a cancelled job, a time limit) as an orderly stop of training.

The process leaves at once while the weights are those of the last whole step, and after the step once its first update has
begun. Several processes leave together, after a step. Knows no files.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator

import torch

from sgopd.training.distributed import anyone, world

EXIT_CODE = 128 + signal.SIGTERM


class Stop:
    """Whether the process was asked to leave, and whether it may do so here. It leaves by SystemExit."""

    def __init__(self, optimiser: torch.optim.Optimizer) -> None:
        self.asked, self._held = False, True
        optimiser.register_step_pre_hook(lambda *_: self._hold())

    def _hold(self) -> None:
        self._held = True

    def ask(self, *_: object) -> None:
        """The signal's handler."""
        self.asked = True
        if not self._held:
            raise SystemExit(EXIT_CODE)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside, until an update begins, nothing is lost by leaving on the spot; a request that came before is granted here."""
        if self.asked and world() == 1:
            raise SystemExit(EXIT_CODE)
        self._held = world() > 1
        try:
            yield
        finally:
            self._held = True

    def after_step(self) -> None:
        """Leave if any process was asked to."""
        if anyone(self.asked):
            raise SystemExit(EXIT_CODE)


@contextlib.contextmanager
def stopping(optimiser: torch.optim.Optimizer) -> Iterator[Stop]:
    """Requests to leave while training with this optimiser; the signal's old handler comes back afterwards."""
    stop = Stop(optimiser)
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield stop
        return
    before = signal.signal(signal.SIGTERM, stop.ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)
