"""Write docs/results.md from the tables of the finished studies: nothing in it is typed by hand.

    python workflow/scripts/results_page.py configs/studies/methods.yaml configs/studies/flaw.yaml ...

Copies the figures that it shows to docs/images/results/.
"""

import shutil
import sys
from pathlib import Path

import pandas as pd

from sgopd.artefacts import Artefacts
from sgopd.config import Study
from sgopd.reporting.stage import metric_names
from sgopd.reporting.tables import verdict
from sgopd.study_files import load_studies

PAGE, IMAGES = Path("docs/results.md"), Path("docs/images/results")
HEAD = """# Results of the tiny study

Made by `make study` from `results/studies/*/tables`; what it means stands in [experiments.md](experiments.md), how intervals
are made in [statistics.md](statistics.md). Accuracies in points with 95 % intervals over problems and seeds; Δ: paired
difference to the baseline; p: sign-flip test over problems, Holm-corrected. Settings were chosen on validation problems only;
these are test problems.
"""


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    parts = [section(Path(name)) for name in sys.argv[1:]]
    PAGE.write_text("\n".join([HEAD, *parts]))


def section(path: Path) -> str:
    """Title and question of a study, its verdicts, tables and figures."""
    points = load_studies(path)
    question = path.read_text().splitlines()[0].lstrip("# ")
    text = [f"## {points[0].name}", "", f"{question} (`{path}`, seeds {', '.join(map(str, points[0].seeds))})", ""]
    results = Artefacts(points[0]).results
    if points[0].point:
        top = results.parent
        text += [(top / "tables/grid.md").read_text(), _figure(points[0], top / "figures/grid.png"), ""]
    for study in points:
        text += [f"**{study.point}**\n"] if study.point else []
        text += [_verdicts(study), ""]
    if not points[0].point:
        text += [
            (results / "tables/main.md").read_text(),
            "Accuracy per benchmark:\n",
            (results / "tables/benchmarks.md").read_text(),
        ]
        text += [_figure(points[0], results / "figures" / f"{name}.png") for name in _shown(results)]
        text += ["\nMedian seconds per run:\n", (results / "tables/cost.md").read_text()]
    return "\n".join(text)


def _shown(results: Path) -> list[str]:
    wanted = ("accuracy", "accuracy_flawed", "agreement", "entropy", "length")
    return [name for name in wanted if (results / "figures" / f"{name}.png").is_file()]


def _verdicts(study: Study) -> str:
    """What the numbers say about every gated method against the baseline."""
    numbers = pd.read_csv(Artefacts(study).comparison.folder / "main.csv")
    sentences = [
        verdict(numbers, metric, method, study.baseline)
        for method in study.methods
        if method.startswith("sgopd") or len(study.methods) <= 4
        for metric in metric_names(study)
    ]
    return "\n".join(f"- {sentence}" for sentence in sentences if sentence)


def _figure(study: Study, path: Path) -> str:
    target = IMAGES / f"{study.name}-{path.name}"
    shutil.copyfile(path, target)
    return f"![{path.stem}](images/results/{target.name})"


if __name__ == "__main__":
    main()
