"""A process that compares answers until its input ends: one JSON line in, one JSON line out.

It limits its own memory, and an alarm of the kernel ends it if its parent is no longer there to do so.
Nothing that it reads is ever evaluated as code.
"""

import json
import os
import resource
import signal
import sys
from typing import TextIO

from sgopd.verifier.cheap import Decision

GRACE = 2.0  # seconds after the limit until the process ends itself


def main() -> None:
    timeout_s, memory_mb = float(sys.argv[1]), int(sys.argv[2])
    # a cluster signals every process of a job: the parent decides, else its last answers would come back as errors
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    results = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a library that prints must not break the protocol
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from sgopd.verifier.compare import compare  # noqa: F401 - loaded before the clock runs

    _answer(results, {"ready": True})
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_REAL, timeout_s + GRACE)
        task = json.loads(line)
        message: dict[str, object]
        try:
            decision = _compare(task, results)
            message = {"equal": decision.equal, "reason": decision.reason}
        except MemoryError:
            os._exit(1)
        except Exception as error:
            message = {"failed": f"{type(error).__name__}: {error}"}
        signal.setitimer(signal.ITIMER_REAL, 0)
        _answer(results, message)


def _compare(task: dict[str, str], results: TextIO) -> Decision:
    """Own comparison first; math-verify only for what that cannot read and what it may be asked."""
    from sgopd.verifier import symbolic
    from sgopd.verifier.compare import compare

    places = int(task["places"]) if task["places"] else None
    decision = compare(task["gold"], task["answer"], places)
    if decision.equal is not None:
        return decision
    refusal = symbolic.why_not(task["gold"], task["answer"])
    if refusal:
        return Decision(False, f"{refusal} ({decision.reason})")
    if "math_verify" not in sys.modules:
        signal.setitimer(signal.ITIMER_REAL, 0)
        _answer(results, {"loading": True})  # not the answer's fault: the parent waits, and then starts its clock again
        symbolic.load()
        _answer(results, {"loaded": True})
        signal.setitimer(signal.ITIMER_REAL, float(sys.argv[1]) + GRACE)
    return symbolic.compare_symbolically(task["gold"], task["answer"], decision.reason)


def _answer(results: TextIO, message: dict[str, object]) -> None:
    results.write(json.dumps(message) + "\n")
    results.flush()


if __name__ == "__main__":
    main()
