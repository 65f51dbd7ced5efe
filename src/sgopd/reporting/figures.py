"""Figures of a study: curves per method with seed bands, differences to the baseline, phase diagrams.

In: frames of metrics and numbers. Out: matplotlib figures; ``save`` writes PNG and SVG with the same bytes every time.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from sgopd.store import atomic_path

# Okabe and Ito's palette, readable with every kind of colour vision
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933"]
MARKERS = "os^Dvp*X"
CURVES = {
    "accuracy": ("validation/accuracy", "validation avg@k"),
    "accuracy_flawed": ("validation/accuracy/flawed", "validation avg@k, flawed class"),
    "reward": ("reward", "share of right rollouts"),
    "agreement": ("gate/agreement", "gate agreement (consensus / gated tokens)"),
    "entropy": ("entropy", "entropy (nats per token)"),
    "length": ("length", "response length (tokens)"),
    "truncated": ("truncated", "truncated share"),
}

matplotlib.rcParams |= {
    "svg.hashsalt": "sgopd", "svg.fonttype": "path", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
    "figure.dpi": 120, "savefig.bbox": "tight",
}  # fmt: skip


def save(figure: Figure, path: Path) -> None:
    """Write ``path``.png and ``path``.svg; no dates inside."""
    with atomic_path(path.with_suffix(".png")) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    with atomic_path(path.with_suffix(".svg")) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)


def draw_all(
    metrics: pd.DataFrame, numbers: pd.DataFrame, names: list[str], baseline: str, bounds: Sequence[tuple[int, int]]
) -> dict[str, Figure]:
    """Every figure of a study by name. ``bounds``: first and last step of the three phases."""
    drawn = {}
    for name, (metric, label) in CURVES.items():
        rows = metrics[metrics["name"] == metric]
        if not rows.empty:
            drawn[name] = curves(rows, label, bounds)
    for metric in names:
        drawn[f"difference_{metric.replace('@', '_at_')}"] = forest(numbers, metric, baseline)
    return drawn


def style(methods: Sequence[str], method: str) -> dict[str, object]:
    index = list(methods).index(method)
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index // len(COLOURS) % len(MARKERS)]}


def curves(rows: pd.DataFrame, label: str, bounds: Sequence[tuple[int, int]]) -> Figure:
    """One metric over steps: line = mean over seeds, band = lowest to highest seed. ``rows``: method, seed, step, value."""
    figure, axes = plt.subplots(figsize=(5.2, 3.2))
    methods = list(dict.fromkeys(rows["method"]))
    for method in methods:
        by_step = rows[rows["method"] == method].groupby("step")["value"]
        mean = by_step.mean()
        axes.plot(mean.index, mean, label=method, lw=1.4, markersize=3, **style(methods, method))  # type: ignore[arg-type]
        axes.fill_between(
            mean.index, by_step.min(), by_step.max(), alpha=0.15, color=style(methods, method)["color"], lw=0
        )
    for _, end in bounds[:2]:
        axes.axvline(end, color="0.6", lw=0.8, ls=":")
    axes.set_xlabel("step (dotted: ends of phases I and II)")
    axes.set_title(label, fontsize=9, loc="left")
    axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(0, -0.18), ncols=4, columnspacing=1.2)
    return figure


def forest(numbers: pd.DataFrame, metric: str, baseline: str) -> Figure:
    """Paired difference of every method to the baseline with its interval, in points."""
    rows = numbers[numbers[f"{metric}_diff"].notna()].iloc[::-1]
    figure, axes = plt.subplots(figsize=(5.2, 0.6 + 0.32 * max(len(rows), 1)))
    for y, (_, row) in enumerate(rows.iterrows()):
        value, low, high = (100 * row[f"{metric}_diff{suffix}"] for suffix in ("", "_low", "_high"))
        colour = COLOURS[2] if low > 0 else COLOURS[1] if high < 0 else "0.45"
        axes.plot([low, high], [y, y], color=colour, lw=2)
        axes.plot(value, y, "o", color=colour, ms=5)
    axes.set_yticks(range(len(rows)), rows["method"])
    axes.axvline(0, color="0.4", lw=0.8)
    axes.set_xlabel(f"{metric} minus {baseline} (points, paired 95 % interval)")
    return figure


def phase_diagram(grid: pd.DataFrame, metric: str, baseline: str) -> Figure:
    """Difference to the baseline at every grid point; ``grid``: point, method, diff, diff_low, diff_high (shares)."""
    points, methods = list(dict.fromkeys(grid["point"])), list(dict.fromkeys(grid["method"]))
    figure, axes = plt.subplots(figsize=(1.5 + 1.0 * len(points), 3.4))
    for offset, method in enumerate(methods):
        rows = grid[grid["method"] == method].set_index("point").reindex(points)
        x = [i + 0.14 * (offset - (len(methods) - 1) / 2) for i in range(len(points))]
        low, high = rows["diff"] - rows["diff_low"], rows["diff_high"] - rows["diff"]
        colour = style(methods, method)
        axes.errorbar(
            x,
            100 * rows["diff"],
            [100 * low, 100 * high],
            label=method,
            fmt=str(colour["marker"]),
            color=colour["color"],
            ms=4,
        )
    axes.axhline(0, color="0.4", lw=0.8)
    axes.set_xticks(range(len(points)), [point.replace(",", "\n") for point in points])
    axes.set_ylabel(f"{metric} minus {baseline} (points)")
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
