"""`sgopd doctor`: everything that can be found wrong with a study before an hour is spent on it.

In: a study. Out: findings, each good, doubtful or bad, with what to do about it. Loads no weights and changes nothing.
"""

import configparser
import importlib.util
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sgopd.artefacts import Artefacts
from sgopd.config import Study
from sgopd.errors import UserError
from sgopd.memory import GIB, advice, need
from sgopd.models import check_compatible, end_of_turn, load_tokenizer, real_tokens, render_prompt
from sgopd.pair import longest_text
from sgopd.plan import Machine, free_bytes, plan
from sgopd.prompts.sources import HubSource
from sgopd.shapes import Shape, shape_of

PATIENCE_S = 5.0  # for a server to answer


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    verdict: Literal["good", "doubtful", "bad"]
    about: str
    text: str


def examine(study: Study, machine: Machine) -> list[Finding]:
    """All findings, in the order in which they would stop the study."""
    artefacts = Artefacts(study)
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("tokenizer", lambda: _tokenizers(artefacts)),
        ("models", lambda: _models(study)),
        ("memory", lambda: _memory(study, machine)),
        ("engine", lambda: _engine(study)),
        ("disk", lambda: _disk(study, machine)),
        ("data", lambda: _data(artefacts)),
        ("mlflow", _mlflow),
        ("dvc", _dvc),
    ]
    found: list[Finding] = []
    for about, check in checks:
        try:
            found += check()
        except UserError as error:
            found.append(Finding("bad", about, str(error)))
    return found


def _tokenizers(artefacts: Artefacts) -> Iterator[Finding]:
    if artefacts.trains("teacher") or artefacts.trains("student"):
        yield Finding("good", "tokenizer", "made by the pipeline, the same for both models")
        return
    student, teacher = load_tokenizer(*artefacts.source("student")), load_tokenizer(*artefacts.source("teacher"))
    check_compatible(student, teacher)
    end = student.convert_ids_to_tokens(end_of_turn(student))
    yield Finding("good", "tokenizer", f"the same {real_tokens(student):,} tokens; a response ends with {end}")
    template = artefacts.study.models.prompt_template
    if render_prompt(student, "1+1?", template) == render_prompt(teacher, "1+1?", template):
        yield Finding("good", "chat template", "both models are given the same prompt")
    else:
        yield Finding(
            "doubtful", "chat template",
            "student and teacher render a prompt differently; each will score under its own rendering of the prompt",
        )  # fmt: skip


def _models(study: Study) -> Iterator[Finding]:
    student, teacher = shape_of(study.models.student), shape_of(study.models.teacher)
    for role, shape in (("student", student), ("teacher", teacher)):
        active = f", {shape.active / 1e9:.2f} active" if shape.active < shape.parameters else ""
        yield Finding("good", role, f"{shape.parameters / 1e9:.2f} billion parameters{active}")
        room = shape.context - (longest_text(study) - 1 - study.prompts.max_prompt_tokens)
        if room < study.prompts.max_prompt_tokens:
            yield Finding(
                "bad" if room < 1 else "doubtful", "context", f"the {role} was made for {shape.context} tokens, of which "
                f"{max(room, 0)} are left for a prompt: lower "
                + ("sampling.max_new_tokens" if room < 1 else f"prompts.max_prompt_tokens ({study.prompts.max_prompt_tokens})"),
            )  # fmt: skip
    if student.vocabulary != teacher.vocabulary:
        yield Finding(
            "good", "vocabulary", f"{student.vocabulary:,} rows against {teacher.vocabulary:,}: rows beyond the tokens are padding "
            "and are never sampled",
        )  # fmt: skip


def _memory(study: Study, machine: Machine) -> Iterator[Finding]:
    student, teacher = shape_of(study.models.student), shape_of(study.models.teacher)
    capacity = machine.memory_gib * GIB
    for method, found, hint in _needs(study, student, teacher, capacity):
        largest = sorted(found.training.items(), key=lambda part: -part[1])[:3]
        parts = ", ".join(f"{name} {size / GIB:.1f}" for name, size in largest)
        text = f"{method}: about {found.peak / GIB:.1f} of {machine.memory_gib:g} GiB per GPU ({parts})"
        cache = "" if found.sequences is None else f"; vLLM's cache holds {found.sequences:.0f} texts of full length"
        yield Finding("bad" if hint else "good", "memory", text + cache + (f"\n{hint}" if hint else ""))


def _needs(study: Study, student: Shape, teacher: Shape, capacity: float):  # type: ignore[no-untyped-def]
    """(method, need, advice) of the method that takes most, and of every one that does not fit."""
    all_needs = []
    for method, training in study.runs.items():
        found = need(study, training, student, teacher, capacity)
        all_needs.append((method, found, advice(study, training, found, capacity)))
    return [n for n in all_needs if n[2]] or [max(all_needs, key=lambda n: n[1].peak)]


def _engine(study: Study) -> Iterator[Finding]:
    import torch

    gpus = torch.cuda.device_count()
    if gpus < study.hardware.processes and not (gpus == 0 and study.hardware.processes == 1):
        yield Finding(
            "doubtful", "hardware", f"the study asks for {study.hardware.processes} GPUs a node, this one has {gpus}"
        )
    if study.engine.kind == "vllm" or study.engine.teacher == "vllm":
        there = importlib.util.find_spec("vllm") is not None
        text = "vLLM is installed" if there else "vLLM is not installed: environment.yml says how"
        yield Finding("good" if there else "bad", "engine", text)
    if study.engine.teacher.startswith("http"):
        yield _answers("teacher", study.engine.teacher.rstrip("/") + "/models", "start it with `vllm serve`")
    if any(run.lora for run in study.runs.values()) and importlib.util.find_spec("peft") is None:
        yield Finding("bad", "engine", "peft is not installed: pip install -c constraints.txt '.[lora]'")


def _disk(study: Study, machine: Machine) -> Iterator[Finding]:
    wanted = sum(stage.bytes for stage in plan(study, machine))
    free = free_bytes(Path(study.results))
    text = f"about {wanted / GIB:.1f} GiB to be written, {free / GIB:.1f} GiB free"
    yield Finding("good" if wanted < 0.9 * free else "bad", "disk", text)


def _data(artefacts: Artefacts) -> Iterator[Finding]:
    prompts = artefacts.study.prompts
    if artefacts.prompts.manifest.is_file():
        yield Finding("good", "data", "prompts are prepared")
        return
    for name, source in {"train": prompts.train, "validation": prompts.validation, **prompts.benchmarks}.items():
        if isinstance(source, HubSource):
            yield _hub_data(name, source)
    yield Finding("good", "data", "local files are there")  # their checksums were taken for the fingerprint above


def _hub_data(name: str, source: HubSource) -> Finding:
    if importlib.util.find_spec("datasets") is None:
        return Finding("bad", "data", f"{name}: needs the extra hub: pip install -c constraints.txt '.[hub]'")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().dataset_info(source.name, revision=source.revision, timeout=PATIENCE_S)
    except HfHubHTTPError as error:
        return Finding("bad", "data", f"{name}: {source.name} at {source.revision}: {str(error).splitlines()[0]}")
    except Exception as error:  # offline, proxy, cache only: the data may still be in the cache
        return Finding(
            "doubtful", "data", f"{name}: the hub cannot be asked for {source.name} ({type(error).__name__})"
        )
    return Finding("good", "data", f"{name}: {source.name} at {source.revision}")


def _mlflow() -> Iterator[Finding]:
    from sgopd.tracking import tracking_uri

    uri = tracking_uri()
    if uri.startswith("http"):
        yield _answers(
            "mlflow", uri.rstrip("/") + "/health", "points are kept in mlflow-spool/ until it is back (`sgopd sync`)"
        )
        return
    path = Path(urllib.parse.urlparse(uri).path.removeprefix("/") if uri.startswith("sqlite:///") else uri)
    folder = path if path.is_dir() else path.parent
    writable = os.access(folder, os.W_OK)
    yield Finding("good" if writable else "bad", "mlflow", uri + ("" if writable else f": {folder} cannot be written"))


def _dvc() -> Iterator[Finding]:
    config = configparser.ConfigParser()
    config.read([Path(".dvc/config"), Path(".dvc/config.local")])
    name = config.get("core", "remote", fallback="").strip("\"'")
    url = config.get(f"'remote \"{name}\"'", "url", fallback="")
    if not url:
        yield Finding(
            "doubtful", "dvc", "no default remote: `dvc push` has nowhere to go (`dvc remote add -d NAME URL`)"
        )
    elif "://" in url:
        yield Finding("doubtful", "dvc", f"remote {name}: {url} was not asked; `dvc status --cloud` does")
    else:
        folder = (Path(".dvc") / url).resolve()
        there = folder.is_dir() and os.access(folder, os.W_OK)
        yield Finding(
            "good" if there else "doubtful", "dvc", f"remote {name}: {url}" + ("" if there else " is not there yet")
        )


def _answers(about: str, url: str, otherwise: str) -> Finding:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S):  # noqa: S310 - an address of the user's own settings
            return Finding("good", about, f"{url} answers")
    except (urllib.error.URLError, TimeoutError, OSError, ValueError) as error:
        return Finding("bad", about, f"{url} does not answer ({error}): {otherwise}")
