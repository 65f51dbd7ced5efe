"""results/report.html: one page without outside files - tables, figures, gate diagnostics, coloured rollouts, provenance.

In: ``ReportInputs`` (frames and texts). Out: HTML; everything a model or data set wrote is escaped. Knows no study files.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from sgopd.reporting import tables
from sgopd.store import atomic_write_text

GATES = {1: "consensus", 0: "conflict", -1: "neutral"}
ROLLOUTS_PER_METHOD = 8


@dataclass(frozen=True)
class ReportInputs:
    """Everything the page shows; each number on it stands in one of these frames."""

    study: str
    baseline: str
    metrics: list[str]
    numbers: pd.DataFrame  # tables/main.csv
    benchmarks: pd.DataFrame  # method, benchmark, value, low, high, ...
    problems: pd.DataFrame  # one row per method, seed, problem (metrics.per_problem)
    cost: pd.DataFrame  # method, seed, part, seconds
    settings: pd.DataFrame  # key, one column per method
    rollouts: pd.DataFrame  # records.GATE_TOKENS with method, seed
    figures: dict[str, str]  # name -> SVG
    provenance: dict[str, str]


def write_report(inputs: ReportInputs, path: Path) -> None:
    """Render the page to ``path``."""
    environment = Environment(loader=PackageLoader("sgopd", "reporting"), autoescape=select_autoescape())
    page = environment.get_template("report.html").render(
        study=inputs.study,
        verdicts=[
            sentence
            for method in inputs.numbers["method"]
            for metric in inputs.metrics
            if (sentence := tables.verdict(inputs.numbers, metric, method, inputs.baseline))
            and method.startswith("sgopd")
        ],
        seeds=int(inputs.numbers["seeds"].max()),
        problems=int(inputs.numbers["problems"].max()),
        samples=int(inputs.numbers["samples"].max()),
        main=_rows(tables.main_table(inputs.numbers, inputs.metrics, inputs.baseline)),
        benchmarks=_rows(tables.benchmark_table(inputs.benchmarks, inputs.metrics[0])),
        cost=_rows(tables.cost_table(inputs.cost)),
        settings=_rows(inputs.settings),
        figures={name: _inline(svg, name) for name, svg in inputs.figures.items()},
        gate=_gate_diagnostics(inputs.rollouts),
        rollouts=_rollouts(inputs.rollouts),
        heat=_heat(inputs.problems),
        provenance=inputs.provenance,
    )
    atomic_write_text(path, page)


def _rows(table: pd.DataFrame) -> dict[str, Any]:
    return {"columns": list(table.columns), "rows": table.astype(object).to_numpy().tolist()}


def _inline(svg: str, name: str) -> Markup:
    """Our own SVG without its XML head; ids made unique, since all figures share one page."""
    body = svg[svg.index("<svg") :]
    for reference in ('id="', "url(#", 'href="#'):
        body = body.replace(reference, f"{reference}{name}-")
    return Markup(body)  # noqa: S704 - drawn by figures.py from numbers and checked names


def _gate_diagnostics(rollouts: pd.DataFrame) -> list[dict[str, Any]]:
    """Conflict share of gated tokens by position in the response, by response length, and by verdict, per method."""
    if rollouts.empty:
        return []
    found = []
    for method, rows in rollouts.groupby("method", sort=False):
        tokens = pd.DataFrame(
            {
                "gate": np.concatenate(rows["gate"].to_list()),
                "position": np.concatenate([np.arange(len(gate)) / len(gate) for gate in rows["gate"]]),
                "length": np.concatenate([np.full(len(gate), len(gate)) for gate in rows["gate"]]),
                "right": np.concatenate(
                    [np.full(len(gate), reward) for gate, reward in zip(rows["gate"], rows["reward"], strict=True)]
                ),
            }
        )
        gated = tokens[tokens["gate"] >= 0].assign(conflict=lambda t: t["gate"] == 0)
        if gated.empty:
            continue
        by = {
            "position": pd.cut(
                gated["position"], [0, 0.25, 0.5, 0.75, 1], labels=["1st quarter", "2nd", "3rd", "4th"], right=False
            ),
            "length": pd.cut(gated["length"], [0, 30, 45, 10**9], labels=["up to 30 tokens", "31-45", "over 45"]),
            "verdict": gated["right"].map({1.0: "right", 0.0: "wrong"}),
        }
        shares = {
            f"{kind}: {label}": f"{share:.2f}"
            for kind, labels in by.items()
            for label, share in gated.groupby(labels, observed=True)["conflict"].mean().items()
        }
        found.append({"method": method, "tokens": len(gated), "shares": shares})
    return found


def _rollouts(rollouts: pd.DataFrame) -> list[dict[str, Any]]:
    """Some rollouts per method, first seed, with the tokens' colours and numbers."""
    shown = []
    for method, rows in rollouts.groupby("method", sort=False):
        rows = rows[rows["seed"] == rows["seed"].min()]
        mixed = rows[rows["group_advantage"].abs() > 0]
        for _, row in (mixed if len(mixed) else rows).head(ROLLOUTS_PER_METHOD).iterrows():
            numbers = zip(row["tokens"], row["gate"], row["delta"], row["log_ratio_ref"], row["advantage"], strict=True)
            shown.append(
                {
                    "method": method,
                    "step": int(row["step"]),
                    "prompt": row["prompt_id"],
                    "verdict": row["verdict"],
                    "group_advantage": f"{row['group_advantage']:+.2f}",
                    "tokens": [
                        {
                            "text": token,
                            "gate": GATES[int(gate)],
                            "title": f"{GATES[int(gate)]}: delta {d:+.2f}, r {r:+.2f}, A {a:+.2f}",
                        }
                        for token, gate, d, r, a in numbers
                    ],
                }
            )
    return shown


def _heat(problems: pd.DataFrame) -> dict[str, Any]:
    """avg@k of every method on every problem, hardest problem (for the mean of all) first."""
    wide = problems.pivot_table(index="method", columns="prompt_id", values="avg", aggfunc="mean", sort=False)
    wide = wide[wide.mean().sort_values(kind="stable").index]
    return {
        "methods": list(wide.index),
        "problems": list(wide.columns),
        "cells": (wide.to_numpy() * 100).round().astype(int).tolist(),
    }
