"""results/report.html: one page without outside files - tables, figures, gate diagnostics, coloured rollouts, provenance.

In: ``ReportInputs`` (frames and texts). Out: HTML; everything a model or data set wrote is escaped. Knows no study files.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from sgopd.reporting import diagnostics, tables
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
    problems: pd.DataFrame  # one row per method, seed, problem (metrics.per_problem), with the problem's text
    cost: pd.DataFrame  # method, seed, part, seconds
    settings: pd.DataFrame  # key, one column per method
    rollouts: pd.DataFrame  # records.GATE_TOKENS with method, seed, problem, difficulty
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
        cost=_cost(inputs),
        total_hours=f"{inputs.cost['seconds'].sum() / 3600:.1f}",
        settings=_rows(inputs.settings),
        figures={name: _inline(svg, name) for name, svg in inputs.figures.items()},
        gate=_gate(inputs.rollouts),
        rollouts=_rollouts(inputs.rollouts),
        heat=diagnostics.heat(inputs.problems),
        gains=diagnostics.gains(inputs.problems, inputs.baseline),
        notable=round(100 * diagnostics.NOTABLE),
        baseline=inputs.baseline,
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


def _rollouts(rollouts: pd.DataFrame) -> list[dict[str, Any]]:
    """Some rollouts per method, first seed, from its first and its last step, with the tokens' colours and numbers."""
    shown = []
    for method, rows in rollouts.groupby("method", sort=False):
        rows = rows[rows["seed"] == rows["seed"].min()]
        mixed = rows[rows["group_advantage"].abs() > 0]
        kept = mixed if len(mixed) else rows
        ends = [
            kept[kept["step"] == step].head(ROLLOUTS_PER_METHOD // 2)
            for step in {kept["step"].min(), kept["step"].max()}
        ]
        for _, row in pd.concat(ends).sort_values("step", kind="stable").iterrows():
            numbers = zip(row["tokens"], row["gate"], row["delta"], row["log_ratio_ref"], row["advantage"], strict=True)
            shown.append(
                {
                    "method": method,
                    "step": int(row["step"]),
                    "prompt": row["problem"],
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


def _gate(rollouts: pd.DataFrame) -> dict[str, Any]:
    table = diagnostics.gate_table(rollouts) if len(rollouts) else pd.DataFrame()
    return _rows(table.map(lambda cell: f"{cell:.0f}" if isinstance(cell, float) and cell == cell else cell).fillna(""))


def _cost(inputs: ReportInputs) -> dict[str, Any]:
    """Median seconds per run by part, with the tokens that the run sampled from the student and read from the teacher."""
    cost = tables.cost_table(inputs.cost)
    budget = inputs.numbers.set_index("method")[["student_tokens", "teacher_tokens"]].map(tables.tokens)
    budget.columns = ["student tokens", "teacher tokens"]
    seconds = cost.set_index("method").map(lambda value: f"{value:.0f}").add_suffix(", s")
    return _rows(budget.join(seconds, how="right").reset_index())
