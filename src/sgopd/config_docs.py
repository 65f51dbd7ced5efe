"""docs/configuration.md from the typed config: every key with type, default, range and meaning. Nothing is written by hand."""

import inspect
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from sgopd.config import Study

HEAD = """# Configuration

A study is one YAML file. Every key, its type, default and meaning; made from the typed config by `sgopd config-docs`.
Unknown keys are errors. Two keys stand outside the tables: `extends: other.yaml` takes over another study's keys, and `grid`
maps axes to values (`training.hold: [0.1, 0.2]`, or a name to named changes) and makes one study per point.

A method is a name and the keys of `training` that it changes, e.g. `sgopd: {objective: {rule: sgopd}}`. The options of each
rule are listed by `sgopd rules`.
"""


def render() -> str:
    """The whole document as Markdown."""
    return HEAD + "".join(_section(name, model) for name, model in _sections("study", Study, {}).items())


def _sections(name: str, model: type[BaseModel], found: dict[str, type[BaseModel]]) -> dict[str, type[BaseModel]]:
    """Every model of the tree, depth first, under the key (or the class) by which it is reached; each once."""
    if model in found.values():
        return found
    found[name] = model
    for key, field in model.model_fields.items():
        below = _models(field.annotation)
        for inner in below:
            _sections(key if len(below) == 1 else f"{key} ({inner.__name__})", inner, found)
    return found


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _section(name: str, model: type[BaseModel]) -> str:
    lines = [
        f"\n## {name}\n",
        inspect.cleandoc(model.__doc__ or ""),
        "",
        "| key | type | default | meaning |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{key}` | {_type(field)} | {_default(field)} | {_meaning(field)} |"
        for key, field in model.model_fields.items()
    ]
    return "\n".join(lines) + "\n"


def _type(field: FieldInfo) -> str:
    return _type_name(field.annotation).replace("|", "\\|")


def _type_name(annotation: Any) -> str:
    if isinstance(annotation, type) and not get_args(annotation):
        return "none" if annotation is type(None) else annotation.__name__
    origin, arguments = getattr(annotation, "__origin__", None), get_args(annotation)
    if origin is not None and "Literal" in str(origin):
        return " | ".join(f"`{value}`" for value in arguments)
    if origin is dict:
        return f"mapping of {_type_name(arguments[0])} to {_type_name(arguments[1])}"
    if origin is tuple:
        inner = [_type_name(a) for a in arguments if a is not Ellipsis]
        return f"list of {inner[0]}" if Ellipsis in arguments else f"[{', '.join(inner)}]"
    if origin is not None and hasattr(annotation, "__metadata__"):
        return _type_name(origin)
    return " | ".join(_type_name(a) for a in arguments) if arguments else str(annotation).removeprefix("typing.")


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    if isinstance(field.default, BaseModel):
        return "see below"
    return f"`{field.default}`".replace("\n", "\\n") if field.default != "" else "empty"


def _meaning(field: FieldInfo) -> str:
    limits = {"Ge": "≥", "Gt": ">", "Le": "≤", "Lt": "<"}
    ranges = [
        f"{sign} {getattr(limit, name.lower())}"
        for limit in field.metadata
        for name, sign in limits.items()
        if type(limit).__name__ == name
    ]
    text = (field.description or "").replace("|", "\\|")
    return f"{text} ({', '.join(ranges)})" if ranges else text
