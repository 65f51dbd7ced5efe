"""A finished comparison in MLflow: each method's row of the main table on its parent run, the files on a run of their own.

In: the numbers of tables/main.csv and files. Out: records for tracking. Knows no statistics.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from sgopd import tracking
from sgopd.config import Study
from sgopd.reporting import tables


def publish(study: Study, numbers: pd.DataFrame, metrics: list[str], files: Iterable[Path]) -> None:
    """Log one row per method, so that the list of runs sorts and compares like the table; attach the files."""
    for _, row in numbers.iterrows():
        method = str(row["method"])
        values = {
            name: float(row[column]) for name, column in _columns(metrics, study.baseline) if pd.notna(row[column])
        }
        role = "reference" if method in tables.REFERENCES else "baseline" if method == study.baseline else "method"
        with tracking.run(
            study.name, tracking.method_name(method, study.point), None, fingerprint="", phase="evaluation", params={},
            tags={"point": study.point, "role": role},
        ) as run:  # fmt: skip
            run.log(0, values)
    table = tables.markdown(tables.main_table(numbers, metrics, study.baseline))
    with tracking.run(
        study.name, tracking.method_name("comparison", study.point), None, fingerprint="", phase="evaluation", params={},
        tags={"point": study.point, "role": "comparison"},
    ) as run:  # fmt: skip
        run.describe(table)
        for file in files:
            run.artefact(file)


def _columns(metrics: list[str], baseline: str) -> list[tuple[str, str]]:
    """(name in MLflow, column of main.csv)"""
    named = []
    for metric in metrics:
        named += [(metric, metric), (f"{metric}/low", f"{metric}_low"), (f"{metric}/high", f"{metric}_high")]
        named += [(f"{metric}/minus {baseline}", f"{metric}_diff"), (f"{metric}/p", f"{metric}_p_holm")]
    return [*named, ("truncated", "truncated"), ("tokens per response", "n_tokens")]
