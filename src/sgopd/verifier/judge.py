"""The way of one response: its final answer, the cheap exact paths, the cache, the workers, the verdict.

In: gold answers and responses. Out: a ``Verdict`` each. Knows neither LaTeX nor processes itself.
"""

from collections.abc import Sequence

from sgopd.verifier.cache import Cache
from sgopd.verifier.cheap import decide, gold_answer
from sgopd.verifier.extract import extract
from sgopd.verifier.pool import Outcome, Task, pool_for
from sgopd.verifier.types import Verdict, VerifierOptions

DEFAULT = VerifierOptions()


def verify(
    golds: Sequence[str],
    responses: Sequence[str],
    truncated: Sequence[bool] | None = None,
    options: VerifierOptions = DEFAULT,
) -> list[Verdict]:
    """Judge every response against its gold answer; one verdict each, in order, whatever the number of workers.

    ``truncated[i]``: response i was cut at the length limit; its verdict is ``truncated`` whatever it says.
    Raises ValueError when the lengths differ. No content of a gold or response raises.
    """
    cut = [False] * len(golds) if truncated is None else list(truncated)
    if not len(golds) == len(responses) == len(cut):
        raise ValueError(f"{len(golds)} golds, {len(responses)} responses and {len(cut)} truncation flags")
    verdicts: dict[int, Verdict] = {}
    open_tasks: dict[int, Task] = {}
    for i, (gold, response) in enumerate(zip(golds, responses, strict=True)):
        first = _first_look(gold, response, cut[i], options)
        if isinstance(first, Task):
            open_tasks[i] = first
        else:
            verdicts[i] = first
    outcomes = _compare(sorted(set(open_tasks.values()), key=_order), options)
    for i, task in open_tasks.items():
        verdicts[i] = _verdict(task.answer, outcomes[task])
    return [verdicts[i] for i in range(len(golds))]


def _first_look(gold: str, response: str, truncated: bool, options: VerifierOptions) -> Verdict | Task:
    extraction = extract(response, options.extract)
    answer = extraction.answer
    if truncated:
        return Verdict("truncated", answer or "", "the response was cut at the length limit")
    if answer is None:
        return Verdict("no_answer", "", extraction.reason)
    wanted = gold_answer(gold)
    if not wanted.strip(" $"):
        return Verdict("error", answer, "the gold answer is empty")
    if extraction.percent and ("%" in wanted or "percent" in wanted):
        answer += r"\%"
    decision = decide(wanted, answer, options.decimal_places)
    if decision is None or decision.equal is None:
        return Task(wanted, answer, options.decimal_places)
    return Verdict("correct" if decision.equal else "incorrect", answer, decision.reason)


def _compare(tasks: Sequence[Task], options: VerifierOptions) -> dict[Task, Outcome]:
    """What the cache knows, and from the workers the rest."""
    if not tasks:
        return {}
    with Cache(options.cache_path) as cache:
        outcomes = cache.get(tasks)
        rest = [task for task in tasks if task not in outcomes]
        if rest:
            fresh = dict(
                zip(rest, pool_for(options.workers, options.timeout_s, options.memory_mb).run(rest), strict=True)
            )
            cache.put(fresh)
            outcomes |= fresh
    return outcomes


def _order(task: Task) -> tuple[str, str, int]:
    return task.gold, task.answer, -1 if task.decimal_places is None else task.decimal_places


def _verdict(answer: str, outcome: Outcome) -> Verdict:
    if outcome.kind != "decided":
        return Verdict(outcome.kind, answer, outcome.reason, outcome.seconds)
    return Verdict("correct" if outcome.equal else "incorrect", answer, outcome.reason, outcome.seconds)
