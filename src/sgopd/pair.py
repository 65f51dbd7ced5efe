"""The models of a study: both tokenizers, checked against each other before any work starts, and the engines that run them.

Which engine runs what is decided here and nowhere else. Knows no stage.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sgopd.artefacts import Artefacts
from sgopd.config import HubModel, Study
from sgopd.engines.base import Engine, LiveEngine
from sgopd.models import check_compatible, end_of_turn, load_model, load_tokenizer, real_tokens

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

    @property
    def tensor_parallel(self) -> int:
        """Processes that form one engine for sampling."""
        return self.study.engine.tensor_parallel if self.study.engine.kind == "vllm" else 1

    def trained(self, weights: Path | None) -> Any:
        """The student as a model to be trained, its weights in float32 and still on the CPU. ``weights``: its folder so far, None
        for the initial student. In bfloat16 an update of lr 1e-5 would vanish in rounding."""
        import torch

        path, revision = (weights, None) if weights else self.artefacts.source("student")
        return load_model(path, dtype=torch.float32, revision=revision, device="cpu")

    def sampler(self, source: Source) -> LiveEngine:
        """What samples with the model in this folder or under this hub name, as ``engine.kind`` says."""
        return self.frozen(source) if self.study.engine.kind == "torch" else self._vllm(source)

    def teacher_scorer(self) -> Engine:
        """What scores with the teacher, as ``engine.teacher`` says."""
        where = self.study.engine.teacher
        if where == "torch":
            return self.frozen(self.artefacts.source("teacher"))
        if where == "vllm":
            return self._vllm(self.artefacts.source("teacher"))
        from sgopd.engines.server_engine import ServerEngine

        return ServerEngine(where, self.pair.eos_id, self.pair.vocabulary)

    def reference(self) -> Engine:
        """pi_ref, frozen, beside the student."""
        reference = self.study.models.reference
        return self.frozen(
            (reference.path, reference.revision)
            if isinstance(reference, HubModel)
            else self.artefacts.source("student")
        )

    def _vllm(self, source: Source) -> LiveEngine:
        from sgopd.engines.vllm_engine import VllmEngine, VllmOptions

        settings = self.study.engine
        options = VllmOptions(
            max_length=settings.max_length or longest_text(self.study), dtype=self.study.models.dtype,
            tensor_parallel=settings.tensor_parallel, memory_share=settings.memory_share,
            score_tokens=settings.score_tokens, revision=source[1],
        )  # fmt: skip
        return VllmEngine(source[0], self.pair.eos_id, self.pair.vocabulary, options)

    def frozen(self, source: Source) -> LiveEngine:
        """The torch engine over weights that get no gradient."""
        import torch

        path, revision = source
        model = load_model(path, dtype=getattr(torch, self.study.models.dtype), revision=revision)
        return self.over(model.eval().requires_grad_(False))

    def over(self, model: Any) -> LiveEngine:
        """The torch engine over a model that is already there."""
        from sgopd.engines.torch_engine import TorchEngine

        return TorchEngine(model, self.pair.eos_id, self.pair.pad_id, self.pair.vocabulary)


def longest_text(study: Study) -> int:
    """Tokens of the longest prompt and response that any stage of the study can ask for, and one more that scoring needs."""
    samplings = [study.rollouts.sampling, study.evaluation.sampling, *(run.sampling for run in study.runs.values())]
    return study.prompts.max_prompt_tokens + max(sampling.max_new_tokens for sampling in samplings) + 1
