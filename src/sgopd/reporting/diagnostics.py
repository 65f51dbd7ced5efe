"""What the page says beyond averages: where the gate finds conflict, and which problems a method gains or loses.

In: frames of kept rollouts and of per-problem scores. Out: frames and plain values for the template. Knows no layout.
"""

import itertools
from typing import Any

import numpy as np
import pandas as pd

QUARTERS = ["1st quarter", "2nd quarter", "3rd quarter", "4th quarter"]
NOTABLE = 0.25  # change of a problem's score, averaged over samples and seeds, that counts as gained or lost
LISTED = 12  # problems per list
KEY = ["benchmark", "prompt_id"]


def gate_table(rollouts: pd.DataFrame) -> pd.DataFrame:
    """Share of gated tokens in conflict, per cent: one row per position, length, difficulty and verdict, one column per method.

    ``rollouts``: records.GATE_TOKENS with method and difficulty. Position is counted within the response; lengths and
    difficulties are cut at the thirds of the rollouts kept.
    """
    tokens = rollouts[["method", "gate"]].assign(
        position=[np.arange(len(gate)) / len(gate) for gate in rollouts["gate"]],
        length=_thirds(rollouts["gate"].map(len), "tokens"),
        difficulty=_thirds(rollouts["difficulty"], ""),
        verdict=rollouts["reward"].map({1.0: "right", 0.0: "wrong"}),
    )
    tokens = tokens.explode(["gate", "position"])
    gated = tokens[tokens["gate"].astype(int) >= 0].assign(conflict=lambda t: 100.0 * (t["gate"].astype(int) == 0))
    if gated.empty:
        return pd.DataFrame()
    gated["position"] = pd.cut(gated["position"].astype(float), [0, 0.25, 0.5, 0.75, 1], labels=QUARTERS, right=False)
    parts = [_shares(gated.assign(all="all gated tokens"), "all")]
    parts += [_shares(gated, kind) for kind in ("position", "length", "difficulty", "verdict")]
    table = pd.concat(parts, ignore_index=True)
    columns = [method for method in rollouts["method"].unique() if method in table]
    return table[["by", "group", *columns]]


def _shares(gated: pd.DataFrame, kind: str) -> pd.DataFrame:
    wide = gated.dropna(subset=[kind]).pivot_table(
        index=kind, columns="method", values="conflict", aggfunc="mean", observed=True, sort=True
    )
    return wide.rename_axis("group").reset_index().astype({"group": str}).assign(by=kind)


def _thirds(values: pd.Series, unit: str) -> pd.Series:
    """Each value's third as a label such as ``31-45 tokens``; missing values stay missing."""
    edges = np.unique(np.nanquantile(values, [0, 1 / 3, 2 / 3, 1])) if values.notna().any() else np.array([])
    if len(edges) < 2:
        return pd.Series([None] * len(values), index=values.index, dtype=object)
    labels = [f"{low:.3g}-{high:.3g} {unit}".strip() for low, high in itertools.pairwise(edges)]
    return pd.cut(values, edges, labels=labels, include_lowest=True)


def heat(problems: pd.DataFrame) -> dict[str, Any]:
    """Score (per cent) of every method on every problem, hardest problem (for the mean of all methods) first."""
    wide = problems.pivot_table(index="method", columns=KEY, values="avg", aggfunc="mean", sort=False)
    wide = wide[wide.mean().sort_values(kind="stable").index]
    names = problems.drop_duplicates(KEY).set_index(KEY)["problem"]
    return {
        "methods": list(wide.index),
        "problems": [f"{benchmark}: {names[benchmark, prompt]}" for benchmark, prompt in wide.columns],
        "cells": (wide.to_numpy() * 100).round().astype(int).tolist(),
    }


def gains(problems: pd.DataFrame, baseline: str) -> list[dict[str, Any]]:
    """Per method the problems whose score it raises or lowers by at least ``NOTABLE`` against the baseline, largest first."""
    wide = problems.pivot_table(index=KEY, columns="method", values="avg", aggfunc="mean", sort=False)
    names = problems.drop_duplicates(KEY).set_index(KEY)["problem"]
    found = []
    for method in [name for name in wide.columns if name != baseline]:
        change = (wide[method] - wide[baseline]).dropna().sort_values(kind="stable")
        lists = {"lost": change[change <= -NOTABLE], "gained": change[change >= NOTABLE][::-1]}
        found.append(
            {
                "method": method,
                **{f"n_{kind}": len(rows) for kind, rows in lists.items()},
                **{
                    kind: [
                        {"problem": f"{key[0]}: {names[key]}", "change": f"{100 * value:+.0f}".replace("-", "−"),
                         "before": f"{100 * wide[baseline][key]:.0f}", "after": f"{100 * wide[method][key]:.0f}"}
                        for key, value in rows.head(LISTED).items()
                    ]
                    for kind, rows in lists.items()
                },
            }
        )  # fmt: skip
    return found
