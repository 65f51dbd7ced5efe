"""One call from gold answers and responses to verdicts: their names, their order, the options, the cache."""

import time
from pathlib import Path

import pytest

from sgopd.errors import UserError
from sgopd.verifier import VerifierOptions, pool, verify
from tests.verifier.pairs import DIFFERENT, SAME

MIXED = [pair for table in (SAME, DIFFERENT) for pairs in table.values() for pair in pairs[::9]]


def test_every_kind_of_verdict_says_why() -> None:
    golds = ["5", "5", "5", "5", "", "$ $"]
    responses = [r"\boxed{5}", r"\boxed{6}", "The answer is 5.", r"\boxed{5} and", r"\boxed{5}", r"\boxed{5}"]
    found = verify(golds, responses, [False, False, False, True, False, False])
    assert [v.verdict for v in found] == ["correct", "incorrect", "no_answer", "truncated", "error", "error"]
    assert [v.answer for v in found] == ["5", "6", "", "5", "5", "5"]
    assert all(v.reason for v in found)


def test_no_cases_give_no_verdicts() -> None:
    assert verify([], []) == []


def test_columns_of_different_length_are_an_error() -> None:
    with pytest.raises(ValueError, match="2 golds, 1 responses"):
        verify(["1", "2"], [r"\boxed{1}"])


def test_a_gold_may_be_a_whole_solution() -> None:
    solutions = [r"We add and get \boxed{12}.", r"Because of this the sum of all the digits is $12$."]
    assert [v.verdict for v in verify(solutions, [r"\boxed{12}"] * 2)] == ["correct", "correct"]


@pytest.mark.parametrize("workers", [2, 3])
def test_verdicts_and_their_order_do_not_depend_on_the_number_of_workers(workers: int) -> None:
    golds = [gold for gold, _ in MIXED]
    responses = [rf"\boxed{{{answer}}}" for _, answer in MIXED]
    one = verify(golds, responses)
    several = verify(golds, responses, options=VerifierOptions(workers=workers))
    assert [(v.verdict, v.answer, v.reason) for v in one] == [(v.verdict, v.answer, v.reason) for v in several]


def test_a_case_gets_the_same_verdict_alone_as_among_others() -> None:
    golds, responses = [g for g, _ in MIXED], [rf"\boxed{{{a}}}" for _, a in MIXED]
    together = verify(golds, responses)
    alone = [verify([g], [r])[0] for g, r in zip(golds[::5], responses[::5], strict=True)]
    assert [v.verdict for v in together[::5]] == [v.verdict for v in alone]


def test_simple_answers_need_no_worker_process() -> None:
    pool.close_pools()
    verify(
        ["5", "0.5", r"\frac{1}{2}", "1,000", r"\sqrt{2}"],
        [r"\boxed{5}", r"\boxed{1/2}", r"\boxed{.5}", r"\boxed{1000}", r"\boxed{\sqrt{2}.}"],
    )
    assert pool.pool_for(1, 4.0, 1024).workers == []


def test_the_number_of_decimal_places_that_must_agree_is_an_option() -> None:
    golds, responses = (
        ["0.3333", "0.29", r"\frac{1}{3}", r"\frac{1}{3}", "2"],
        [r"\boxed{0.334}", r"\boxed{0.2902}", r"\boxed{0.33}", r"\boxed{0.34}", r"\boxed{2.004}"],
    )

    def judged(places: int | None) -> list[bool]:
        options = VerifierOptions(decimal_places=places)
        return [v.verdict == "correct" for v in verify(golds, responses, options=options)]

    assert judged(None) == [False] * 5
    assert judged(2) == [True, True, True, False, True]


@pytest.mark.parametrize(
    "change",
    [{"workers": 0}, {"timeout_s": 0}, {"memory_mb": 10}, {"extract": "anything"}],
    ids=lambda c: next(iter(c)),
)
def test_options_without_sense_are_an_error(change: dict[str, int | str]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(change))}"):
        VerifierOptions(**change)  # type: ignore[arg-type]


class TestCache:
    def test_what_was_decided_once_needs_no_worker_again(self, tmp_path: Path) -> None:
        golds, responses = [g for g, _ in MIXED], [rf"\boxed{{{a}}}" for _, a in MIXED]
        options = VerifierOptions(cache_path=tmp_path / "made" / "verdicts.sqlite")
        first = verify(golds, responses, options=options)
        pool.close_pools()
        started = time.perf_counter()
        second = verify(golds, responses, options=options)
        assert time.perf_counter() - started < 1
        assert pool.pool_for(1, 4.0, 1024).workers == []
        assert [v.verdict for v in first] == [v.verdict for v in second]
        assert [v.reason for v in first] == [v.reason for v in second]

    def test_another_policy_is_another_entry(self, tmp_path: Path) -> None:
        path = tmp_path / "verdicts.sqlite"
        pair = [r"\frac{\sqrt{2}}{2}"], [r"\boxed{0.7071}"]
        exact = verify(*pair, options=VerifierOptions(cache_path=path))[0]
        rounded = verify(*pair, options=VerifierOptions(cache_path=path, decimal_places=3))[0]
        assert (exact.verdict, rounded.verdict) == ("incorrect", "correct")

    def test_a_timeout_is_tried_again(self, tmp_path: Path) -> None:
        path = tmp_path / "verdicts.sqlite"
        hard = ["55"], [r"\boxed{\sum_{k=1}^{10} k}"]
        assert verify(*hard, options=VerifierOptions(timeout_s=0.02, cache_path=path))[0].verdict == "timeout"
        assert verify(*hard, options=VerifierOptions(timeout_s=60, cache_path=path))[0].verdict == "correct"

    def test_a_file_that_is_no_cache_is_an_error_that_names_it(self, tmp_path: Path) -> None:
        path = tmp_path / "verdicts.sqlite"
        path.write_bytes(b"not a database, but long enough to be read as one" * 40)
        with pytest.raises(UserError, match=r"verdicts\.sqlite cannot be opened"):
            verify([r"x^2"], [r"\boxed{x\cdot x}"], options=VerifierOptions(cache_path=path))
