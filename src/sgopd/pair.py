"""The models of a study: both tokenizers, checked against each other before any work starts, and the engines that run them.

Which engine runs what is decided here and nowhere else. Knows no stage.
"""

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sgopd.artefacts import Artefacts, Role
from sgopd.config import HubModel, Study
from sgopd.engines.base import Engine, LiveEngine
from sgopd.models import check_compatible, end_of_turn, load_model, load_tokenizer, own_device, real_tokens

logger = logging.getLogger(__name__)

Source = tuple[Path | str, str | None]  # folder or hub name, revision


@dataclass(frozen=True)
class Pair:
    """The tokenizers of student and teacher."""

    tokenizer: Any
    teacher_tokenizer: Any

    @property
    def eos_id(self) -> int:
        """The token that ends a response."""
        return end_of_turn(self.tokenizer)

    @property
    def pad_id(self) -> int:
        return int(self.tokenizer.pad_token_id)

    @property
    def vocabulary(self) -> int:
        """Number of real tokens, the same for both; rows of a model beyond it are padding."""
        return real_tokens(self.tokenizer)


def load_pair(artefacts: Artefacts) -> Pair:
    """Both tokenizers. Raises UserError when those of student and teacher differ."""
    pair = Pair(load_tokenizer(*artefacts.source("student")), load_tokenizer(*artefacts.source("teacher")))
    check_compatible(pair.tokenizer, pair.teacher_tokenizer)
    return pair


class Engines:
    """The engines of a study; each call loads a model."""

    def __init__(self, artefacts: Artefacts, pair: Pair) -> None:
        self.artefacts, self.study, self.pair = artefacts, artefacts.study, pair

    def trained(self, weights: Path | None) -> Any:
        """The student as a model to be trained; ``weights``: its folder so far, None for the initial student."""
        import torch

        path, revision = (weights, None) if weights else self.artefacts.source("student")
        return load_model(path, dtype=torch.float32, revision=revision)

    def sampler(self, source: Source, share: float = 1.0) -> Engine:
        """An engine for rollouts of fixed weights. ``share``: of engine.memory_share."""
        return self._torch(source) if self.study.engine.kind == "torch" else self._vllm(source, share)

    def teacher_scorer(self) -> Engine:
        """What scores with the teacher, as ``engine.teacher`` says."""
        where = self.study.engine.teacher
        if where == "torch":
            return self._torch(self.artefacts.source("teacher"))
        if where == "vllm":
            return self._vllm(self.artefacts.source("teacher"))
        from sgopd.engines.server_engine import ServerEngine

        return ServerEngine(where, self.pair.eos_id, self.pair.vocabulary)

    def reference(self) -> Engine:
        """pi_ref, frozen, beside the student."""
        reference = self.study.models.reference
        return self._torch(
            (reference.path, reference.revision) if isinstance(reference, HubModel) else self.artefacts.source("student")
        )

    def _torch(self, source: Source) -> Engine:
        import torch

        path, revision = source
        model = load_model(path, dtype=getattr(torch, self.study.models.dtype), revision=revision)
        return self.over(model.eval().requires_grad_(False))

    def over(self, model: Any) -> LiveEngine:
        """The torch engine over a model that is already there."""
        from sgopd.engines.torch_engine import TorchEngine

        return TorchEngine(model, self.pair.eos_id, self.pair.pad_id, self.pair.vocabulary)
