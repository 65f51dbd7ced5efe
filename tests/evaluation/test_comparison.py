"""Intervals: exact in closed cases, honest in simulation."""

import numpy as np
import pandas as pd
import pytest

from sgopd.errors import UserError
from sgopd.evaluation.comparison import Resampling, compare, holm


def frame(scores: dict[str, np.ndarray]) -> pd.DataFrame:
    """Scores [S, P] per method as rows of per_problem."""
    return pd.DataFrame(
        [
            {"method": method, "seed": s, "benchmark": "b", "prompt_id": f"p{p:03d}", "avg": values[s, p]}
            for method, values in scores.items()
            for s in range(values.shape[0])
            for p in range(values.shape[1])
        ]
    )


def run(scores: dict[str, np.ndarray], resamples: int = 500) -> pd.DataFrame:
    return compare(frame(scores), "avg", "opd", resamples=resamples, confidence=0.95, seed=0).set_index("method")


def test_a_constant_shift_has_an_interval_of_no_width() -> None:
    base = np.random.default_rng(0).random((3, 20))
    table = run({"opd": base, "better": base + 0.25})
    assert table.loc["better", ["diff", "diff_low", "diff_high"]].tolist() == pytest.approx([0.25] * 3)


def test_the_estimate_is_the_mean_and_lies_in_its_interval() -> None:
    base = np.random.default_rng(1).random((2, 30))
    table = run({"opd": base})
    assert table.loc["opd", "value"] == pytest.approx(base.mean())
    assert table.loc["opd", "low"] < base.mean() < table.loc["opd", "high"]


def test_pairing_makes_the_interval_of_the_difference_narrower_than_that_of_a_method() -> None:
    random = np.random.default_rng(2)
    hard = random.random(60)[None]
    table = run({"opd": hard + 0.01 * random.random((3, 60)), "other": hard + 0.01 * random.random((3, 60))})
    assert table.loc["other", "diff_high"] - table.loc["other", "diff_low"] < 0.05
    assert table.loc["other", "high"] - table.loc["other", "low"] > 0.1


def test_seeds_that_differ_widen_the_interval() -> None:
    same, different = np.full((4, 50), 0.5), np.repeat([[0.3], [0.4], [0.6], [0.7]], 50, axis=1)
    resampling = Resampling(["b"] * 50, 4, 2000, 0.95, 0)
    assert resampling.estimate(same).high == pytest.approx(0.5)
    estimate = resampling.estimate(different)
    assert estimate.high - estimate.low > 0.25


def test_the_spread_over_seeds_is_the_unbiased_standard_error() -> None:
    seeds = np.array([0.1, 0.5, 0.6, 0.9])
    resampling = Resampling(["b"], 4, 40_000, 0.6827, 0)
    estimate = resampling.estimate(seeds[:, None])
    assert (estimate.high - estimate.low) / 2 == pytest.approx(seeds.std(ddof=1) / 2, rel=0.06)


def test_one_seed_and_one_problem_are_allowed() -> None:
    table = run({"opd": np.array([[0.5]]), "other": np.array([[0.7]])})
    assert table.loc["other", "diff"] == pytest.approx(0.2)
    assert table.loc["other", "p"] == pytest.approx(1.0)


def test_a_reference_with_fewer_seeds_gets_no_paired_difference() -> None:
    table = run({"opd": np.random.default_rng(3).random((2, 5)), "teacher": np.ones((1, 5))})
    assert np.isnan(table.loc["teacher", "diff"]) and np.isnan(table.loc["opd", "diff"])


def test_methods_with_a_missing_problem_are_refused() -> None:
    rows = frame({"opd": np.ones((2, 3)), "other": np.ones((2, 3))}).iloc[:-1]
    with pytest.raises(UserError, match="different problems"):
        compare(rows, "avg", "opd", resamples=100, confidence=0.95, seed=0)


def test_a_big_difference_is_significant_and_none_is_not() -> None:
    random = np.random.default_rng(4)
    base = random.random((2, 40))
    table = run(
        {"opd": base, "noise": base + random.normal(0, 0.1, (2, 40)), "shift": base + random.normal(0.3, 0.1, (2, 40))}
    )
    assert table.loc["shift", "p_holm"] < 0.01
    assert table.loc["noise", "p"] > 0.01


def test_holm_is_as_in_the_textbook() -> None:
    assert holm(np.array([0.01, 0.04, np.nan, 0.03])) == pytest.approx([0.03, 0.06, np.nan, 0.06], nan_ok=True)


def test_nine_in_ten_intervals_or_more_cover_the_truth_with_five_seeds() -> None:
    random = np.random.default_rng(5)
    resampling = Resampling(["b"] * 60, 5, 300, 0.95, 0)
    hits = 0
    for _ in range(300):
        scores = 0.5 + random.normal(0, 0.2, 60)[None] + random.normal(0, 0.05, (5, 1)) + random.normal(0, 0.2, (5, 60))
        estimate = resampling.estimate(scores)
        hits += estimate.low <= 0.5 <= estimate.high
    assert 0.88 <= hits / 300 <= 0.99
