"""Loading problems: hub data sets, JSONL and Parquet, by column mapping; what cannot be read is named."""

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sgopd.errors import UserError
from sgopd.prompts.sources import Columns, FileSource, HubSource, load_source
from sgopd.yaml_files import read_yaml

CONFIGS = Path(__file__).parents[2] / "configs"
ROWS: list[dict[str, Any]] = [
    {"id": "a", "problem": "What is 1+1?", "answer": "2", "level": "Level 5", "type": "sums"},
    {"id": "b", "problem": "What is 2+2?", "answer": "4", "level": "Level 1", "type": "sums"},
]
COLUMNS = Columns(id="id", difficulty="level", category="type")


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.parquet"])
def test_every_file_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        jsonl(path, ROWS)
    loaded = load_source(FileSource(kind="file", path=path, columns=COLUMNS), "train")
    assert loaded == [
        {"prompt_id": "train-a", "split": "train", "problem": "What is 1+1?", "answer": "2",
        "difficulty": 5.0, "category": "sums", "source": str(path)},
        {"prompt_id": "train-b", "split": "train", "problem": "What is 2+2?", "answer": "4",
        "difficulty": 1.0, "category": "sums", "source": str(path)},
    ]  # fmt: skip


def test_columns_may_lie_inside_others(tmp_path: Path) -> None:
    row = {"prompt": [{"role": "user", "content": "What is 1+1?"}], "reward_model": {"ground_truth": 2.0}, "a.b": "x"}
    columns = Columns(problem="prompt.0.content", answer="reward_model.ground_truth", category="a.b")
    loaded = load_source(FileSource(kind="file", path=jsonl(tmp_path / "r.jsonl", [row]), columns=columns), "train")
    assert [(r["problem"], r["answer"], r["category"]) for r in loaded] == [("What is 1+1?", "2", "x")]


def test_without_an_id_rows_are_named_by_their_problem_and_copies_are_numbered(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "r.jsonl", [ROWS[0], ROWS[1], ROWS[0]])
    ids = [row["prompt_id"] for row in load_source(FileSource(kind="file", path=path), "train")]
    assert len(set(ids)) == 3 and ids[2] == f"{ids[0]}-2"
    assert ids == [row["prompt_id"] for row in load_source(FileSource(kind="file", path=path), "train")]


def test_missing_values_become_empty_and_not_the_word_none(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "r.jsonl", [{"problem": None, "answer": None}])
    (row,) = load_source(FileSource(kind="file", path=path), "train")
    assert (row["problem"], row["answer"], row["category"]) == ("", "", "") and math.isnan(row["difficulty"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.jsonl", None, "no such file"),
        ("rows.csv", "problem,answer\n", "cannot tell the format"),
        ("rows.jsonl", '{"problem": "x", "answer": "y"}\n{"problem"\n', "line 2: not JSON"),
        ("rows.jsonl", "[1]\n", "line 1: a JSON object"),
        ("rows.jsonl", '{"question": "x", "answer": "y"}\n', "row 1: no column 'problem'; it has question, answer"),
        ("rows.parquet", "not parquet", "not a Parquet file"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message):
        load_source(FileSource(kind="file", path=path), "train")


def test_an_id_that_repeats_is_an_error(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "r.jsonl", [ROWS[0], ROWS[1] | {"id": "a"}])
    with pytest.raises(UserError, match="repeats 'train-a'"):
        load_source(FileSource(kind="file", path=path, columns=COLUMNS), "train")


# The columns of each data set on the hub, as its card lists them, with a value of the kind that stands there.
HUB_ROWS: dict[str, dict[str, Any]] = {
    "aime24": {"id": 60, "problem": "P", "solution": "S", "answer": "204", "url": "u", "year": "2024"},
    "aime25": {"id": "0", "problem": "P", "answer": "70"},
    "aime26": {"problem_idx": 1, "problem": "P", "answer": 277},
    "amc23": {"id": 0, "question": "P", "answer": 27.0, "url": "u"},
    "dapo-math-17k": {"prompt": "P", "solution": "34", "data_source": "d", "ability": "MATH",
    "reward_model": {"ground_truth": "34"}},
    "deepmath-103k": {"question": "P", "final_answer": "0", "difficulty": 6.5, "topic": "Mathematics -> Calculus",
    "r1_solution_1": "S"},
    "hmmt_feb_2025": {"problem_idx": 1, "problem": "P", "answer": "103", "problem_type": ["Number Theory"]},
    "hmmt_nov_2025": {"problem_idx": 1, "problem": "P", "answer": "\\sqrt{3}", "problem_type": ["Geometry"]},
    "math": {"problem": "P", "level": "Level 3", "type": "Algebra", "solution": "So it is $\\boxed{7}$."},
    "math500": {"problem": "P", "solution": "S", "answer": "7", "subject": "Algebra", "level": 2, "unique_id": "test/a/1.json"},
    "minerva": {"question": "P", "answer": "1.6"},
}  # fmt: skip


def test_there_is_a_file_for_every_data_set_that_is_known_here() -> None:
    assert sorted(path.stem for path in (CONFIGS / "benchmarks").glob("*.yaml")) == sorted(HUB_ROWS)


@pytest.mark.parametrize("name", HUB_ROWS)
def test_every_source_in_configs_maps_the_columns_of_its_data_set(tmp_path: Path, name: str) -> None:
    source = HubSource.model_validate(read_yaml(CONFIGS / "benchmarks" / f"{name}.yaml"))
    local = FileSource(kind="file", path=jsonl(tmp_path / "rows.jsonl", [HUB_ROWS[name]]), columns=source.columns)
    (row,) = load_source(local, name)
    assert row["problem"] == "P" and row["answer"]
    assert ("difficulty" in str(source.columns.model_dump(exclude_none=True))) != math.isnan(row["difficulty"])


def test_a_hub_source_is_loaded_by_the_datasets_package(tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="needs datasets: pip install '.[hub]'")
    folder = tmp_path / "deepmath"
    folder.mkdir()
    rows = [HUB_ROWS["deepmath-103k"] | {"question": f"What is {n}+{n}?", "final_answer": str(2 * n)} for n in range(5)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "train-00000-of-00001.parquet")
    named = HubSource.model_validate(read_yaml(CONFIGS / "benchmarks" / "deepmath-103k.yaml"))
    source = named.model_copy(update={"name": str(folder), "split": "train[1:4]", "revision": "main"})
    loaded = load_source(source, "train")
    assert [row["answer"] for row in loaded] == ["2", "4", "6"]
    assert {row["source"] for row in loaded} == {f"{folder}@main"} and loaded[0]["difficulty"] == 6.5


def test_a_hub_source_that_cannot_be_loaded_names_itself_and_the_way_out(tmp_path: Path) -> None:
    source = HubSource(kind="hub", name=str(tmp_path / "nothing here"), revision="v1")
    with pytest.raises(UserError, match=r"hub source .*nothing here.*(pip install datasets|kind: file)"):
        load_source(source, "train")
