"""A few updates of a tiny model, as one process or as several: torchrun tests/training/some_steps.py OUT [RESUME]."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import Qwen3Config, Qwen3ForCausalLM

from sgopd.config import Sampling, Training
from sgopd.engines.base import Rollout
from sgopd.engines.torch_engine import TorchEngine
from sgopd.prompts.render import Prompt
from sgopd.training import distributed
from sgopd.training.adapters import add_adapters, plain_weights
from sgopd.training.batch import Batch, length_mask, pad
from sgopd.training.checkpoint import Checkpoints, Progress, load_adapters, load_optimiser
from sgopd.training.data import TeacherSample
from sgopd.training.student import Follower
from sgopd.training.update import clipped_step, imitation_gradient, own_logprobs, policy_gradient
from sgopd.verifier import Verdict

VOCABULARY = 32


def build(lora: bool = False, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, tie_word_embeddings=True, max_position_embeddings=64, initializer_range=0.3,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config)
    return add_adapters(model, 4, 8.0, seed=0) if lora else model


def batch(seed: int) -> Batch:
    """Seven ragged rollouts: no multiple of two."""
    random = torch.Generator().manual_seed(seed)

    def tokens(count: int) -> list[int]:
        return torch.randint(3, VOCABULARY, (count,), generator=random).tolist()

    responses = [tokens(count) for count in (5, 9, 2, 7, 1, 12, 4)]
    prompts = [Prompt(str(i), tokens(2 + i), [], "", "", 0.0) for i in range(len(responses))]
    logp = pad([[-2.0 - 0.1 * t for t in range(len(r))] for r in responses])
    return Batch(
        prompts, [Rollout(r, [], "stop") for r in responses], [Verdict("correct", "", "") for _ in responses],
        group_id=torch.arange(len(responses)), mask=length_mask(responses), logp_s=logp, logp_t=logp, logp_ref=None,
    )  # fmt: skip


def run(out: Path, resume: Path | None = None, lora: bool = False, steps: int = 2) -> None:
    """Writes gradients of the first step, metrics of all, samples and scores at the end, and a checkpoint after them."""
    model = build(lora)
    if resume and lora:
        load_adapters(model, resume)
    elif resume:
        model = Qwen3ForCausalLM.from_pretrained(resume / "model", dtype=torch.float32)
    model.train()
    if distributed.world() > 1:
        distributed.shard(model, torch.float32)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    if resume:
        load_optimiser(optimiser, resume)
    training = Training(micro_batch_tokens=24)
    metrics = []
    for step in range(steps):
        rollouts = batch(step + (10 if resume else 0))
        advantage = torch.linspace(-1, 1, rollouts.mask.numel()).reshape(rollouts.mask.shape)
        parts = policy_gradient(model, rollouts, range(7), advantage, training, pad_id=0)
        samples = [
            TeacherSample(p, np.array(r.token_ids), np.array(r.logprobs), r.finish_reason, v)
            for p, r, v in zip(rollouts.prompts, rollouts.rollouts, rollouts.verdicts, strict=True)
        ]
        parts |= imitation_gradient(model, samples[:3], 4, 0.5, token_budget=24, pad_id=0)
        gradients = {n: distributed.whole(p.grad).clone() for n, p in model.named_parameters() if p.grad is not None}
        if step == 0 and distributed.first():
            out.mkdir(parents=True, exist_ok=True)
            save_file(gradients, out / "gradients.safetensors")
        metrics.append(parts | {"grad_norm": clipped_step(model, optimiser, 1e-2, 1.0)})
    Checkpoints(out).save(model, optimiser, Progress(step=steps))
    sampled, scores = _sampled(model)
    own = own_logprobs(model, batch(0), 24, pad_id=0).tolist()
    weights = {name: weight.clone() for name, weight in plain_weights(model)}
    if distributed.first():
        save_file(weights, out / "weights.safetensors")
        (out / "result.json").write_text(
            json.dumps({"metrics": metrics, "sampled": sampled, "scores": scores, "own": own})
        )


def _sampled(model: Any) -> tuple[list[list[int]], list[list[float]]]:
    """From an engine of its own that takes over the weights, the work dealt to all processes."""
    engine = distributed.SharedWork(TorchEngine(build(seed=1).eval(), 2, 0))
    follower, prompts = Follower(engine, model), [[3, 4, 5], [6], [7, 8], [9] * 5, [4]]
    settings = SimpleNamespace(**Sampling(max_new_tokens=6).model_dump())
    rollouts = follower.sample(prompts, settings, range(5))  # type: ignore[arg-type]
    return [r.token_ids for r in rollouts], follower.score(prompts, [r.token_ids for r in rollouts])


if __name__ == "__main__":
    distributed.start()
    torch.set_num_threads(1)
    run(Path(sys.argv[1]) / "full", Path(sys.argv[2]) / "full/step0000002")
    run(Path(sys.argv[1]) / "start")
    if len(sys.argv) > 3:
        run(Path(sys.argv[1]) / "lora", lora=True)
        run(Path(sys.argv[1]) / "lora-on", Path(sys.argv[2]) / "lora/step0000002", lora=True)
