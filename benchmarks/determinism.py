"""What the last bits of training depend on: threads, batch size of the engine, size of a micro-batch. Prints a Markdown table.

    python benchmarks/determinism.py

Takes the student of configs/tiny.yaml with random weights (the question is arithmetic, not skill) and compares rollouts, log-probs
and the gradient of one batch of 128 rollouts with those of one thread, engine batches of 256 and micro-batches of 16,384 tokens.
"""

from pathlib import Path
from typing import Any

import torch

from sgopd.engines.forward import micro_batches, response_logprobs
from sgopd.engines.torch_engine import TorchEngine
from sgopd.models import render_prompt
from sgopd.pretrain import build_model, build_tokenizer
from sgopd.prompts.synthetic import problems
from sgopd.study_files import load_study
from sgopd.training.batch import length_mask, unflatten

GROUP = 4


def main() -> None:
    study = load_study(Path("configs/tiny.yaml"))
    tokenizer = build_tokenizer()
    model = build_model(study.models.student, tokenizer, 0)  # type: ignore[arg-type]
    chains = problems(0, "train", 32, (3, 7))
    prompts = [render_prompt(tokenizer, chain.problem, "{problem}") for chain in chains for _ in range(GROUP)]

    def everything(threads: int, batch_size: int, budget: int) -> dict[str, Any]:
        torch.set_num_threads(threads)
        engine = TorchEngine(model, tokenizer.eos_token_id, tokenizer.pad_token_id, batch_size=batch_size)
        rollouts = engine.sample(prompts, study.training.sampling, list(range(len(prompts))))
        responses = [rollout.token_ids for rollout in rollouts]
        scores = engine.score(prompts, responses)
        model.zero_grad()
        lengths = [len(p) + len(r) for p, r in zip(prompts, responses, strict=True)]
        for picked in micro_batches(lengths, budget):
            parts = [responses[i] for i in picked]
            flat, _ = response_logprobs(model, [prompts[i] for i in picked], parts, tokenizer.pad_token_id)
            (unflatten(flat, length_mask(parts)).sum() / len(prompts)).backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
        return {
            "tokens": responses, "sampled": torch.tensor([x for r in rollouts for x in r.logprobs]),
            "scored": torch.tensor([x for score in scores for x in score]), "gradient": gradient.clone(),
        }  # fmt: skip

    base = everything(1, 256, 16_384)
    cases = {
        "the same again": (1, 256, 16_384), "2 threads": (2, 256, 16_384), "engine batches of 16": (1, 16, 16_384),
        "engine batches of 1": (1, 1, 16_384), "micro-batches of 1,024 tokens": (1, 256, 1024),
    }  # fmt: skip
    print(
        "| against 1 thread, batches of 256, micro-batches of 16,384 | tokens | sampled log-probs | scored log-probs | gradient |"
    )
    print("|---|---|---:|---:|---:|")
    for name, settings in cases.items():
        found = everything(*settings)
        same = found["tokens"] == base["tokens"]
        gaps = [_gap(found[key], base[key]) if same else "" for key in ("sampled", "scored", "gradient")]
        print(f"| {name} | {'same' if same else 'other'} | " + " | ".join(gaps) + " |")


def _gap(a: torch.Tensor, b: torch.Tensor) -> str:
    """Largest difference, relative to the largest value."""
    return "same bits" if torch.equal(a, b) else f"{((a - b).abs().max() / b.abs().max()).item():.0e}"


if __name__ == "__main__":
    main()
