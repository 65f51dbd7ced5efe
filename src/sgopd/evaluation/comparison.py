"""Intervals over problems and seeds, and paired differences to a baseline.

In: per-problem scores of methods x seeds on the same problems. Out: one row per method with estimate, interval, difference,
paired interval and p-value. Knows no files. See docs/statistics.md for what the intervals cover.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sgopd.errors import UserError
from sgopd.store import stream


@dataclass(frozen=True)
class Estimate:
    """A mean over problems and seeds with its interval; ``p`` is that of a paired test, NaN where there is none."""

    value: float
    low: float
    high: float
    p: float = float("nan")


class Resampling:
    """The bootstrap weights shared by all methods, so that differences are paired on problems and on seeds.

    Problems are drawn with replacement within their benchmark, seeds with replacement among the seeds: the interval speaks
    about other problems of the same kind and other training runs. weights: problems [R, P], seeds [R, S], rows sum to 1.
    """

    def __init__(self, benchmarks: list[str], seeds: int, resamples: int, confidence: float, seed: int) -> None:
        random = stream(seed, "bootstrap")
        names = np.array(benchmarks)
        self.problems = np.zeros((resamples, len(names)))
        for name in dict.fromkeys(benchmarks):
            place = np.flatnonzero(names == name)
            draws = random.multinomial(len(place), np.full(len(place), 1 / len(place)), size=resamples)
            self.problems[:, place] = draws / len(names)
        self.seeds = random.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
        self.signs = random.integers(0, 2, size=(resamples, len(names))) * 2 - 1
        self.tails = (100 * (1 - confidence) / 2, 100 * (1 + confidence) / 2)

    def estimate(self, scores: np.ndarray, paired: bool = False) -> Estimate:
        """Mean of ``scores`` [S, P] with a percentile interval; ``paired``: also the p-value of a sign-flip test.

        The scores are split into seed effects, problem effects and the rest. Seed effects are stretched by sqrt(S / (S - 1)),
        because a bootstrap over few seeds understates their variance by (S - 1) / S; with one seed the interval covers
        problems only. The sign-flip test asks whether the difference per problem, averaged over seeds, is symmetric
        around 0.
        """
        s = scores.shape[0]
        mean = float(scores.mean())
        problem = scores.mean(0) - mean
        seed = scores.mean(1) - mean
        rest = scores - mean - problem - seed[:, None]
        seeds = self.seeds if s > 1 else np.ones((len(self.problems), 1))
        stretch = np.sqrt(s / (s - 1)) if s > 1 else 0.0
        draws = mean + self.problems @ problem + stretch * (seeds @ seed) + ((seeds @ rest) * self.problems).sum(1)
        low, high = np.percentile(draws, self.tails)
        if not paired:
            return Estimate(mean, max(float(low), 0.0), min(float(high), 1.0))  # scores are shares
        flipped = np.abs(self.signs @ (scores.mean(0) / scores.shape[1]))
        p = (1 + int((flipped >= abs(mean) - 1e-12).sum())) / (1 + len(flipped))
        return Estimate(mean, float(low), float(high), p)


def score_matrix(problems: pd.DataFrame, method: str, metric: str) -> pd.DataFrame:
    """Scores of one method, rows seeds, columns (benchmark, prompt_id); no hole allowed."""
    rows = problems[problems["method"] == method]
    matrix = rows.pivot_table(
        index="seed", columns=["benchmark", "prompt_id"], values=metric, aggfunc="mean", sort=True
    )
    if matrix.empty or bool(matrix.isna().any().any()):
        raise UserError(
            f"method {method}: seeds were evaluated on different problems; run `sgopd evaluate` for all of them."
        )
    return matrix


def compare(
    problems: pd.DataFrame, metric: str, baseline: str, *, resamples: int, confidence: float, seed: int
) -> pd.DataFrame:
    """One row per method: value, low, high, and (but for references with fewer seeds) diff, diff_low, diff_high, p, p_holm.

    ``problems``: rows of ``metrics.per_problem``. Every method is compared with ``baseline`` at the same problems and seeds.
    """
    base = score_matrix(problems, baseline, metric)
    benchmarks = [str(benchmark) for benchmark, _ in base.columns]
    rows = []
    for method in problems["method"].unique():
        matrix = score_matrix(problems, method, metric).reindex(columns=base.columns)
        resampling = Resampling(benchmarks, len(matrix), resamples, confidence, seed)
        estimate = resampling.estimate(matrix.to_numpy())
        row = {
            "method": method,
            "seeds": len(matrix),
            "value": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
        }
        if method != baseline and list(matrix.index) == list(base.index):
            diff = resampling.estimate(matrix.to_numpy() - base.to_numpy(), paired=True)
            row |= {"diff": diff.value, "diff_low": diff.low, "diff_high": diff.high, "p": diff.p}
        rows.append(row)
    columns = ["method", "seeds", "value", "low", "high", "diff", "diff_low", "diff_high", "p"]
    table = pd.DataFrame(rows).reindex(columns=columns)
    table["p_holm"] = holm(table["p"].to_numpy())
    return table


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down correction of p-values; NaN stays NaN."""
    adjusted = np.full(p.shape, np.nan)
    order = [i for i in np.argsort(p) if not np.isnan(p[i])]
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, float(p[i]) * (len(order) - rank)))
        adjusted[i] = highest
    return adjusted
