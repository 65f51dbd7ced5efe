"""The verifier under atheris (coverage-guided fuzzing): ``python -m tests.verifier.fuzz_target [-max_total_time=60 ...]``.

Runs what the parent process runs on any response, and the comparison that worker processes run. Any exception is a finding.
Needs the extra `fuzz`.
"""

import sys

import atheris

with atheris.instrument_imports(include=["sgopd.verifier"]):
    from sgopd.verifier.cheap import decide, gold_answer
    from sgopd.verifier.compare import compare
    from sgopd.verifier.extract import extract
    from sgopd.verifier.readable import readable_gold


def one_input(data: bytes) -> None:
    """The first line is the gold answer, the rest the response, whose answer is also compared by itself."""
    gold, _, response = data.decode("utf-8", errors="surrogateescape").partition("\n")
    answers = {response, *(extract(response, how).answer or "" for how in ("boxed", "stated", "guess"))}
    for answer in answers:
        decide(gold_answer(gold), answer)
        compare(gold, answer)
    readable_gold(gold)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
