"""From loaded rows to problems worth training on: what falls out where, and that it is said."""

from collections.abc import Sequence
from typing import Any

import pytest

from sgopd.prompts.decontaminate import find_overlaps, same_text_key, word_runs
from sgopd.prompts.filters import Funnel, clean_benchmark, clean_training

LONG = "A farmer has twelve red hens and nine white hens and sells four of them on the market; how many are left?"


def row(name: str, problem: str, answer: str = "5", difficulty: float = 5.0) -> dict[str, Any]:
    return {"prompt_id": name, "problem": problem, "answer": answer, "difficulty": difficulty, "category": ""}


def words(problems: Sequence[str]) -> list[int]:
    return [len(problem.split()) for problem in problems]


def cleaned(rows: list[dict[str, Any]], **options: Any) -> tuple[list[str], Funnel]:
    settings = {"min_difficulty": None, "max_tokens": None, "count_tokens": None, "benchmarks": {}} | options
    kept, funnel = clean_training(rows, **settings)
    return [r["prompt_id"] for r in kept], funnel


def dropped(funnel: Funnel) -> dict[str, int]:
    return {step.name: step.dropped for step in funnel.steps if step.dropped}


def test_rows_without_a_text_fall_out() -> None:
    kept, funnel = cleaned([row("a", " "), row("b", "What?", ""), row("c", "What is 5?")])
    assert kept == ["c"] and dropped(funnel) == {"empty problem or answer": 2}


def test_copies_that_differ_in_layout_only_fall_out_and_the_first_stays() -> None:
    kept, funnel = cleaned(
        [row("a", r"Find $\frac{1}{2}+x$."), row("b", r"find \( \dfrac{1}{2} + x \)"), row("c", "Find $x$.")]
    )
    assert kept == ["a", "c"] and dropped(funnel) == {"duplicate": 1}
    assert "same as a" in funnel.steps[2].examples[0]


def test_one_problem_with_two_answers_falls_out_whole() -> None:
    kept, funnel = cleaned([row("a", "Find x.", "5"), row("b", "Find x.", "6"), row("c", "Find y.")])
    assert kept == ["c"] and dropped(funnel) == {"same problem, another answer": 2}
    assert "5 / 6" in funnel.steps[1].examples[0]


def test_two_spellings_of_one_answer_are_not_two_answers() -> None:
    kept, funnel = cleaned([row("a", "Find x.", r"\frac{1}{2}"), row("b", "Find x.", "0.5")])
    assert kept == ["a"] and dropped(funnel) == {"duplicate": 1}


def test_easy_problems_and_those_of_unknown_difficulty_fall_out() -> None:
    rows = [row("a", "A?", difficulty=6), row("b", "B?", difficulty=5.5), row("c", "C?", difficulty=float("nan"))]
    assert cleaned(rows, min_difficulty=6)[0] == ["a"]
    assert cleaned(rows)[0] == ["a", "b", "c"]


def test_golds_that_the_verifier_cannot_read_are_dropped_and_counted() -> None:
    rows = [row("a", "A?", r"\frac{1}{"), row("b", "B?", "It holds for every n that is prime"), row("c", "C?", r"\pi")]
    kept, funnel = cleaned(rows)
    assert kept == ["c"] and dropped(funnel) == {"answer that the verifier cannot read": 2}
    assert r"\frac{1}{" in "".join(funnel.steps[-2].examples)


def test_long_problems_fall_out_by_their_length_in_tokens() -> None:
    rows = [row("a", "one two three"), row("b", "one two three four")]
    kept, funnel = cleaned(rows, max_tokens=3, count_tokens=words)
    assert kept == ["a"] and dropped(funnel) == {"longer than 3 tokens": 1}
    assert "4 tokens" in funnel.steps[-2].examples[0]


EXAMS = {"exam": [row("exam-1", LONG), row("exam-2", "What is $2+2$?")], "other": [row("other-1", "Find $x$.")]}


class TestDecontamination:
    def test_the_same_text_in_another_layout_is_found(self) -> None:
        kept, funnel = cleaned([row("a", r"what is \( 2 + 2 \)"), row("b", "What is $2+3$?")], benchmarks=EXAMS)
        (overlap,) = funnel.overlaps
        assert kept == ["b"]
        assert (overlap.prompt_id, overlap.benchmark, overlap.benchmark_id, overlap.kind) == (
            "a",
            "exam",
            "exam-2",
            "exact",
        )

    def test_thirteen_words_in_a_row_are_found_and_twelve_are_not(self) -> None:
        shared = LONG.split()
        copied = [
            row("a", "Once " + " ".join(shared[3:16]) + " in May."),
            row("b", " ".join(shared[3:15]) + " in May."),
        ]
        kept, funnel = cleaned(copied, benchmarks=EXAMS)
        (overlap,) = funnel.overlaps
        assert kept == ["b"] and (overlap.kind, overlap.benchmark_id) == ("13-gram", "exam-1")
        assert overlap.text == "twelve red hens and nine white hens and sells four of them on"

    def test_every_benchmark_is_searched_and_every_pair_is_reported(self) -> None:
        both = {"one": [row("one-1", LONG)], "two": [row("two-1", LONG)]}
        _, funnel = cleaned([row("a", LONG)], benchmarks=both)
        assert [(o.benchmark, o.benchmark_id) for o in funnel.overlaps] == [("one", "one-1"), ("two", "two-1")]
        table = funnel.to_markdown()
        assert "| a | one | one-1 | exact |" in table and "| a | two | two-1 | exact |" in table

    def test_a_phrase_of_many_benchmark_problems_is_no_copy_and_is_named(self) -> None:
        ending = " where m and n are relatively prime positive integers; find the value of m plus n"
        exam = [row(f"e-{n}", f"Draw {n} cards; {name}{ending}") for n, name in enumerate(("kings", "queens", "aces"))]
        kept, funnel = cleaned([row("a", f"Roll a die {ending}")], benchmarks={"exam": exam})
        assert kept == ["a"] and funnel.overlaps == []
        assert "phrases, not copies" in funnel.to_markdown() and "relatively prime" in funnel.to_markdown()

    def test_a_problem_that_stands_in_several_benchmarks_is_no_phrase(self) -> None:
        copies = {name: [row(f"{name}-1", LONG)] for name in ("one", "two", "three")}
        shared = " ".join(LONG.split()[2:17])
        assert len(find_overlaps([row("a", f"Once {shared} in May.")], copies)) == 3

    def test_short_texts_have_no_runs(self) -> None:
        assert list(word_runs("one two three")) == []
        assert len(list(word_runs(" ".join("abcdefghijklmn")))) == 2


def test_the_text_key_forgets_layout_but_not_signs() -> None:
    assert same_text_key(r"Find \( \tfrac{1}{2} \) .") == same_text_key(r"find $\frac{1}{2}$")
    assert same_text_key("2+2") != same_text_key("2-2")


def test_the_table_says_how_many_rows_fell_out_where_with_examples() -> None:
    _, funnel = cleaned([row("a", "What | is it?", ""), row("b", "B?", "5"), row("c", "C?", r"\frac{")])
    lines = funnel.to_markdown().splitlines()
    assert "| loaded | | 3 | |" in lines
    assert r"| empty problem or answer | 1 | 2 | What \| is it? (no answer) |" in lines
    assert r"| answer that the verifier cannot read | 1 | 1 | C? (\frac{) |" in lines
    assert "| shared with a benchmark | 0 | 1 |  |" in lines


@pytest.mark.parametrize("length", [91, 500])
def test_long_examples_are_cut(length: int) -> None:
    _, funnel = cleaned([row("a", "x" * length, "")])
    assert all(len(line) < 200 for line in funnel.to_markdown().splitlines())


def test_a_benchmark_keeps_its_problems_and_says_what_the_verifier_reads_as_text_only() -> None:
    rows = [row("a", "A?", "It holds for every n that is prime"), row("b", "A?", "5"), row("c", "", "5")]
    kept, funnel = clean_benchmark(rows, "exam")
    assert [r["prompt_id"] for r in kept] == ["a", "b"]
    assert "kept, though the verifier reads 1 answers only as text" in funnel.to_markdown()
