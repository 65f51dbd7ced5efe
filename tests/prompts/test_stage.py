"""The prompts stage on real files: tables, the summary, disjoint splits, sources that stand in files of their own."""

import json
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from sgopd.config import Study
from sgopd.errors import UserError
from sgopd.prompts.stage import prepare
from sgopd.records import PROMPTS
from sgopd.study_files import load_studies, load_study
from tests.conftest import TINY
from tests.prompts.tokenizer import save_tokenizer

SHARED = Path(__file__).parents[3] / "shared" / "datasets"


def rows(prefix: str, count: int) -> list[dict[str, Any]]:
    return [
        {"problem": f"What is {n} plus {n}, asked as {prefix}?", "answer": str(2 * n), "level": n} for n in range(count)
    ]


def write(path: Path, content: list[dict[str, Any]]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in content))
    return str(path)


def study_of(prompts: dict[str, Any]) -> Study:
    """A study whose pair of models is a folder with a tokenizer in it."""
    folder = Path("pair")
    if not folder.is_dir():
        save_tokenizer(folder, ["What is the number of ways to add one and two, three?"] * 3, 300)
    pair = {"teacher": {"path": "pair"}, "student": {"path": "pair"}}
    return Study.model_validate(TINY | {"prompts": prompts, "models": pair})


@pytest.fixture
def prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Twelve training problems, of which one stands in validation, one in the exam, one is too easy and one has no answer."""
    monkeypatch.chdir(tmp_path)
    validation, exam = rows("validation", 4), rows("exam", 5)
    train = [*rows("train", 8), validation[1], exam[2] | {"level": 9}, {"problem": "Why?", "answer": "", "level": 9}]
    columns = {"difficulty": "level"}
    return {
        "train": {"kind": "file", "path": write(tmp_path / "train.jsonl", train), "columns": columns},
        "validation": {"kind": "file", "path": write(tmp_path / "validation.jsonl", validation)},
        "benchmarks": {"exam": {"kind": "file", "path": write(tmp_path / "exam.jsonl", exam)}},
        "min_difficulty": 1,
    }


def test_the_stage_writes_a_table_per_split_and_a_summary(prompts: dict[str, Any]) -> None:
    folder = prepare(study_of(prompts))
    tables = {path.stem: pq.read_table(path) for path in folder.glob("*.parquet")}
    assert {name: table.num_rows for name, table in tables.items()} == {"train": 7, "validation": 4, "exam": 5}
    assert all(table.schema.equals(PROMPTS) for table in tables.values())
    summary = (folder / "summary.md").read_text()
    assert "### train" in summary and "| empty problem or answer | 1 | 10 | Why? (no answer) |" in summary
    assert "| difficulty unknown or below 1 | 1 | 9 |" in summary
    assert "| shared with a benchmark | 2 | 7 |" in summary
    assert "exact with exam" in summary and "exact with validation" in summary


def test_the_stage_is_done_once_and_again_when_a_file_changes(prompts: dict[str, Any], tmp_path: Path) -> None:
    folder = prepare(study_of(prompts))
    written = (folder / "summary.md").stat().st_mtime_ns
    assert prepare(study_of(prompts)) == folder and (folder / "summary.md").stat().st_mtime_ns == written
    write(tmp_path / "train.jsonl", rows("other", 3))
    assert prepare(study_of(prompts)) != folder


def test_prompts_longer_than_the_limit_fall_out(prompts: dict[str, Any]) -> None:
    folder = prepare(study_of(prompts | {"max_prompt_tokens": 111}))
    assert pq.read_table(folder / "train.parquet").num_rows > 0
    assert "| longer than 111 tokens |" in (folder / "summary.md").read_text()


def test_a_split_of_which_nothing_is_left_is_an_error_with_the_table(prompts: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"(?s)prompts\.train: no problem is left.*difficulty unknown or below 99"):
        prepare(study_of(prompts | {"min_difficulty": 99}))


class TestSourceFiles:
    """A source of a study may be the name of a YAML file, such as those in configs/benchmarks."""

    def study(self, folder: Path, prompts: dict[str, Any], **more: Any) -> Path:
        path = folder / "configs" / "study.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(TINY | {"prompts": prompts} | more))
        return path

    def test_it_is_read_as_if_it_stood_there(self, prompts: dict[str, Any], tmp_path: Path) -> None:
        written = load_study(self.study(tmp_path, prompts))
        path = self.study(tmp_path, prompts | {"benchmarks": {"exam": "benchmarks/exam.yaml"}})
        (path.parent / "benchmarks").mkdir()
        (path.parent / "benchmarks" / "exam.yaml").write_text(yaml.safe_dump(prompts["benchmarks"]["exam"]))
        assert load_study(path).prompts == written.prompts

    def test_a_study_that_extends_another_replaces_the_whole_source(
        self, prompts: dict[str, Any], tmp_path: Path
    ) -> None:
        parent = self.study(tmp_path, TINY["prompts"])
        source = prompts["benchmarks"]["exam"]
        (parent.parent / "exam.yaml").write_text(yaml.safe_dump(source))
        child = parent.parent / "child.yaml"
        child.write_text(
            yaml.safe_dump({"extends": "study.yaml", "prompts": {"train": "exam.yaml", "validation": source}})
        )
        assert load_study(child).prompts.train == load_study(child).prompts.validation

    def test_a_grid_may_vary_the_source(self, prompts: dict[str, Any], tmp_path: Path) -> None:
        grid = {"data": {"b": {"prompts": {"train": "a.yaml", "validation": "a.yaml"}}}}
        path = self.study(tmp_path, prompts, grid=grid)
        (path.parent / "a.yaml").write_text(yaml.safe_dump(prompts["benchmarks"]["exam"]))
        (study,) = load_studies(path)
        assert study.prompts.train == study.prompts.validation == study.prompts.benchmarks["exam"]

    @pytest.mark.parametrize(
        ("source", "message"), [("none.yaml", r"none\.yaml: no such file"), ("exam", r"prompts\.train")]
    )
    def test_a_file_that_is_not_there_is_named(
        self, prompts: dict[str, Any], tmp_path: Path, source: str, message: str
    ) -> None:
        with pytest.raises(UserError, match=message):
            load_study(self.study(tmp_path, prompts | {"train": source}))

    def test_every_benchmark_file_of_the_project_can_be_named_by_a_study(
        self, prompts: dict[str, Any], tmp_path: Path
    ) -> None:
        folder = Path(__file__).parents[2] / "configs" / "benchmarks"
        names = {path.stem: str(path) for path in sorted(folder.glob("*.yaml"))}
        study = load_study(self.study(tmp_path, prompts | {"train": names["deepmath-103k"], "benchmarks": names}))
        assert study.prompts.train.kind == "hub" and set(study.prompts.benchmarks) == set(names)


@pytest.mark.slow
@pytest.mark.skipif(
    not SHARED.is_dir(), reason=f"{SHARED} is not there: the shared data sets are not laid beside this checkout"
)
def test_fourteen_thousand_real_prompts_are_prepared_in_under_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = {path.stem: {"kind": "file", "path": str(path), "columns": {"id": "id"}} for path in SHARED.glob("*.jsonl")}
    train = files.pop("train_deepmath_14k")
    study = study_of({"train": train, "validation": {"kind": "synthetic", "count": 4}, "benchmarks": files})
    started = time.perf_counter()
    folder = prepare(study)
    assert time.perf_counter() - started < 60
    kept = pq.read_table(folder / "train.parquet").num_rows
    assert 13_000 < kept < 14_000
    assert "| shared with a benchmark |" in (folder / "summary.md").read_text()
