"""Where problems come from: a data set on the Hugging Face hub, a local JSONL or Parquet file, or the synthetic task.

In: a typed source and the name of its split. Out: rows with the columns PROMPTS. Knows nothing of tokenizers, models or
filters; `datasets` is imported only when a hub source is loaded.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from sgopd.errors import UserError
from sgopd.prompts.synthetic import SyntheticSource


class Columns(BaseModel):
    """Which column of the source holds what. Dots reach into nested values: ``reward_model.ground_truth``, ``prompt.0.content``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    problem: str = Field("problem", description="The problem's text.")
    answer: str = Field("answer", description="The gold answer, or a solution that ends with it in \\boxed{}.")
    id: str | None = Field(None, description="A stable name of the row; without one, a hash of the problem is used.")
    difficulty: str | None = Field(None, description="A number, or a text that holds one (`Level 5`).")
    category: str | None = Field(None, description="A class of problems that is reported on its own.")


class _Source(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HubSource(_Source):
    """A data set on the Hugging Face hub, by name and revision."""

    kind: Literal["hub"] = Field(description="Marks a data set on the hub.")
    name: str = Field(min_length=1, description="Name on the hub, e.g. zwhe99/DeepMath-103K.")
    revision: str = Field(
        "main", min_length=1, description="Commit, tag or branch; pin a commit for a reproducible study."
    )
    config: str | None = Field(None, description="Configuration (subset) of the data set.")
    split: str = Field(
        "train", description="Split on the hub, as its authors named it; slices such as train[:1%] work."
    )
    columns: Columns = Field(Columns(), description="Which column holds what.")


class FileSource(_Source):
    """A local file, one problem per row."""

    kind: Literal["file"] = Field(description="Marks a local file.")
    path: Path = Field(description="A .jsonl, .jsonl.gz or .parquet file.")
    columns: Columns = Field(Columns(), description="Which column holds what.")


def _kind(value: Any) -> str:
    """Which source a part of the study describes; without ``kind`` it is the synthetic one."""
    return str(value.get("kind", "synthetic") if isinstance(value, dict) else getattr(value, "kind", value))


Source = Annotated[
    Annotated[HubSource, Tag("hub")]
    | Annotated[FileSource, Tag("file")]
    | Annotated[SyntheticSource, Tag("synthetic")],
    Discriminator(_kind),
]
Rows = list[dict[str, Any]]


def load_source(source: HubSource | FileSource, split: str) -> Rows:
    """Every row of a source under the columns PROMPTS, as it is: nothing is cleaned or dropped.

    ``split`` becomes the column of that name and the start of each prompt_id. A missing difficulty is NaN, a missing category
    ``""``. Raises UserError when the source cannot be read or lacks a column.
    """
    if isinstance(source, FileSource):
        rows, name = _file_rows(source.path), str(source.path)
    else:
        rows, name = _hub_rows(source), f"{source.name}@{source.revision}"
    return _named_once(
        [row | {"split": split, "source": name} for row in _mapped(rows, source.columns, name, split)], source
    )


def _named_once(rows: Rows, source: HubSource | FileSource) -> Rows:
    """Rows are known by their prompt_id from here on: an id column must not repeat; copies of a problem are numbered."""
    seen: Counter[str] = Counter()
    for row in rows:
        name = row["prompt_id"]
        seen[name] += 1
        if seen[name] > 1 and source.columns.id:
            raise UserError(
                f"{row['source']}: column {source.columns.id!r} repeats {name!r}; name a column without repeats, or none"
            )
        if seen[name] > 1:
            row["prompt_id"] = f"{name}-{seen[name]}"
    return rows


def _hub_rows(source: HubSource) -> Iterable[Mapping[str, Any]]:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise UserError(
            f"hub source {source.name}: the package `datasets` is not installed; run `pip install datasets`"
        ) from error
    try:
        rows: Iterable[Mapping[str, Any]] = load_dataset(
            source.name, source.config, split=source.split, revision=source.revision
        )
    except Exception as error:
        raise UserError(
            f"hub source {source.name} (revision {source.revision}, config {source.config}, split {source.split}) cannot be "
            f"loaded: {type(error).__name__}: {error}. Check the names and the network, or use a local copy with `kind: file`."
        ) from error
    return rows


def _file_rows(path: Path) -> Iterable[Mapping[str, Any]]:
    if not path.is_file():
        raise UserError(f"source path {path}: no such file; give a .jsonl, .jsonl.gz or .parquet file")
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        return _json_lines(path)
    if path.suffix == ".parquet":
        try:
            rows: list[Mapping[str, Any]] = pq.read_table(path).to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"source path {path}: not a Parquet file ({error})") from error
        return rows
    raise UserError(f"source path {path}: cannot tell the format; name it .jsonl, .jsonl.gz or .parquet")


def _json_lines(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        with pa.input_stream(str(path), compression="detect") as stream:
            lines = stream.read().decode("utf-8").split("\n")
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise UserError(
            f"source path {path}: cannot be read as UTF-8 text, one JSON object per line ({error})"
        ) from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}, line {number}: not JSON ({error})") from error
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: a JSON object is needed, not {type(row).__name__}")
        yield row


def _mapped(rows: Iterable[Mapping[str, Any]], columns: Columns, where: str, split: str) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows, 1):
        problem = _text(_reach(row, columns.problem, where, number))
        if not problem.isprintable() and any("\ud800" <= character <= "\udfff" for character in problem):
            raise UserError(
                f"{where}, row {number}: the problem holds half a character (a lone surrogate). Correct the row."
            )
        name = _text(_reach(row, columns.id, where, number)) if columns.id else _digest(problem)
        yield {
            "prompt_id": name if name.startswith(split) else f"{split}-{name}",
            "problem": problem,
            "answer": _text(_reach(row, columns.answer, where, number)),
            "difficulty": _number(_reach(row, columns.difficulty, where, number) if columns.difficulty else None),
            "category": _text(_reach(row, columns.category, where, number)) if columns.category else "",
        }


def _reach(row: Mapping[str, Any], column: str, where: str, number: int) -> Any:
    """The value at a dotted path; a key that contains the dots itself wins."""
    if column in row:
        return row[column]
    value: Any = row
    for key in column.split("."):
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, Sequence) and not isinstance(value, str) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            raise UserError(
                f"{where}, row {number}: no column {column!r}; it has {', '.join(row)}. Set it under `columns`."
            )
    return value


def _text(value: Any) -> str:
    """A float that is a whole number is written as one: Parquet files often store integer answers as 204.0."""
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _number(value: Any) -> float:
    match = re.search(r"-?\d+(?:\.\d+)?", str(value))
    return float(match.group()) if match else float("nan")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
