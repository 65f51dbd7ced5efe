"""The models of a study, loaded together and checked against each other before any work starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sgopd.artefacts import Artefacts
from sgopd.config import HubModel
from sgopd.engines.torch_engine import TorchEngine
from sgopd.models import check_compatible, load_model, load_tokenizer


@dataclass(frozen=True)
class Pair:
    """Student with gradient; teacher and reference policy as frozen engines, None where a stage does not need them."""

    student: Any
    tokenizer: Any
    teacher_tokenizer: Any
    teacher: TorchEngine | None
    reference: TorchEngine | None

    @property
    def teacher_engine(self) -> TorchEngine:
        """The teacher, where the stage asked for it."""
        if self.teacher is None:
            raise ValueError("this stage loaded the models without the teacher")
        return self.teacher

    @property
    def eos_id(self) -> int:
        return int(self.tokenizer.eos_token_id)

    @property
    def pad_id(self) -> int:
        return int(self.tokenizer.pad_token_id)


def load_pair(artefacts: Artefacts, *, weights: Path | None, teacher: bool, reference: bool) -> Pair:
    """Load what a stage needs. ``weights``: the student's weights so far; None for the initial student.

    Raises UserError when the tokenizers of student and teacher differ.
    """
    models = artefacts.study.models
    initial, taught = artefacts.model("student"), artefacts.model("teacher")
    tokenizer, teacher_tokenizer = load_tokenizer(initial.folder), load_tokenizer(taught.folder)
    check_compatible(tokenizer, teacher_tokenizer)

    def load(path: Path | str, role: Any) -> Any:
        revision = role.revision if isinstance(role, HubModel) else None
        return load_model(path, dtype=getattr(torch, models.dtype), revision=revision)

    def frozen(path: Path | str, role: Any) -> TorchEngine:
        model = load(path, role).eval().requires_grad_(False)
        return TorchEngine(model, int(tokenizer.eos_token_id), int(tokenizer.pad_token_id))

    ref = models.reference
    return Pair(
        student=load(weights, None) if weights else load(initial.folder, models.student),
        tokenizer=tokenizer,
        teacher_tokenizer=teacher_tokenizer,
        teacher=frozen(taught.folder, models.teacher) if teacher else None,
        reference=frozen(*((initial.folder, models.student) if isinstance(ref, str) else (ref.path, ref)))
        if reference
        else None,
    )
