"""From a study's file to ``Study``: what it ``extends``, the files it includes, the points of its ``grid``.

In: a YAML file. Out: one validated ``Study`` per point. Knows no key but these.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sgopd.config import Study, override
from sgopd.config_errors import explain
from sgopd.errors import UserError
from sgopd.yaml_files import included, placed, read_yaml


def load_studies(path: Path) -> list[Study]:
    """Every point of the study in ``path``, in the order of its grid; one point if it has none.

    ``grid`` maps an axis to its values: a dotted key to a list (``training.hold: [0.1, 0.2]``), or a name of your own to named
    changes (``flaw: {none: {models: ...}, full: {models: ...}}``).
    """
    raw = _read_with_extends(path, ())
    grid = raw.pop("grid", None) or {}
    if not isinstance(grid, dict) or not all(isinstance(values, list | dict) and values for values in grid.values()):
        raise UserError(
            f"{path}: grid: must map a dotted key to a list of values, or a name to named changes, "
            "e.g. `grid: {training.hold: [0.1, 0.2]}`."
        )
    return [_validate(path, point) for point in _grid_points(path, raw, grid)]


def load_study(path: Path, point: str = "") -> Study:
    """The study in ``path``, or the named point of its grid."""
    studies = load_studies(path)
    for study in studies:
        if study.point == point:
            return study
    points = ", ".join(study.point or "(none)" for study in studies)
    raise UserError(f"{path}: no grid point {point!r}. Its points are: {points}. Name one with --point.")


def _read_with_extends(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in seen:
        raise UserError(f"{path}: extends: files extend each other in a circle.")
    raw = placed(read_yaml(path), path.parent)
    parent = raw.pop("extends", None)
    if parent is None:
        return raw
    if not isinstance(parent, str):
        raise UserError(f"{path}: extends: must be the name of another study file, not {parent!r}.")
    base = _read_with_extends(path.parent / parent, (*seen, path.resolve()))
    if "methods" in raw:  # a study lists its own methods; a name alone takes the parent's definition
        inherited = base.pop("methods", {})
        methods = raw["methods"] if isinstance(raw["methods"], dict) else {}
        raw["methods"] = {name: inherited.get(name, {}) if value is None else value for name, value in methods.items()}
    return override(base, raw)


def _grid_points(path: Path, raw: dict[str, Any], grid: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The study's raw keys at every point: the changes of each axis merged in, results in a folder of the point's own."""
    axes = [_axis(path, str(key), values) for key, values in grid.items()]
    for changes in itertools.product(*axes):
        study, point = dict(raw), ",".join(name for name, _ in changes)
        for _, change in changes:
            study = override(study, change)
        yield {**study, "point": point, "results": f"{study.get('results', 'results')}/{point}"} if point else study


def _axis(path: Path, key: str, values: list[Any] | dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(name of the value, what it changes) for each value of one axis."""
    if isinstance(values, dict):
        if not all(isinstance(change, dict) for change in values.values()):
            raise UserError(f"{path}: grid.{key}: each named value must be a mapping of the keys it changes.")
        return [(f"{key}={name}", change) for name, change in values.items()]
    nested = []
    for value in values:
        change: Any = value
        for part in reversed(key.split(".")):
            change = {part: change}
        nested.append((f"{key.rpartition('.')[2]}={value}", change))
    return nested


def _validate(path: Path, raw: dict[str, Any]) -> Study:
    try:
        return Study.model_validate(included(raw))
    except ValidationError as error:
        raise UserError("\n".join(f"{path}: {problem}" for problem in explain(error, Study))) from error
