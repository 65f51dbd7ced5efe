"""The comparison and report stages: from finished runs to tables, figures and one page.

In: evaluations and metrics of all runs of a study. Out: tables/, figures/, report.html below the study's results.
"""

import json
import logging
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from sgopd import tracking
from sgopd.artefacts import Artefacts
from sgopd.config import Study, differing_keys
from sgopd.evaluation.comparison import compare as compare_methods
from sgopd.evaluation.metrics import per_problem
from sgopd.reporting import collect, figures, tables
from sgopd.reporting.publish import publish
from sgopd.reporting.report import ReportInputs, write_report
from sgopd.store import atomic_path, atomic_write_text, clear, clear_temporaries, fingerprint, finish

logger = logging.getLogger(__name__)

CHECKSUMS = "checksums"  # folder with the manifest of report.html and the figures, which lie beside it


def compare(study: Study, out: Path | None = None) -> Path:
    """Write the tables of a finished study; returns their folder."""
    artefacts = Artefacts(study)
    comparison = artefacts.comparison
    folder = out or comparison.folder
    problems = per_problem(collect.samples(artefacts), study.evaluation.pass_k)
    numbers = _numbers(artefacts, problems)
    benchmarks, cost = _by_benchmark(study, problems), collect.cost(artefacts)
    main = tables.main_table(numbers, metric_names(study), study.baseline)
    texts = {
        "main.md": tables.markdown(main),
        "main.tex": tables.latex(main),
        "benchmarks.md": tables.markdown(tables.benchmark_table(benchmarks, metric_names(study)[0])),
        "settings.md": tables.markdown(tables.settings_table(differing_keys(study))),
        "cost.md": tables.markdown(tables.cost_table(cost)),
        "metrics.json": json.dumps(_for_dvc(numbers, metric_names(study)), indent=1) + "\n",
    }
    clear(folder)
    for name, text in texts.items():
        atomic_write_text(folder / name, text)
    frames = {
        "main": numbers, "benchmarks": benchmarks, "problems": problems, "curves": _validation_curves(artefacts), "cost": cost,
    }  # fmt: skip
    for name, frame in frames.items():
        _write_csv(folder / f"{name}.csv", frame)
    finish(folder, comparison.kind, comparison.fingerprint, comparison.inputs, stats={"methods": len(study.methods)})
    return folder


def metric_names(study: Study) -> list[str]:
    """avg@n and each pass@k, in the order of the tables."""
    return [f"avg@{study.evaluation.samples}", *(f"pass@{k}" for k in study.evaluation.pass_k)]


def _numbers(artefacts: Artefacts, problems: pd.DataFrame) -> pd.DataFrame:
    """One row per method with every number of the main table, methods first and references last."""
    study = artefacts.study
    settings = study.evaluation
    means = problems.groupby("method", sort=False)
    numbers = pd.DataFrame(index=[*study.methods, "teacher", "student"])
    for metric in metric_names(study):
        column = "avg" if metric.startswith("avg") else metric
        found = compare_methods(
            problems,
            column,
            study.baseline,
            resamples=settings.resamples,
            confidence=settings.confidence,
            seed=study.seed,
        ).set_index("method")
        numbers["seeds"] = found["seeds"]
        numbers[metric] = found["value"]
        for name in ("low", "high", "diff", "diff_low", "diff_high", "p", "p_holm"):
            numbers[f"{metric}_{name}"] = found[name]
    categories = sorted(problems["category"].unique())
    for category in categories if len(categories) > 1 else []:
        numbers[f"avg:{category}"] = problems[problems["category"] == category].groupby("method")["avg"].mean()
    numbers["truncated"], numbers["n_tokens"] = means["truncated"].mean(), means["n_tokens"].mean()
    numbers["problems"], numbers["samples"] = means["prompt_id"].nunique(), settings.samples
    budget = collect.metrics(artefacts).query("name in ('tokens/student', 'tokens/teacher')")
    per_run = budget.pivot_table(index="method", columns="name", values="value", aggfunc="sum") / len(study.seeds)
    for kind in ("student", "teacher"):
        numbers[f"{kind}_tokens"] = per_run.get(f"tokens/{kind}")
    return numbers.rename_axis("method").reset_index()


def _by_benchmark(study: Study, problems: pd.DataFrame) -> pd.DataFrame:
    settings, frames = study.evaluation, []
    for benchmark in study.prompts.benchmarks:
        rows = problems[problems["benchmark"] == benchmark]
        frame = compare_methods(
            rows, "avg", study.baseline, resamples=settings.resamples, confidence=settings.confidence, seed=study.seed
        )
        frames.append(frame.assign(benchmark=benchmark))
    return pd.concat(frames, ignore_index=True)


def _for_dvc(numbers: pd.DataFrame, metrics: list[str]) -> dict[str, Any]:
    """What `dvc metrics diff` compares between commits."""
    return {
        row["method"]: {metric: round(float(row[metric]), 6) for metric in metrics} for _, row in numbers.iterrows()
    }


def _validation_curves(artefacts: Artefacts) -> pd.DataFrame:
    """What `dvc plots diff` draws: step, and per method the validation accuracy averaged over seeds."""
    rows = collect.metrics(artefacts).query("name == 'validation/accuracy'")
    return rows.pivot_table(index="step", columns="method", values="value", sort=False).round(6).reset_index()


def _write_csv(path: Path, frame: pd.DataFrame) -> None:
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False)


def grid(points: list[Study]) -> Path:
    """One table and one figure over all points of a study's grid; returns the tables' folder."""
    top = Artefacts(points[0]).results.parent
    folder = top / "tables"
    metric, baseline = metric_names(points[0])[0], points[0].baseline
    frames = [
        pd.read_csv(Artefacts(study).comparison.checked() / "main.csv").assign(point=study.point) for study in points
    ]
    numbers = pd.concat(frames, ignore_index=True)
    clear(folder)
    clear(top / "figures")
    _write_csv(folder / "grid.csv", numbers)
    atomic_write_text(folder / "grid.md", tables.markdown(tables.grid_table(numbers, metric, baseline)))
    columns = {f"{metric}_{name}": name for name in ("diff", "diff_low", "diff_high")}
    differences = numbers.rename(columns=columns).dropna(subset=["diff"])
    figures.save(figures.phase_diagram(differences, metric, baseline), top / "figures" / "grid")
    inputs = {study.point: Artefacts(study).comparison.fingerprint for study in points}
    files = [*folder.iterdir(), *top.glob("figures/*")]
    finish(top / CHECKSUMS, "grid", fingerprint("grid", 1, inputs=inputs), inputs, {}, files)
    return folder


def report(study: Study, out: Path | None = None) -> Path:
    """Draw the figures and write report.html; returns its path."""
    artefacts = Artefacts(study)
    results = out or artefacts.results
    tables_folder = artefacts.comparison.checked()
    numbers = pd.read_csv(tables_folder / "main.csv")
    metrics = collect.metrics(artefacts)
    drawn = figures.draw_all(
        metrics, numbers, metric_names(study), study.baseline, artefacts.study.training.phase_bounds()
    )
    clear(results / "figures")
    for name, figure in drawn.items():
        figures.save(figure, results / "figures" / name)
    path = results / "report.html"
    clear_temporaries(path)
    write_report(
        ReportInputs(
            study=study.name + (f" @ {study.point}" if study.point else ""),
            baseline=study.baseline,
            metrics=metric_names(study),
            numbers=numbers,
            benchmarks=pd.read_csv(tables_folder / "benchmarks.csv"),
            problems=_named(artefacts, pd.read_csv(tables_folder / "problems.csv", dtype={"prompt_id": str})),
            cost=pd.read_csv(tables_folder / "cost.csv"),
            settings=tables.settings_table(differing_keys(study)),
            rollouts=collect.gate_tokens(artefacts).merge(collect.problem_texts(artefacts, "train"), how="left"),
            figures={name: (results / "figures" / f"{name}.svg").read_text() for name in drawn},
            provenance=_provenance(artefacts),
        ),
        path,
    )
    comparison = artefacts.comparison
    finish(
        results / CHECKSUMS, "report", comparison.fingerprint, {"tables": comparison.fingerprint}, {},
        [path, *results.glob("figures/*")],
    )  # fmt: skip
    pictures = sorted((results / "figures").glob("*.png"))
    publish(
        study, numbers, metric_names(study), [path, tables_folder / "main.md", tables_folder / "main.csv", *pictures]
    )
    return path


def _named(artefacts: Artefacts, problems: pd.DataFrame) -> pd.DataFrame:
    """The per-problem scores with each problem's text."""
    splits = artefacts.study.prompts.benchmarks
    texts = [collect.problem_texts(artefacts, name).assign(benchmark=name) for name in splits]
    return problems.merge(pd.concat(texts)[["benchmark", "prompt_id", "problem"]], how="left")


def _provenance(artefacts: Artefacts) -> dict[str, str]:
    packages = {
        name: version(name) for name in ("sgopd", "torch", "transformers", "math-verify", "snakemake", "mlflow", "dvc")
    }
    packages = {"python": platform.python_version()} | packages
    return {"git commit": tracking.git_commit()} | collect.fingerprints(artefacts) | packages
