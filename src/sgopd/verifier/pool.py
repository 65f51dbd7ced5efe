"""Worker processes that are killed and replaced when they exceed a limit; results keep the order of the tasks.

In: pairs of gold and answer. Out: per pair a decision, ``timeout`` or ``error``. Knows nothing of mathematics.
"""

import atexit
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

START_LIMIT = 120.0  # seconds for a worker to start or to load the symbolic engine


@dataclass(frozen=True)
class Task:
    gold: str
    answer: str
    decimal_places: int | None


@dataclass(frozen=True)
class Outcome:
    """``equal`` is None where nothing shows that the two are equal."""

    kind: Literal["decided", "timeout", "error"]
    equal: bool | None
    reason: str
    seconds: float


class _Worker:
    def __init__(self, timeout_s: float, memory_mb: int) -> None:
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        env = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "sgopd.verifier.worker", str(timeout_s), str(memory_mb)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
        )
        self.timeout_s = timeout_s
        self.task: int | None = None
        self.ready = False
        self.buffer = b""
        self.started = 0.0
        self.deadline = time.monotonic() + START_LIMIT

    def give(self, index: int, task: Task) -> None:
        self.task = index
        self.started = time.monotonic()
        self.deadline = self.started + self.timeout_s
        places = "" if task.decimal_places is None else str(task.decimal_places)
        line = json.dumps({"gold": task.gold, "answer": task.answer, "places": places})
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # its end is seen as the end of its output
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()

    def messages(self) -> list[dict[str, Any]] | None:
        """Whole lines that arrived; None at the end of the process."""
        assert self.process.stdout is not None
        chunk = os.read(self.process.stdout.fileno(), 1 << 16)
        if not chunk:
            return None
        *lines, self.buffer = (self.buffer + chunk).split(b"\n")
        return [json.loads(line) for line in lines]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()


class Pool:
    """Processes that live until ``close``; the first is started with the first task."""

    def __init__(self, workers: int, timeout_s: float, memory_mb: int) -> None:
        self.limits = (timeout_s, memory_mb)
        self.size = workers
        self.workers: list[_Worker] = []
        self.lock = threading.Lock()

    def run(self, tasks: Sequence[Task]) -> list[Outcome]:
        """One outcome per task, in order."""
        with self.lock:
            return _Run(self, tasks).outcomes()

    def start(self) -> _Worker:
        worker = _Worker(*self.limits)
        self.workers.append(worker)
        return worker

    def drop(self, worker: _Worker) -> None:
        worker.kill()
        self.workers.remove(worker)

    def close(self) -> None:
        for worker in list(self.workers):
            self.drop(worker)


class _Run:
    """The state of one call: what is open, who works on what, what came back."""

    def __init__(self, pool: Pool, tasks: Sequence[Task]) -> None:
        self.pool = pool
        self.tasks = tasks
        self.open = deque(range(len(tasks)))
        self.done: dict[int, Outcome] = {}
        self.selector = selectors.DefaultSelector()
        self.failed_starts = 0

    def outcomes(self) -> list[Outcome]:
        try:
            for worker in list(self.pool.workers):
                self._reuse(worker)
            while len(self.pool.workers) < min(self.pool.size, len(self.tasks)):
                self._start()
            while len(self.done) < len(self.tasks):
                self._wait()
        except BaseException:
            self.pool.close()  # whatever was under way must not be taken for the next call's answer
            raise
        finally:
            self.selector.close()
        return [self.done[i] for i in range(len(self.tasks))]

    def _reuse(self, worker: _Worker) -> None:
        if worker.process.poll() is not None:
            self.pool.drop(worker)
            return
        self._watch(worker)
        if worker.ready:
            self._next(worker)

    def _start(self) -> None:
        self._watch(self.pool.start())

    def _watch(self, worker: _Worker) -> None:
        self.selector.register(worker.process.stdout, selectors.EVENT_READ, worker)  # type: ignore[arg-type]

    def _next(self, worker: _Worker) -> None:
        worker.task = None
        if self.open:
            index = self.open.popleft()
            worker.give(index, self.tasks[index])

    def _wait(self) -> None:
        busy = [w for w in self.pool.workers if w.task is not None or not w.ready]
        pause = max(0.0, min(w.deadline for w in busy) - time.monotonic())
        for key, _ in self.selector.select(pause):
            self._hear(key.data)
        now = time.monotonic()
        for worker in [w for w in self.pool.workers if (w.task is not None or not w.ready) and now > w.deadline]:
            self._replace(worker, "timeout", f"no decision in {worker.timeout_s:g} s")

    def _hear(self, worker: _Worker) -> None:
        messages = worker.messages()
        if messages is None:
            self._replace(worker, "error", "the worker process ended: out of memory, or crashed")
            return
        for message in messages:
            if "ready" in message:
                worker.ready = True
                self._next(worker)
            elif "loading" in message:
                worker.deadline = time.monotonic() + START_LIMIT
            elif "loaded" in message:
                worker.started = time.monotonic()
                worker.deadline = worker.started + worker.timeout_s
            elif worker.task is not None:
                self.done[worker.task] = _outcome(message, time.monotonic() - worker.started)
                self._next(worker)

    def _replace(self, worker: _Worker, kind: Literal["timeout", "error"], reason: str) -> None:
        self.selector.unregister(worker.process.stdout)  # type: ignore[arg-type]
        self.pool.drop(worker)
        if worker.task is not None:
            self.done[worker.task] = Outcome(kind, None, reason, time.monotonic() - worker.started)
        else:
            self.failed_starts += 1
            if self.failed_starts > 3:
                raise RuntimeError("verifier workers do not start; try `python -m sgopd.verifier.worker 4 1024`")
        if self.open:
            self._start()


def _outcome(message: dict[str, Any], seconds: float) -> Outcome:
    if "failed" in message:
        return Outcome("error", None, message["failed"], seconds)
    return Outcome("decided", message["equal"], message["reason"], seconds)


_pools: dict[tuple[int, int, float, int], Pool] = {}


def pool_for(workers: int, timeout_s: float, memory_mb: int) -> Pool:
    """The pool with these limits in this process; made on first use, closed at exit."""
    key = (os.getpid(), workers, timeout_s, memory_mb)  # the pid: a forked child must not share its parent's pipes
    if key not in _pools:
        _pools[key] = Pool(workers, timeout_s, memory_mb)
    return _pools[key]


@atexit.register
def close_pools() -> None:
    """End every worker of this process."""
    for (pid, *_), pool in _pools.items():
        if pid == os.getpid():
            pool.close()
