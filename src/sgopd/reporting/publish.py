"""A finished comparison in MLflow: each method's row of the main table on its parent run, the files on a run of their own.

In: the numbers of tables/main.csv and files. Out: records for tracking. Knows no statistics.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from sgopd import tracking
from sgopd.config import Study, differing_keys
from sgopd.reporting import tables
from sgopd.tracking.page import SETTINGS

CURVES = ("validation/accuracy", "reward", "length", "entropy")  # what a run logs while it trains


def publish(study: Study, numbers: pd.DataFrame, metrics: list[str], files: Iterable[Path]) -> None:
    """Log one row per method, so that the list of runs sorts and compares like the table; attach the files."""
    columns = _columns(metrics, study.baseline)
    for _, row in numbers.iterrows():
        method = str(row["method"])
        values = {name: float(row[column]) for name, column in columns if pd.notna(row[column])}
        role = "reference" if method in tables.REFERENCES else "baseline" if method == study.baseline else "method"
        with tracking.run(
            study.name, tracking.method_name(method, study.point), None, fingerprint="", phase="evaluation", params={},
            tags={"point": study.point, "role": role, SETTINGS: _settings(study, method)},
        ) as run:  # fmt: skip
            run.log(0, values)
    table = tables.markdown(tables.main_table(numbers, metrics, study.baseline))
    with tracking.run(
        study.name, tracking.method_name("comparison", study.point), None, fingerprint="", phase="evaluation", params={},
        tags={"point": study.point, "role": "comparison"},
    ) as run:  # fmt: skip
        shown = [name for name, _ in columns if not name.endswith(("/low", "/high"))]
        run.describe(table, shown, CURVES)
        for file in files:
            run.artefact(file)


def _settings(study: Study, method: str) -> str:
    """How a method differs from the baseline: ``key=value`` of the study's differing keys."""
    rows = {key: (row.get(method), row[study.baseline]) for key, row in differing_keys(study).items()}
    return ", ".join(f"{key}={own}" for key, (own, baseline) in rows.items() if own not in (None, baseline))


def _columns(metrics: list[str], baseline: str) -> list[tuple[str, str]]:
    """(name in MLflow, column of main.csv)"""
    named = []
    for metric in metrics:
        named += [(metric, metric), (f"{metric}/low", f"{metric}_low"), (f"{metric}/high", f"{metric}_high")]
        named += [(f"{metric}/minus {baseline}", f"{metric}_diff"), (f"{metric}/p", f"{metric}_p_holm")]
    return [*named, ("truncated", "truncated"), ("tokens per response", "n_tokens")]
