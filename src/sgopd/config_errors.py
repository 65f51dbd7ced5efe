"""What pydantic found wrong with a study, in words: the key, what is wrong, the value, what is allowed or was meant."""

import difflib
import reprlib
from typing import Any

from pydantic import BaseModel, ValidationError


def explain(error: ValidationError, root: type[BaseModel]) -> list[str]:
    """One line per problem: key, what is wrong, the value, what is allowed."""
    lines = []
    for problem in error.errors():
        keys = [str(part) for part in problem["loc"]]
        key = ".".join(keys) or root.__name__.lower()
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = _unknown_key(keys, root)
        elif problem["type"] == "missing":
            message = "this key is required"
        elif problem["type"] != "value_error" or isinstance(problem["input"], str | int | float):
            message = f"{message}, not {reprlib.repr(problem['input'])}"
        lines.append(f"{key}: {message}" if keys else message)
    return list(dict.fromkeys(lines))


def _unknown_key(keys: list[str], root: type[BaseModel]) -> str:
    allowed = _keys_beside(keys, root)
    close = difflib.get_close_matches(keys[-1], allowed, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"unknown key{hint}" + (f" Allowed here: {', '.join(allowed)}." if allowed else "")


def _keys_beside(keys: list[str], root: type[BaseModel]) -> list[str]:
    model: Any = root
    for key in keys[:-1]:
        candidates = _models_in(model.model_fields[key].annotation) if key in model.model_fields else []
        named = [
            m for m in _models_in_tree(model) if m.__name__ == key
        ]  # pydantic puts a union member's name in the path
        if not (candidates or named):
            continue
        model = (candidates or named)[0]
    return list(model.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models_in(part)]


def _models_in_tree(model: type[BaseModel]) -> list[type[BaseModel]]:
    return [below for field in model.model_fields.values() for below in _models_in(field.annotation)]
