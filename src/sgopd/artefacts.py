"""Where every artefact of a study lies and its fingerprint: the hash of exactly what it depends on.

In: a Study. Out: ``Artefact(folder, fingerprint, inputs)`` per stage. Both the Snakefile and the stages ask here, so that
they cannot disagree. Shared artefacts (models, prompts, rollouts, verdicts) lie under data/<kind>/<fingerprint>.
"""

import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from sgopd.config import HubModel, Study, Training
from sgopd.errors import UserError
from sgopd.prompts.sources import FileSource
from sgopd.store import alone, checksum, fingerprint, verified

# Raise a number when the stage's code changes what it writes: every artefact of that kind is then made again.
VERSIONS = {"model": 1, "prompts": 1, "rollouts": 2, "verdicts": 1, "distil": 2, "evaluation": 2, "comparison": 1}

# Keys that change speed or memory but not what is written.
_NO_EFFECT = {"checkpoint_every", "gradient_checkpointing"}
# Keys that count only where they are not at their default, whose artefacts have always been named without them. The size of a
# micro-batch changes the last bits of the gradient (docs/reliability.md).
_IF_CHANGED = {"lora", "micro_batch_tokens"}

Role = Literal["teacher", "student"]
PHASES = (1, 2, 3)


@dataclass(frozen=True)
class Artefact:
    """A folder with a manifest; ``inputs`` maps the kind of each input to its fingerprint."""

    kind: str
    folder: Path
    fingerprint: str
    inputs: dict[str, str]

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.json"

    @property
    def partial(self) -> Path:
        """Shards or checkpoints of the unfinished artefact; outside the folder so that they survive its removal."""
        return self.folder.parent / f".{self.folder.name}.{self.fingerprint}.partial"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While it is held, no other process makes this artefact; once it is complete, what was partial goes. Processes that
        torchrun started are one."""
        if os.environ.get("RANK", "0") != "0" or not os.access(_nearest(self.folder), os.W_OK):
            yield
            return
        with alone(self.folder.parent / f".{self.folder.name}.lock"):
            yield
            if self.manifest.is_file():
                for leftover in self.folder.parent.glob(f".{glob.escape(self.folder.name)}.*.partial"):
                    shutil.rmtree(leftover, ignore_errors=True)

    def checked(self) -> Path:
        """Its folder, to be read from: every file was compared with its checksum (``store.verified``)."""
        return verified(self.folder, self.fingerprint) if os.environ.get("RANK", "0") == "0" else self.folder


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(place for place in (folder, *folder.absolute().parents) if place.is_dir())


class Artefacts:
    """All artefacts of one study."""

    def __init__(self, study: Study, data: Path = Path("data")) -> None:
        self.study, self.data, self.results = study, data, Path(study.results)

    def _shared(self, kind: str, inputs: dict[str, str], **settings: Any) -> Artefact:
        digest = fingerprint(kind, VERSIONS[kind], inputs=inputs, **settings)
        return Artefact(kind, self.data / (kind if kind.endswith("s") else f"{kind}s") / digest, digest, inputs)

    def model(self, role: Role) -> Artefact:
        """A model of the pair; for one that is not trained by the pipeline, its folder or hub name as it stands."""
        config = getattr(self.study.models, role)
        if isinstance(config, HubModel):
            digest = fingerprint(
                "model", VERSIONS["model"], **config.model_dump(), files=_weights_on_disk(Path(config.path))
            )
            return Artefact("model", Path(config.path), digest, {})
        return self._shared("model", {}, recipe=config.model_dump(mode="json"), seed=self.study.seed)

    def source(self, role: Role) -> tuple[Path, str | None]:
        """Folder or hub name of a model of the pair, and its revision on the hub."""
        config = getattr(self.study.models, role)
        if isinstance(config, HubModel):
            return Path(config.path), config.revision
        return self.model(role).checked(), None

    def shared(self, kind: str) -> Artefact:
        """The shared artefact of this kind: teacher, student, prompts, rollouts or verdicts."""
        if kind in ("teacher", "student"):
            return self.model("teacher" if kind == "teacher" else "student")
        return {"prompts": self.prompts, "rollouts": self.rollouts, "verdicts": self.verdicts}[kind]

    def trains(self, role: Role) -> bool:
        """Whether the pipeline trains this model itself (from a recipe) or takes it as it is."""
        return not isinstance(getattr(self.study.models, role), HubModel)

    @cached_property
    def prompts(self) -> Artefact:
        prompts = self.study.prompts.model_dump(mode="json")
        tokenizer = {"student": self.model("student").fingerprint}  # prompt lengths are counted in its tokens
        return self._shared("prompts", tokenizer, prompts=prompts, files=self._prompt_files(),
                            template=self.study.models.prompt_template, seed=self.study.seed)  # fmt: skip

    def _prompt_files(self) -> dict[str, str]:
        """Checksums of the local files that problems come from."""
        sources = self.study.prompts
        found = {}
        for source in (sources.train, sources.validation, *sources.benchmarks.values()):
            if isinstance(source, FileSource):
                if not source.path.is_file():
                    raise UserError(f"prompts: {source.path}: no such file; give a .jsonl, .jsonl.gz or .parquet file.")
                found[str(source.path)] = checksum(source.path)
        return found

    @cached_property
    def rollouts(self) -> Artefact:
        inputs = {"prompts": self.prompts.fingerprint, "teacher": self.model("teacher").fingerprint}
        rollouts = self.study.rollouts.model_dump(mode="json", exclude={"shard_prompts"})
        return self._shared("rollouts", inputs, rollouts=rollouts, dtype=self.study.models.dtype,
                            template=self.study.models.prompt_template, seed=self.study.seed, **self._engine)  # fmt: skip

    @property
    def _engine(self) -> dict[str, str]:
        """The engine, unless it is the one whose artefacts have always been named without it."""
        return {} if self.study.engine.kind == "torch" else {"engine": self.study.engine.kind}

    @cached_property
    def verdicts(self) -> Artefact:
        timeout = self.study.verifier.timeout_s
        return self._shared("verdicts", {"rollouts": self.rollouts.fingerprint}, timeout_s=timeout)

    def phase(self, method: str, seed: int, phase: int) -> Artefact:
        """Phase I, II or III of one run."""
        training = self.study.runs[method]
        at_default = {key for key in _IF_CHANGED if getattr(training, key) == Training.model_fields[key].default}
        settings = training.model_dump(mode="json", exclude=_NO_EFFECT | at_default)
        inputs = {
            "prompts": self.prompts.fingerprint,
            "teacher": self.model("teacher").fingerprint,
            "student": self.model("student").fingerprint,
        }
        if uses_cache(training):
            inputs["verdicts"] = self.verdicts.fingerprint
        if phase > 1:
            inputs["previous"] = self.phase(method, seed, phase - 1).fingerprint
        digest = fingerprint("distil", VERSIONS["distil"], inputs=inputs, training=settings, phase=phase, seed=seed,
                             models=self.study.models.model_dump(mode="json", include={"reference", "dtype", "prompt_template"}),
                             study_seed=self.study.seed, **self._engine)  # fmt: skip
        return Artefact("distil", self.results / "runs" / method / f"seed{seed}" / f"phase{phase}", digest, inputs)

    def final_model(self, method: str, seed: int) -> Artefact:
        """The model that evaluation judges: a run's phase III, or one of the pair for the reference rows."""
        if method in ("teacher", "student"):
            return self.model("teacher" if method == "teacher" else "student")
        return self.phase(method, seed, 3)

    def evaluation(self, method: str, seed: int) -> Artefact:
        inputs = {"prompts": self.prompts.fingerprint, "model": self.final_model(method, seed).fingerprint}
        settings = self.study.evaluation.model_dump(mode="json", include={"samples", "sampling"})
        digest = fingerprint("evaluation", VERSIONS["evaluation"], inputs=inputs, settings=settings, seed=seed,
                             study_seed=self.study.seed, dtype=self.study.models.dtype, **self._engine)  # fmt: skip
        return Artefact("evaluation", self.results / "evaluations" / method / f"seed{seed}", digest, inputs)

    @cached_property
    def comparison(self) -> Artefact:
        inputs = {f"{method}/{seed}": self.evaluation(method, seed).fingerprint for method, seed in self.evaluated()}
        settings = self.study.evaluation.model_dump(mode="json")
        digest = fingerprint("comparison", VERSIONS["comparison"], inputs=inputs, settings=settings,
                             baseline=self.study.baseline, seed=self.study.seed)  # fmt: skip
        return Artefact("comparison", self.results / "tables", digest, inputs)

    def evaluated(self) -> Iterator[tuple[str, int]]:
        """(method, seed) of every evaluation: the reference rows once, every method at every seed."""
        yield from (("teacher", 0), ("student", 0))
        yield from ((method, seed) for method in self.study.methods for seed in self.study.seeds)


def uses_cache(training: Training) -> bool:
    """Whether a run reads the teacher's cached rollouts."""
    return training.objective.rule == "sft" or training.teacher_sampling.schedule != "off"


def _weights_on_disk(folder: Path) -> dict[str, int]:
    """Name and size of a local model's files; empty for a hub name, which its revision pins."""
    return (
        {path.name: path.stat().st_size for path in sorted(folder.glob("*")) if path.is_file()}
        if folder.is_dir()
        else {}
    )
