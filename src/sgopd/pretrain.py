"""The embedded models: a tiny Qwen3 with a real tokenizer, trained here on synthetic solutions until the skill is there.

In: a ``Recipe``. Out: a folder that transformers loads like any hub model (safetensors, tokenizer files, chat template).
Resumes from its newest checkpoint. Knows no distillation.
"""

import logging
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from sgopd.errors import NotFinite
from sgopd.progress import Reporter, track
from sgopd.prompts.synthetic import Chain, Writer, ascending, draw
from sgopd.store import clear, finish, is_complete, stream, stream_seed

if TYPE_CHECKING:
    from sgopd.config import Study
    from sgopd.training.checkpoint import Checkpoints, Progress

logger = logging.getLogger(__name__)

PIECES = ["<pad>", "<|im_start|>", "<|im_end|>", "user", "assistant", "\n", "Compute ", "\\boxed{", "}"]
CHARACTERS = list("0123456789+-=,")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
IGNORED = -100
CHECKPOINT_EVERY = 100  # steps, about 20 s


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Lesson(_Part):
    """A stretch of training on solutions written in one way."""

    steps: int = Field(ge=1, description="Optimiser steps, each on fresh problems.")
    lr: float = Field(2e-3, gt=0, description="Peak learning rate; linear warm-up over 5 %, cosine to a tenth.")
    terse: float = Field(0.0, ge=0, le=1, description="Share of solutions in the terse style (the cold-start gap).")
    step_error: float = Field(0.0, ge=0, le=1, description="Chance of a random error per step (noise over the skill).")
    flaw: float = Field(0.0, ge=0, le=1, description="Chance that a step -7 is computed as -6 (the teacher's flaw).")


class Recipe(_Part):
    """A tiny Qwen3 model and the lessons that train it."""

    kind: Literal["embedded"] = Field("embedded", description="Marks a model that the pipeline trains itself.")
    hidden: int = Field(64, ge=8, description="Hidden size.")
    layers: int = Field(2, ge=1, description="Transformer layers.")
    heads: int = Field(4, ge=1, description="Attention heads (half as many key-value heads).")
    operations: tuple[int, int] = Field((4, 6), description="Fewest and most operations of a training problem.")
    batch: int = Field(64, ge=1, description="Solutions per step.")
    lessons: tuple[Lesson, ...] = Field(min_length=1, description="Trained one after the other.")

    @field_validator("operations")
    @classmethod
    def _ascending(cls, value: tuple[int, int]) -> tuple[int, int]:
        return ascending(value)

    @model_validator(mode="after")
    def _heads_fit(self) -> "Recipe":
        if self.hidden % (2 * self.heads) or (self.heads > 1 and self.heads % 2):
            raise ValueError(
                f"heads ({self.heads}) must be 1 or even, and hidden ({self.hidden}) a multiple of 2 x heads"
            )
        return self


def build_tokenizer() -> Any:
    """A real fast tokenizer over 23 pieces; every text of the synthetic task is tokenized without loss."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {piece: i for i, piece in enumerate(PIECES + CHARACTERS)}
    pattern = "|".join(re.escape(piece) for piece in sorted(vocabulary, key=len, reverse=True))
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<|im_end|>",  # noqa: S106
        additional_special_tokens=["<|im_start|>"], chat_template=CHAT_TEMPLATE, clean_up_tokenization_spaces=False,
    )  # fmt: skip


def build_model(recipe: Recipe, tokenizer: Any, seed: int) -> Any:
    """A Qwen3 of the recipe's shape with random weights."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=48, hidden_size=recipe.hidden, intermediate_size=3 * recipe.hidden, num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads, num_key_value_heads=max(recipe.heads // 2, 1), head_dim=recipe.hidden // recipe.heads,
        max_position_embeddings=512, tie_word_embeddings=True, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen3ForCausalLM(config)


def train_model(study: "Study", role: Literal["teacher", "student"], out: Path | None = None) -> Path:
    """Train one of the study's embedded models; returns its folder. A complete one is left alone."""
    from transformers.utils import logging as transformers_logging

    from sgopd.artefacts import Artefacts

    transformers_logging.disable_progress_bar()
    artefact = Artefacts(study).model(role)
    folder = out or artefact.folder
    if is_complete(folder, artefact.fingerprint):
        logger.info("%s is complete", folder)
        return folder
    from sgopd.training.checkpoint import Checkpoints

    checkpoints = Checkpoints(artefact.partial)
    tokenizer = build_tokenizer()
    model = _taught(study, role, tokenizer, checkpoints)
    clear(folder)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    finish(folder, artefact.kind, artefact.fingerprint, artefact.inputs, stats={"parameters": model.num_parameters()})
    checkpoints.remove()
    return folder


def _taught(study: "Study", role: Literal["teacher", "student"], tokenizer: Any, checkpoints: "Checkpoints") -> Any:
    """The model after all its lessons, beginning where a process that was stopped left it."""
    import torch

    from sgopd.models import load_model
    from sgopd.training.checkpoint import Progress

    recipe: Recipe = getattr(study.models, role)
    newest = checkpoints.newest()
    if newest:
        progress = checkpoints.read_progress(newest)
        logger.info("training of the %s goes on from step %d", role, progress.step)
        model = load_model(newest / "model", dtype=torch.float32, device="cpu").train()
    else:
        progress = Progress(step=0)
        model = build_model(recipe, tokenizer, stream_seed(study.seed, "weights"))
    first = 0
    for number, lesson in enumerate(recipe.lessons, 1):
        if progress.step < first + lesson.steps:
            title = f"train {role}, lesson {number}/{len(recipe.lessons)}"
            random = stream(study.seed, "lesson", number)
            writer = Writer(lesson.terse, lesson.step_error, lesson.flaw)
            batches = _Batches(tokenizer, recipe, writer, random, study.models.prompt_template)
            _teach(model, lesson, batches, first, progress, newest, checkpoints, title)
        first += lesson.steps
    return model


def _teach(
    model: Any,
    lesson: Lesson,
    batches: "_Batches",
    first: int,
    progress: "Progress",
    newest: Path | None,
    checkpoints: "Checkpoints",
    title: str,
) -> None:
    """One lesson, whose first step is number ``first`` of all: AdamW on fresh problems of the train split, one batch per step."""
    import torch

    from sgopd.training.checkpoint import load_optimiser

    optimiser = torch.optim.AdamW(model.parameters(), lr=lesson.lr, betas=(0.9, 0.98), weight_decay=0.01)
    if newest and progress.step > first:
        load_optimiser(optimiser, newest)
        batches.random.bit_generator.state = progress.random
    reporter = Reporter()
    for step in track(
        range(progress.step - first, lesson.steps), title, lesson.steps + first - progress.step, reporter
    ):
        optimiser.param_groups[0]["lr"] = lesson.lr * _lr_factor(step / lesson.steps)
        loss = _loss(model, *batches.next())
        optimiser.zero_grad(set_to_none=True)
        if not torch.isfinite(loss):
            raise NotFinite(f"{title}: the loss is {loss.item()}. Lower the lr of the lesson under models.")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        reporter.report(loss=loss.item())
        progress.step += 1
        if progress.step % CHECKPOINT_EVERY == 0:
            progress.random = batches.random.bit_generator.state
            checkpoints.save(model, optimiser, progress)


def _loss(model: Any, ids: Any, labels: Any) -> Any:
    """Mean negative log-prob of the taught tokens; ids and labels [B, T]."""
    import torch

    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    taught = labels[:, 1:] != IGNORED
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[taught]), labels[:, 1:][taught])


def _lr_factor(done: float) -> float:
    """Linear warm-up over the first 5 %, then cosine to a tenth."""
    return min(done / 0.05 + 0.02, 1.0) * (0.55 + 0.45 * math.cos(math.pi * done))


@dataclass
class _Batches:
    """Solutions to fresh problems as training batches, drawn from ``random``."""

    tokenizer: Any
    recipe: Recipe
    writer: Writer
    random: Any
    template: str

    def next(self) -> tuple[Any, Any]:
        """Token ids and labels [B, T], padded on the right; only the solution and its EOS are learned."""
        import torch

        rows = [self._row() for _ in range(self.recipe.batch)]
        width = max(len(prompt) + len(solution) for prompt, solution in rows)
        ids = torch.full((len(rows), width), self.tokenizer.pad_token_id)
        labels = torch.full((len(rows), width), IGNORED)
        for i, (prompt, solution) in enumerate(rows):
            ids[i, : len(prompt) + len(solution)] = torch.tensor(prompt + solution)
            labels[i, len(prompt) : len(prompt) + len(solution)] = torch.tensor(solution)
        return ids, labels

    def _row(self) -> tuple[list[int], list[int]]:
        """Token ids of a prompt of the train split and of its solution."""
        from sgopd.models import render_prompt

        chain: Chain | None = None
        while chain is None or chain.split != "train":
            fewest, most = self.recipe.operations
            chain = draw(self.random, int(self.random.integers(fewest, most + 1)))
        prompt = render_prompt(self.tokenizer, chain.problem, self.template)
        solution = self.tokenizer(self.writer.solution(chain, self.random), add_special_tokens=False)["input_ids"]
        return prompt, [*solution, self.tokenizer.eos_token_id]
