"""avg@k and pass@k against enumeration."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgopd.errors import UserError
from sgopd.evaluation.metrics import pass_at_k, per_problem


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_subsets_of_k_samples_with_a_right_one(case: tuple[int, int, int]) -> None:
    n, c, k = case
    subsets = list(combinations([1] * c + [0] * (n - c), k))
    assert pass_at_k(np.array([n]), np.array([c]), k)[0] == pytest.approx(np.mean([max(subset) for subset in subsets]))


def test_pass_at_1_is_the_share_of_right_samples() -> None:
    assert pass_at_k(np.array([8, 8, 8]), np.array([0, 3, 8]), 1) == pytest.approx([0, 3 / 8, 1])


def test_pass_at_k_stays_finite_for_thousands_of_samples() -> None:
    assert pass_at_k(np.array([5000]), np.array([1]), 2500)[0] == pytest.approx(0.5)


def test_more_k_than_samples_is_refused() -> None:
    with pytest.raises(UserError, match="pass@9"):
        pass_at_k(np.array([8]), np.array([1]), 9)


def test_samples_become_one_row_per_problem_and_seed() -> None:
    samples = pd.DataFrame(
        {
            "method": "opd", "seed": [0, 0, 1, 1], "benchmark": "b", "prompt_id": "p", "category": "other", "difficulty": 4.0,
            "sample_index": [0, 1, 0, 1], "reward": [1.0, 0.0, 0.0, 0.0], "truncated": [False, True, False, False],
            "n_tokens": [3, 5, 7, 9],
        }
    )  # fmt: skip
    table = per_problem(samples, (2,))
    assert table["avg"].tolist() == [0.5, 0.0]
    assert table["pass@2"].tolist() == [1.0, 0.0]
    assert table["truncated"].tolist() == [0.5, 0.0]
    assert table["n_tokens"].tolist() == [4.0, 8.0]
