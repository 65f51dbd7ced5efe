"""avg@k and pass@k per problem, from one row per sample (records.EVALUATIONS). Knows no methods and no intervals."""

import numpy as np
import pandas as pd

from sgopd.errors import UserError


def pass_at_k(n: np.ndarray, c: np.ndarray, k: int) -> np.ndarray:
    """Unbiased estimate of pass@k, 1 - C(n-c, k) / C(n, k), per problem (Chen et al. 2021, arXiv 2107.03374).

    n, c: samples and correct samples per problem, int arrays of one shape. The product form never overflows.
    Raises UserError when k exceeds the samples of a problem.
    """
    n, c = np.asarray(n), np.asarray(c)
    if n.size and k > n.min():
        raise UserError(
            f"pass@{k} needs at least {k} samples per problem; there are {n.min()}. Raise evaluation.samples."
        )
    wrong = (n - c).astype(float)
    all_wrong = np.ones(n.shape)
    for i in range(k):
        all_wrong *= np.clip(wrong - i, 0, None) / (n - i)
    return 1.0 - all_wrong


def per_problem(samples: pd.DataFrame, pass_k: tuple[int, ...]) -> pd.DataFrame:
    """One row per (method, seed, benchmark, problem): n, avg (avg@n), pass@k for each k, truncated, n_tokens (means).

    ``samples``: columns method, seed and those of records.EVALUATIONS.
    """
    keys = ["method", "seed", "benchmark", "prompt_id", "category", "difficulty"]
    grouped = samples.groupby(keys, sort=False, observed=True, dropna=False)
    table = grouped.agg(
        n=("reward", "size"), c=("reward", "sum"), truncated=("truncated", "mean"), n_tokens=("n_tokens", "mean")
    ).reset_index()
    table["avg"] = table["c"] / table["n"]
    for k in pass_k:
        table[f"pass@{k}"] = pass_at_k(table["n"].to_numpy(), table["c"].round().astype(int).to_numpy(), k)
    return table
