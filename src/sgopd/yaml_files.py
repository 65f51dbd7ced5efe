"""Reading YAML files: a mapping without duplicate keys, and problem sources that stand in files of their own.

In: a path. Out: plain mappings. Knows nothing of what the keys mean but where a study names its sources.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from sgopd.errors import UserError

SUFFIXES = (".yaml", ".yml")


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; a duplicate key, a syntax error or anything else than a mapping is a UserError."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file. Studies lie in configs/, e.g. configs/tiny.yaml.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    try:
        raw = yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader with one more check
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise UserError(f"{path}: must hold a mapping of keys, not {type(raw).__name__}.")
    return raw


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML silently takes the last of two equal keys; a study must not."""


def _unique_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    keys = [key_node.value for key_node, _ in node.value if isinstance(key_node, yaml.ScalarNode)]
    for key in keys:
        if keys.count(key) > 1 and key != "<<":
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", node.start_mark)
    loader.flatten_mapping(node)
    return yaml.SafeLoader.construct_mapping(loader, node, deep)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def placed(raw: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A study's mapping with the names of source files (``prompts.benchmarks.aime24: benchmarks/aime24.yaml``), which are
    relative to the study's file, as paths from the working directory. Also inside the named changes of its grid.
    """

    def place(value: Any) -> Any:
        return str(folder / value) if _names_file(value) else value

    raw = _with_sources(raw, place)
    grid = raw.get("grid")
    if not isinstance(grid, dict):
        return raw
    return raw | {"grid": {axis: _each_change(values, place) for axis, values in grid.items()}}


def _each_change(values: Any, place: Callable[[Any], Any]) -> Any:
    if not isinstance(values, dict):
        return values
    return {
        name: _with_sources(change, place) if isinstance(change, dict) else change for name, change in values.items()
    }


def included(raw: dict[str, Any]) -> dict[str, Any]:
    """A study's mapping with the content of every source file in the place of its name."""
    return _with_sources(raw, lambda value: read_yaml(Path(value)) if _names_file(value) else value)


def _names_file(value: Any) -> bool:
    return isinstance(value, str) and value.endswith(SUFFIXES)


def _with_sources(raw: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    prompts = raw.get("prompts")
    if not isinstance(prompts, dict):
        return raw
    prompts = dict(prompts)
    for key in ("train", "validation"):
        if key in prompts:
            prompts[key] = change(prompts[key])
    if isinstance(prompts.get("benchmarks"), dict):
        prompts["benchmarks"] = {name: change(source) for name, source in prompts["benchmarks"].items()}
    return raw | {"prompts": prompts}
