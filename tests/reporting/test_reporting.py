"""Tables, figures and the page, from made-up numbers."""

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sgopd.reporting import diagnostics, figures, tables
from sgopd.reporting.report import ReportInputs, write_report

METRICS = ["avg@4", "pass@4"]
BOUNDS = ((0, 2), (2, 4), (4, 6))


@pytest.fixture
def numbers() -> pd.DataFrame:
    rows = []
    for method, value, diff in (
        ("opd", 0.4, None),
        ("sgopd", 0.45, 0.05),
        ("worse", 0.3, -0.1),
        ("teacher", 0.8, None),
    ):
        row: dict[str, object] = {"method": method, "seeds": 1 if method == "teacher" else 2}
        for metric in METRICS:
            row |= {metric: value, f"{metric}_low": value - 0.02, f"{metric}_high": value + 0.02}
            row |= {f"{metric}_diff": diff, f"{metric}_p": 0.5, f"{metric}_p_holm": None if diff is None else 0.5}
            row |= {
                f"{metric}_diff_{end}": None if diff is None else diff + shift
                for end, shift in (("low", -0.06), ("high", 0.04))
            }
        row |= {"avg:flawed": 0.1, "avg:other": 0.5, "truncated": 0.01, "n_tokens": 40.0, "problems": 9, "samples": 4}
        rows.append(row | {"student_tokens": 200_000.0, "teacher_tokens": float("nan")})
    return pd.DataFrame(rows).astype({f"{m}_diff": float for m in METRICS})


def test_the_main_table_reads_as_printed(numbers: pd.DataFrame) -> None:
    golden = Path(__file__).parent / "golden_main.md"
    assert tables.markdown(tables.main_table(numbers, METRICS, "opd")) == golden.read_text()


def test_latex_escapes_what_latex_would_stumble_over(numbers: pd.DataFrame) -> None:
    text = tables.latex(tables.main_table(numbers, METRICS, "opd"))
    assert r"truncated \%" in text and r"$\Delta$" in text and "Δ" not in text
    assert text.count(r"\\") == 5


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.01, 0.09, "is better than opd"),
        (-0.09, -0.01, "is worse than opd"),
        (-0.01, 0.02, "do not tell sgopd and opd apart"),
    ],
)
def test_the_verdict_follows_the_interval(low: float, high: float, words: str) -> None:
    row = {"method": "sgopd", "avg@4_diff": (low + high) / 2, "avg@4_diff_low": low, "avg@4_diff_high": high}
    assert words in tables.verdict(pd.DataFrame([row]), "avg@4", "sgopd", "opd")


def test_points_have_a_true_minus_and_one_decimal() -> None:
    assert tables.points(-0.0512) == "−5.1"
    assert tables.interval(0.05, -0.01, 0.11, signed=True) == "+5.0 [−1.0, 11.0]"
    assert tables.interval(float("nan"), 0, 0) == ""


def test_the_settings_table_shows_missing_keys_as_empty() -> None:
    table = tables.settings_table({"hold": {"a": 0.1, "b": None}})
    assert table.to_dict("records") == [{"key": "hold", "a": "0.1", "b": ""}]


@pytest.fixture
def curves() -> pd.DataFrame:
    names = [metric for metric, _ in figures.CURVES.values()]
    return pd.DataFrame(
        [
            {"method": method, "seed": seed, "step": step, "phase": 1, "name": name, "value": 0.1 * step + 0.01 * seed}
            for method in ("opd", "sgopd")
            for seed in (0, 1)
            for step in range(6)
            for name in names
        ]
    )


def test_every_figure_is_written_as_png_and_svg_with_the_same_bytes_each_time(
    curves: pd.DataFrame, numbers: pd.DataFrame, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        for name, figure in figures.draw_all(curves, numbers, METRICS, "opd", BOUNDS).items():
            figures.save(figure, tmp_path / folder / name)
    first = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()}
    assert {
        "accuracy.png",
        "accuracy.svg",
        "agreement.png",
        "entropy.svg",
        "length.png",
        "difference_avg_at_4.svg",
    } <= first.keys()


def inputs(numbers: pd.DataFrame, token: str = "3") -> ReportInputs:
    rollouts = pd.DataFrame(
        [
            {
                "method": "sgopd", "seed": 0, "step": 0, "prompt_id": token, "rollout_index": 0, "verdict": "correct",
                "reward": 1.0, "group_advantage": 1.0, "token_ids": [1, 2, 3], "tokens": [token, "+", "4"],
                "delta": [0.5, -0.5, 0.0], "problem": token, "difficulty": 3.0,
                "log_ratio_ref": [0.1, 0.2, 0.3], "gate": [1, 0, -1], "advantage": [0.6, -0.5, 0.0],
            }
        ]
    )  # fmt: skip
    problems = pd.DataFrame(
        {
            "method": ["opd", "sgopd"] * 2,
            "seed": 0,
            "benchmark": "chain",
            "prompt_id": ["a", "a", "b", "b"],
            "avg": [0.0, 1.0, 0.5, 0.5],
            "problem": ["1+1", "1+1", token, token],
        }
    )
    benchmarks = pd.DataFrame({"method": ["opd", "sgopd"], "benchmark": "chain", "value": 0.4, "low": 0.3, "high": 0.5})
    cost = pd.DataFrame({"method": ["opd", "sgopd"], "seed": 0, "part": "update", "seconds": [3.0, 4.0]})
    settings = tables.settings_table({"hold": {"opd": 0.1, "sgopd": 0.2}})
    svg = '<svg id="x"><use href="#x"/></svg>'
    return ReportInputs(
        "tiny",
        "opd",
        METRICS,
        numbers,
        benchmarks,
        problems,
        cost,
        settings,
        rollouts,
        {"accuracy": svg},
        {"git commit": "abc"},
    )


class Page(HTMLParser):
    """Collects tags and attributes that could load or run something."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts, self.outside, self.handlers = 0, [], []  # type: ignore[var-annotated]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.outside += [
            value for name, value in attrs if name in ("src", "href") and not (value or "").startswith("#")
        ]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def test_the_page_stands_alone_and_holds_the_numbers(numbers: pd.DataFrame, tmp_path: Path) -> None:
    write_report(inputs(numbers), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert (page.scripts, page.outside, page.handlers) == (2, [], [])  # the page's own, and the problems' names as data
    assert "45.0 [43.0, 47.0]" in text and "sgopd minus opd" in text
    assert re.search(r'class="consensus" title="consensus: delta \+0\.50, r \+0\.10, A \+0\.60">3</span>', text)
    assert 'id="accuracy-x"' in text and 'href="#accuracy-x"' in text


@pytest.mark.parametrize(
    "attack", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</pre><svg onload=alert(1)>"]
)
def test_model_output_cannot_inject_anything(numbers: pd.DataFrame, tmp_path: Path, attack: str) -> None:
    write_report(inputs(numbers, attack), tmp_path / "report.html")
    page = Page()
    page.feed((tmp_path / "report.html").read_text())
    assert (page.scripts, page.outside, page.handlers) == (2, [], [])


def test_a_study_without_rollouts_still_has_a_page(numbers: pd.DataFrame, tmp_path: Path) -> None:
    empty = inputs(numbers)
    empty = ReportInputs(**{**empty.__dict__, "rollouts": empty.rollouts.iloc[:0]})
    write_report(empty, tmp_path / "report.html")
    assert "0 of" not in (tmp_path / "report.html").read_text()


def test_the_grid_table_has_one_row_per_point(numbers: pd.DataFrame) -> None:
    reference = numbers.iloc[-1:].assign(method="student")
    both = pd.concat([numbers, reference], ignore_index=True)
    table = tables.grid_table(pd.concat([both.assign(point=p) for p in ("flaw=0", "flaw=1")]), "avg@4", "opd")
    assert table["point"].tolist() == ["flaw=0", "flaw=1"]
    assert table["Δ sgopd"].tolist() == ["+5.0 [−1.0, 9.0]"] * 2
    assert np.all(table["teacher avg@4"] == "80.0")


def test_gained_and_lost_problems_are_named_with_the_scores_before_and_after(numbers: pd.DataFrame) -> None:
    [found] = diagnostics.gains(inputs(numbers).problems, "opd")
    assert (found["method"], found["n_gained"], found["n_lost"]) == ("sgopd", 1, 0)
    assert found["gained"] == [{"problem": "chain: 1+1", "change": "+100", "before": "0", "after": "100"}]


def test_the_gate_is_told_by_position_length_difficulty_and_verdict() -> None:
    rollouts = pd.DataFrame(
        {
            "method": "sgopd", "reward": [1.0, 0.0, 1.0], "difficulty": [1.0, 2.0, 3.0],
            "gate": [[1, 0, 0, 1], [0, 0, -1, 1, 1, 0, 1, 1], [1] * 12],
        }
    )  # fmt: skip
    table = diagnostics.gate_table(rollouts).set_index(["by", "group"])["sgopd"]
    assert table["all", "all gated tokens"] == pytest.approx(100 * 5 / 23)
    assert table["position", "1st quarter"] == pytest.approx(100 * 2 / 6)
    assert table["verdict", "wrong"] == pytest.approx(100 * 3 / 7)
    assert {kind for kind, _ in table.index} == {"all", "position", "length", "difficulty", "verdict"}


def test_the_page_of_twelve_methods_at_five_seeds_stays_below_five_megabytes(
    numbers: pd.DataFrame, curves: pd.DataFrame, tmp_path: Path
) -> None:
    methods, seeds = [f"method-{i}" for i in range(12)], range(5)
    many = pd.concat([numbers[numbers["method"] == "sgopd"].assign(method=m) for m in methods], ignore_index=True)
    once = curves.drop_duplicates(["name"])[["name", "value"]].assign(phase=1)
    steps = pd.DataFrame(
        [{"method": m, "seed": s, "step": step} for m in methods for s in seeds for step in range(100)]
    )
    drawn = figures.draw_all(steps.merge(once, how="cross"), many, METRICS, "method-0", BOUNDS)
    svgs = {}
    for name, figure in drawn.items():
        figures.save(figure, tmp_path / name)
        svgs[name] = (tmp_path / f"{name}.svg").read_text()
    small = inputs(numbers)
    rollout = small.rollouts.iloc[0].to_dict()
    long = {key: list(value) * 100 if isinstance(value, list) else value for key, value in rollout.items()}
    problems = pd.DataFrame(
        [{"method": m, "seed": s, "benchmark": "chain", "prompt_id": str(i), "avg": 0.5, "problem": "x" * 300}
         for m in methods for s in range(5) for i in range(250)]
    )  # fmt: skip
    full = dataclasses.replace(
        small, baseline="method-0", numbers=many, problems=problems, figures=svgs,
        cost=pd.DataFrame({"method": methods, "seed": 0, "part": "update", "seconds": 3.0}),
        rollouts=pd.DataFrame([long | {"method": m, "step": step} for m in methods for step in (0, 99) for _ in range(8)]),
    )  # fmt: skip
    write_report(full, tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 5_000_000
