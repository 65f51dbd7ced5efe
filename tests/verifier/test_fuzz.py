"""Random and malformed input: no input crashes the parent, hangs it, or is accepted for another answer."""

import os
import random
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sgopd.verifier import VerifierOptions, readable_gold, verify
from sgopd.verifier.compare import compare
from sgopd.verifier.extract import extract
from tests.verifier.pairs import DIFFERENT, SAME

FRAGMENTS = [
    r"\boxed{", r"\frac", r"\frac{1}{2}", r"\sqrt", r"\left(", r"\right)", r"\{", r"\}", "{", "}", "(", ")", "[", "]", "|", "^",
    "_", "&", r"\\",
    "$", "$$", r"\(", r"\)", r"\[", r"\]", ",", ";", ":", "=", "<", r"\le", r"\approx", r"\pm", "+", "-", "*", "/", "!", "%",
    r"\%", "0", "1",
    "12", "0.5", "1e9", "9" * 30, "x", "y", "n", "i", "e", r"\pi", r"\infty", r"\sin", r"\log", r"\text{", r"\text{and}",
    r"\mathbb{R}", r"\cup",
    r"\in", r"\sum_{k=1}^{9}", r"\int_0^1", r"\begin{pmatrix}", r"\end{pmatrix}", r"\pmod{5}", " ", "\n", "\x00", "\u00bd",
    "\u221a", "\ud800", "<think>",
    "</think>", "<|im_end|>", "The answer is ", "#### ", "or", "cm", "no solution", r"\overline", r"\lfloor", r"\rfloor",
    r"\binom", "'", '"',
]  # fmt: skip
soup = st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join)
anything = st.one_of(soup, st.text(max_size=60), st.builds("{}{}".format, soup, st.text(max_size=10)))
KINDS = {"correct", "incorrect", "no_answer"}
GENTLE = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
LONG = settings(GENTLE, max_examples=int(os.environ.get("SGOPD_FUZZ_EXAMPLES", "20000")))


def reading_never_fails(gold: str, answer: str) -> None:
    for how in ("boxed", "stated", "guess"):
        extract(answer, how)
    started = time.process_time()
    decision = compare(gold, answer)
    assert decision.equal in (True, False, None) and decision.reason
    readable_gold(gold)
    assert time.process_time() - started < 5


def judging_never_fails(gold: str, response: str) -> None:
    options = VerifierOptions(extract="guess", timeout_s=30)
    found = verify([gold, "5"], [response, rf"\boxed{{{response}}}"], options=options)
    assert [v.verdict in KINDS or (v.verdict == "error" and not gold.strip(" $")) for v in found] == [True, True], found


@GENTLE
@given(anything, anything)
def test_any_pair_is_compared_without_a_failure(gold: str, answer: str) -> None:
    reading_never_fails(gold, answer)


@settings(GENTLE, max_examples=30)
@given(anything, anything)
def test_any_response_gets_a_verdict(gold: str, response: str) -> None:
    judging_never_fails(gold, response)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@LONG
@given(anything, anything)
def test_any_pair_is_compared_without_a_failure_for_long(gold: str, answer: str) -> None:
    reading_never_fails(gold, answer)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@settings(LONG, max_examples=LONG.max_examples // 4)
@given(anything, anything)
def test_any_response_gets_a_verdict_for_long(gold: str, response: str) -> None:
    judging_never_fails(gold, response)


rationals = st.fractions(min_value=-1000, max_value=1000, max_denominator=60)


def spellings(value: Fraction) -> list[str]:
    top, bottom = value.numerator, value.denominator
    return [
        f"{top}/{bottom}", rf"\frac{{{top}}}{{{bottom}}}", rf"\dfrac{{{3 * top}}}{{{3 * bottom}}}",
        rf"\frac{{{-top}}}{{{-bottom}}}",
        rf"x = \frac{{{top}}}{{{bottom}}}", rf"\left(\frac{{{top}}}{{{bottom}}}\right)", rf"{top} \cdot \frac{{1}}{{{bottom}}}",
        rf"\frac{{{top}}}{{{bottom}}}\text{{ cm}}",
    ]  # fmt: skip


@settings(GENTLE, max_examples=15)
@given(rationals, rationals)
def test_two_rational_numbers_are_the_same_exactly_when_they_are_equal(left: Fraction, right: Fraction) -> None:
    for gold in spellings(left)[:4]:
        assert all(compare(gold, answer).equal for answer in spellings(left))
        assert all(bool(compare(gold, answer).equal) == (left == right) for answer in spellings(right))


@GENTLE
@given(st.lists(st.integers(-50, 50), min_size=2, max_size=6, unique=True), st.randoms())
def test_sets_do_not_care_about_order_and_tuples_do(items: list[int], rng: random.Random) -> None:
    mixed = rng.sample(items, len(items))

    def written(form: str, numbers: list[int]) -> str:
        return form.replace("%", ", ".join(map(str, numbers)))

    assert compare(written(r"\{%\}", items), written("%", mixed)).equal
    assert bool(compare(written("(%)", items), written("(%)", mixed)).equal) == (items == mixed)
    assert not compare(written(r"\{%\}", items), written(r"\{%\}", [*items[:-1], 77])).equal


terms = st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=4)


def polynomial(parts: list[tuple[int, int, int]]) -> str:
    return "+".join(f"({c})x^{{{i}}}y^{{{j}}}" for c, i, j in parts)


@GENTLE
@given(terms, terms)
def test_polynomials_are_the_same_exactly_when_their_coefficients_are(
    left: list[tuple[int, int, int]], right: list[tuple[int, int, int]]
) -> None:
    def coefficients(parts: list[tuple[int, int, int]]) -> dict[tuple[int, int], int]:
        sums = {(i, j): sum(c for c, *at in parts if at == [i, j]) for _, i, j in parts}
        return {at: c for at, c in sums.items() if c}

    assert compare(polynomial(left), polynomial(left[::-1])).equal
    assert bool(compare(polynomial(left), polynomial(right)).equal) == (coefficients(left) == coefficients(right))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_coverage_guided_fuzzer_finds_no_failure(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="needs atheris: pip install '.[fuzz]'")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    pairs = [pair for table in (SAME, DIFFERENT) for kind in table.values() for pair in kind]
    for i, (gold, answer) in enumerate(pairs):
        (corpus / str(i)).write_text(f"{gold}\n\\boxed{{{answer}}}", encoding="utf-8")
    seconds = os.environ.get("SGOPD_FUZZ_SECONDS", "120")
    command = [
        sys.executable,
        "-m",
        "tests.verifier.fuzz_target",
        f"-max_total_time={seconds}",
        "-timeout=10",
        "-rss_limit_mb=2048",
    ]
    done = subprocess.run(
        [*command, "-max_len=400", f"-artifact_prefix={tmp_path}/", corpus], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    assert "DONE" in done.stderr
