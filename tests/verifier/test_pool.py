"""Worker processes: hard limits on time and memory, killed and replaced, order kept. Real processes throughout."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sgopd.verifier.pool import Pool, Task

EASY = [Task(f"{n}x+{n}", f"{n}(x+1)", None) for n in range(2, 12)]
SLOW = Task(r"\frac{\pi^2}{6}", r"\sum_{n=1}^{\infty} \frac{1}{n^2}", None)  # seconds in the symbolic engine


@pytest.fixture
def small_pool() -> Iterator[Pool]:
    pool = Pool(2, timeout_s=20, memory_mb=1024)
    yield pool
    pool.close()


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text()


def test_outcomes_keep_the_order_of_the_tasks(small_pool: Pool) -> None:
    tasks = [task for n in range(2, 20) for task in (Task(f"{n}x", f"x+{n - 1}x", None), Task(f"{n}x", f"{n}+x", None))]
    assert [o.equal for o in small_pool.run(tasks)] == [True, False] * 18


def test_a_task_over_the_time_limit_is_killed_and_the_others_are_decided() -> None:
    pool = Pool(1, timeout_s=0.2, memory_mb=1024)
    outcomes = pool.run([*EASY[:3], SLOW, *EASY[3:]])
    pids = [w.process.pid for w in pool.workers]
    pool.close()
    assert [o.kind for o in outcomes] == ["decided"] * 3 + ["timeout"] + ["decided"] * 7
    assert outcomes[3].seconds < 2 and "0.2 s" in outcomes[3].reason
    assert not any(alive(pid) for pid in pids)


def test_a_process_that_hangs_without_using_time_is_killed_and_replaced() -> None:
    pool = Pool(1, timeout_s=0.5, memory_mb=1024)
    pool.run(EASY[:1])
    stuck = pool.workers[0].process.pid
    os.kill(stuck, signal.SIGSTOP)
    outcomes = pool.run(EASY[:3])
    assert [o.kind for o in outcomes] == ["timeout", "decided", "decided"]
    assert not alive(stuck) and pool.workers[0].process.pid != stuck
    pool.close()


def test_a_task_over_the_memory_limit_is_an_error_and_the_others_are_decided() -> None:
    pool = Pool(1, timeout_s=60, memory_mb=128)  # too little to load the symbolic engine
    outcomes = pool.run([EASY[0], SLOW, EASY[1]])
    pool.close()
    assert [o.kind for o in outcomes] == ["decided", "error", "decided"]


def test_processes_that_died_between_two_calls_are_replaced(small_pool: Pool) -> None:
    small_pool.run(EASY)
    for worker in small_pool.workers:
        os.kill(worker.process.pid, signal.SIGKILL)
        worker.process.wait()
    assert all(o.equal for o in small_pool.run(EASY))


def test_processes_that_are_killed_in_the_middle_lose_only_what_they_worked_on(small_pool: Pool) -> None:
    tasks = [Task(f"{n}x^2+x", f"x({n}x+1)", None) for n in range(2, 400)]
    small_pool.run(EASY)
    victim = small_pool.workers[0].process.pid
    timer = threading.Timer(0.05, os.kill, (victim, signal.SIGKILL))
    timer.start()
    outcomes = small_pool.run(tasks)
    timer.join()
    assert len(outcomes) == len(tasks)
    assert sum(o.kind != "decided" for o in outcomes) <= 1 and sum(o.equal is not True for o in outcomes) <= 1


def test_calls_from_several_threads_do_not_mix(small_pool: Pool) -> None:
    found: dict[int, list[bool | None]] = {}

    def ask(k: int) -> None:
        found[k] = [o.equal for o in small_pool.run([Task(f"{k}x", f"{n}x+0", None) for n in range(1, 6)])]

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {k: [n == k for n in range(1, 6)] for k in range(1, 6)}


@pytest.mark.parametrize("end", ["pass", "import os; os.kill(os.getpid(), 9)"], ids=["normal end", "killed"])
def test_no_worker_outlives_its_parent(end: str) -> None:
    program = f"""
        from sgopd.verifier import verify, pool
        verify(["x+1"], [r"\\boxed{{1+x+0}}"])
        print(pool.pool_for(1, 4.0, 1024).workers[0].process.pid, flush=True)
        {end}
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60)
    pid = int(done.stdout)
    deadline = time.monotonic() + 10
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pid)


def test_a_worker_that_cannot_start_is_an_error_and_not_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    pool = Pool(1, timeout_s=1, memory_mb=1024)
    with pytest.raises(RuntimeError, match="do not start"):
        pool.run(EASY)
    assert pool.workers == []
