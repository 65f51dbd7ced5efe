"""The synthetic task: right answers, disjoint splits, errors where they are asked for."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgopd.prompts.synthetic import HIGHEST, LOWEST, SPLITS, Chain, Writer, draw, problems


@given(st.integers(0, 2**32), st.integers(1, 9))
def test_the_answer_is_what_the_expression_evaluates_to_and_no_value_leaves_the_range(
    seed: int, operations: int
) -> None:
    chain = draw(np.random.default_rng(seed), operations)
    values = np.cumsum([chain.start, *chain.operands])
    assert int(chain.answer) == values[-1] and values.min() >= LOWEST and values.max() <= HIGHEST
    numbers = [int(number) for number in re.findall(r"[+-]?\d+", chain.problem)]
    assert sum(numbers) == int(chain.answer) and len(numbers) == operations + 1


def test_splits_are_disjoint_and_hold_what_was_asked_for() -> None:
    found = {split: {chain.expression for chain in problems(0, split, 200, (2, 3))} for split in SPLITS}
    assert [len(found[split]) for split in SPLITS] == [200, 200, 200]
    assert (
        not found["train"] & found["validation"]
        and not found["train"] & found["test"]
        and not found["validation"] & found["test"]
    )


def test_a_longer_list_begins_with_the_shorter_one() -> None:
    assert problems(3, "train", 50, (4, 6))[:20] == problems(3, "train", 20, (4, 6))


def test_too_many_problems_are_refused() -> None:
    with pytest.raises(ValueError, match="different test problems"):
        problems(0, "test", 5000, (1, 1))


def test_a_perfect_writer_is_right_in_both_styles() -> None:
    chain = Chain(20, (-1, 9, -7))
    assert Writer().solution(chain, np.random.default_rng(0)) == "20-1=19\n19+9=28\n28-7=21\n\\boxed{21}"
    assert Writer(terse=1.0).solution(chain, np.random.default_rng(0)) == "19,28,21\n\\boxed{21}"


def test_the_flaw_touches_the_flawed_class_and_nothing_else() -> None:
    flawed, other = Chain(20, (-1, 9, -7)), Chain(20, (-1, 9, -6))
    assert (flawed.category, other.category) == ("flawed", "other")
    assert Writer(flaw=1.0).solution(flawed, np.random.default_rng(0)).endswith("28-7=22\n\\boxed{22}")
    assert Writer(flaw=1.0).solution(other, np.random.default_rng(0)).endswith("\\boxed{22}")


def test_the_flaw_comes_as_often_as_asked() -> None:
    random = np.random.default_rng(0)
    wrong = [Writer(flaw=0.5).solution(Chain(50, (-7,)), random).endswith("{44}") for _ in range(1000)]
    assert 0.44 < np.mean(wrong) < 0.56


def test_an_error_carries_on_through_the_chain() -> None:
    text = Writer(step_error=1.0).solution(Chain(50, (1, 1, 1)), np.random.default_rng(0))
    steps = re.findall(r"(\d+)\+1=(\d+)", text)
    assert len(steps) == 3 and all(a[1] == b[0] for a, b in itertools.pairwise(steps))
    assert all(int(result) != int(value) + 1 for value, result in steps)
