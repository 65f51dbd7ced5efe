"""Malformed configs: written by hand, and made from a good study by breaking one key at a time."""

from collections.abc import Iterator
from typing import Any

from sgopd.config import Study
from tests.conftest import TINY

# text of a study file -> a word that its error must hold
TEXTS: dict[str, str] = {
    "": "must hold a mapping",
    "null": "must hold a mapping",
    "[]": "must hold a mapping",
    "7": "must hold a mapping",
    "just words": "must hold a mapping",
    "--- {}\n--- {}": "not valid YAML",
    "a: b: c": "not valid YAML",
    "name: [": "not valid YAML",
    "name: {": "not valid YAML",
    "name: 'x": "not valid YAML",
    "\tname: x": "not valid YAML",
    "name: x\nname: y": "stands twice",
    "name: &a\n  - *b": "not valid YAML",
    "name: !!python/object:os.system x": "not valid YAML",
    "name: !!python/object/apply:os.system ['touch broken-in']": "not valid YAML",
    "? [a, b]\n: c": "study.yaml",
    "name: x\x07": "not valid YAML",
    "extends: missing.yaml": "missing.yaml",
    "extends: study.yaml": "circle",
    "extends: 3": "extends",
    "extends: [a]": "extends",
    "extends: .": "cannot be read",
    "extends: /proc/self/mem": "/proc/self/mem",
    "1: 2": "study.yaml",
    "null: x": "study.yaml",
    "true: x": "study.yaml",
    "{}": "required",
    "name: x": "required",
    "name: 2020-01-01": "name",
    "grid: 3": "grid",
    "grid: {a: 3}": "grid",
    "grid: {a: []}": "grid",
    "grid: {a: {}}": "grid",
    "grid: [a]": "grid",
    "grid: {a: {b: 3}}": "grid.a",
    "grid: {training.hold: [x]}": "required",
    "a: " + "[" * 3000: "not valid YAML",
    "a: " + "{a: " * 3000: "not valid YAML",
    "x: " + "9" * 5000: "study.yaml",
    "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: &d [*c, *c]\ne: &e [*d, *d]\nname: [*e, *e]": "name",
}
BYTES: dict[bytes, str] = {
    b"name: \xff\xfe": "cannot be read",
    b"\x00\x01\x02": "not valid YAML",
    b"\xef\xbb\xbfname: \xc3": "cannot be read",
    b"PAR1\x00\x00": "study.yaml",
    b"\x1f\x8b\x08\x00": "cannot be read",
}

# (dotted key, value) -> a word; what one key of a good study may not be
VALUES: list[tuple[str, Any, str]] = [
    ("name", "", "name"),
    ("name", "..", "name"),
    ("name", "a/b", "name"),
    ("name", "-rf", "name"),
    ("name", "a b", "name"),
    ("name", "$(touch x)", "name"),
    ("name", "x" * 81, "name"),
    ("name", "é", "name"),
    ("name", "a\nb", "name"),
    ("results", "/tmp", "results"),
    ("results", "../out", "results"),
    ("results", "a/../../b", "results"),
    ("results", "", "results"),
    ("results", "a b", "results"),
    ("results", "a;b", "results"),
    ("results", "~", "results"),
    ("results", "a\x00b", "results"),
    ("results", "$HOME", "results"),
    ("results", "a\n", "results"),
    ("point", "../x", "point"),
    ("point", "a/b", "point"),
    ("seed", -1, "seed"),
    ("seed", 0.5, "seed"),
    ("seed", float("nan"), "seed"),
    ("seeds", [], "seeds"),
    ("seeds", [0, 0], "repeats"),
    ("seeds", [-1], "seeds"),
    ("seeds", [0.5], "seeds"),
    ("baseline", "nothing", "baseline"),
    ("methods", {}, "methods"),
    ("methods", {"a/b": {}}, "methods"),
    ("methods", {"teacher": {}}, "teacher"),
    ("methods", {"..": {}}, "methods"),
    ("methods", {"opd": {"hold": 2}}, "methods.opd.hold"),
    ("methods", {"opd": {"nothing": 2}}, "nothing"),
    ("methods", {"opd": {"objective": {"rule": "opd", "options": {"no": 1}}}}, "option"),
    ("methods", {"opd": {"objective": {"rule": "sgopd", "options": {"lambda_consensus": "x"}}}}, "lambda_consensus"),
    (
        "methods",
        {"opd": {"objective": {"rule": "sgopd", "options": {"lambda_consensus": float("nan")}}}},
        "lambda_consensus",
    ),
    ("methods", {"opd": {"objective": {"rule": "sgopd", "options": {"guard": "no"}}}}, "guard"),
    ("methods", {"opd": 3}, "methods"),
    ("methods", {"opd": {"sampling": {"top_p": 0}}}, "top_p"),
    ("training.hold", 0.9, "hold"),
    ("training.updates_per_batch", 3, "updates_per_batch"),
    ("training.optimiser.lr", float("inf"), "lr"),
    ("training.optimiser.lr", 0, "lr"),
    ("training.optimiser.betas", [1], "betas"),
    ("training.optimiser.betas", [0.9, 1.5], "betas"),
    ("training.optimiser.betas", [-1, 0.9], "betas"),
    ("training.sampling.temperature", 0, "temperature"),
    ("training.sampling.top_p", 1.5, "top_p"),
    ("evaluation.pass_k", [9], "pass_k"),
    ("evaluation.pass_k", [0], "pass_k"),
    ("evaluation.confidence", 1, "confidence"),
    ("evaluation.resamples", 3, "resamples"),
    ("models.prompt_template", "no place", "{problem}"),
    ("models.dtype", "int8", "dtype"),
    ("models.teacher", {"kind": "no"}, "teacher"),
    ("models.teacher", {"path": ""}, "path"),
    ("models.teacher", {}, "teacher"),
    ("models.teacher.lessons", [], "lessons"),
    ("models.teacher.heads", 3, "heads"),
    ("models.teacher.operations", [9, 3], "operations"),
    ("models.reference", "teacher", "reference"),
    ("prompts.train", {"kind": "no"}, "train"),
    ("prompts.train", {"kind": 3}, "train"),
    ("prompts.train", {"kind": "file"}, "path"),
    ("prompts.train", [], "train"),
    ("prompts.train", {"count": 0}, "count"),
    ("prompts.train", {"kind": "synthetic", "count": 3, "operations": [7, 3]}, "operations"),
    ("prompts.benchmarks", {}, "benchmarks"),
    ("prompts.benchmarks", {"a/b": {}}, "benchmarks"),
    ("prompts.benchmarks", {"train": {"count": 3}}, "train"),
    ("prompts.benchmarks", {"validation": {"count": 3}}, "validation"),
]


def every_key() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every key of a study with its value, all defaults filled in; mappings and what they hold."""
    yield from _walk(Study.model_validate(TINY).model_dump(mode="json", exclude={"methods"}), ())


def _walk(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if path:
        yield path, value
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _walk(below, (*path, str(key)))


def wrong(value: Any) -> list[Any]:
    """Values of another type than ``value``'s."""
    if isinstance(value, dict):
        return [7, [], {"surely_not_a_key": 1}]
    if isinstance(value, bool):
        return ["x", {}]
    if isinstance(value, int | float):
        return ["x", [], {}, -(10**9), float("nan"), 1e400]
    if isinstance(value, str):
        return [{}, [], 7]
    return [{"a": 1}] if value is None else ["x", {"a": 1}, 7]


def changed(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """The good study with another value at one key."""
    study: dict[str, Any] = Study.model_validate(TINY).model_dump(mode="json")
    below = study
    for key in path[:-1]:
        below = below[key]
    below[path[-1]] = value
    return study
