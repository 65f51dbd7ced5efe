"""The student being distilled: one method call per line of the algorithm - sample, verify, score, advantage, update.

In: step numbers. Out: metrics of the step. Holds models, optimiser and prompts; knows no files but those it loads at the
start, and no rule's formula.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from sgopd import objectives
from sgopd.artefacts import Artefacts, uses_cache
from sgopd.config import Training
from sgopd.engines.base import Rollout
from sgopd.errors import NotFinite
from sgopd.pair import Engines, load_pair
from sgopd.prompts.render import read_prompts
from sgopd.records import ROLLOUTS, VERDICTS
from sgopd.store import iterate_table, stream, stream_seed
from sgopd.training.batch import Batch, length_mask, pad
from sgopd.training.data import TeacherSample, order, teacher_samples
from sgopd.training.distributed import first, share
from sgopd.training.finite import check_batch, check_weights, save_evidence
from sgopd.training.judge import judge
from sgopd.training.student import Follower, student_engine, trained_student
from sgopd.training.update import clipped_step, divergence_gradient, imitation_gradient, own_logprobs, policy_gradient
from sgopd.verifier import VerifierOptions

VALIDATION = "validation/accuracy"
ROLLOUTS_SHOWN = 8  # rollouts per recorded step whose tokens the report colours


class Learner:
    """Student, teacher and reference policy with everything a step needs."""

    def __init__(self, artefacts: Artefacts, training: Training, seed: int, weights: Path | None) -> None:
        """``weights``: folder of the phase or checkpoint to go on from; None for the initial student."""
        self.training, self.seed = training, seed
        self.pair = load_pair(artefacts)
        engines, rule = Engines(artefacts, self.pair), training.objective.rule
        self.model = trained_student(engines, training, weights, seed)
        self.student = student_engine(engines, self.model)
        self.teacher = share(engines.teacher_scorer()) if rule != "sft" else None
        self.reference = share(engines.reference()) if objectives.needs_reference(rule) else None
        self.prompts = read_prompts(artefacts, "train", self.pair)
        self.validation = read_prompts(artefacts, "validation", self.pair)
        self.imitable = _imitable(engines, training, self.prompts)
        self.verifier = VerifierOptions(**artefacts.study.verifier.model_dump())
        settings = training.optimiser
        self.optimiser = torch.optim.AdamW(
            [parameter for parameter in self.model.parameters() if parameter.requires_grad],
            lr=settings.lr,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.seconds: dict[str, float] = defaultdict(float)
        # what the step under way works on
        self.batch: Batch | None = None
        self.imitated: list[TeacherSample] = []
        self.last: tuple[Batch, objectives.Advantage] | None = None

    def step(self, step: int) -> dict[str, float]:
        """One batch of rollouts (or, for sft, of teacher rollouts) and its updates; returns the step's metrics."""
        self.last, self.batch, self.imitated = None, None, []
        if self.training.objective.rule == "sft":
            metrics = self._imitate(step)
        else:
            self.batch = self.score(*self.rollouts(step))
            check_batch(self.batch)
            if self.training.objective.base == "sampled":
                self.last = self.batch, self.advantage(step, self.batch)
                metrics = self._update(step, self.batch, self.last[1])
            else:  # the loss reads no advantage; it and the gate's diagnostics share the teacher's forward pass
                metrics = self._update(step, self.batch, None)
                self.last = self.batch, self.advantage(step, self.batch)
            metrics |= self._batch_metrics(*self.last)
        check_weights(self.model)
        return metrics

    def save_evidence(self, step: int, error: NotFinite, folder: Path) -> None:
        """What the step that failed worked on; by the first process."""
        if first():
            advantage = self.last[1].values if self.last else None
            save_evidence(folder, step, error, self.batch, advantage, self.imitated)

    def rollouts(self, step: int) -> tuple[list[Any], list[Rollout]]:
        """B = P x G on-policy rollouts: the prompts (each repeated G times, group after group) and the responses.

        Seeds depend on the run's seed, step and place alone, so that methods share their random numbers.
        """
        count, size = self.training.prompts_per_step, self.training.group_size
        picked = order(self.seed, len(self.prompts), step * count, count)
        prompts = [self.prompts[i] for i in picked for _ in range(size)]
        seeds = [stream_seed(self.seed, "rollout", step, i) for i in range(len(prompts))]

        def begin_to_score(place: int, rollout: Rollout) -> None:
            if self.teacher:
                self.teacher.begin(prompts[place].teacher_ids, rollout.token_ids)

        with self._timed("rollout"):
            return prompts, self.student.sample(
                [p.token_ids for p in prompts], self.training.sampling, seeds, begin_to_score
            )

    def score(self, prompts: list[Any], rollouts: list[Rollout]) -> Batch:
        """Verdicts, and the log-probs of the sampled tokens under teacher and reference."""
        responses = [rollout.token_ids for rollout in rollouts]
        with self._timed("verify"):
            verdicts = judge(prompts, rollouts, self.pair.tokenizer, self.verifier)
        teacher, reference, mask = self.teacher, self.reference, length_mask(responses)
        assert teacher  # only sft, which scores nothing, has none
        with self._timed("score"):
            if self.training.objective.base == "sampled":
                logp_t = pad(teacher.score([prompt.teacher_ids for prompt in prompts], responses))
            else:
                logp_t = torch.zeros(mask.shape)  # comes with the update
            logp_ref = pad(reference.score([prompt.token_ids for prompt in prompts], responses)) if reference else None
        return Batch(
            prompts, rollouts, verdicts,
            group_id=torch.arange(len(prompts)) // self.training.group_size, mask=mask,
            logp_s=pad([rollout.logprobs for rollout in rollouts]), logp_t=logp_t, logp_ref=logp_ref,
        )  # fmt: skip

    def advantage(self, step: int, batch: Batch) -> objectives.Advantage:
        """Token advantages [B, T] of the method's rule."""
        objective, (B, T) = self.training.objective, batch.mask.shape
        batch = self._with_teacher(step, batch)
        options = dict(objective.options)
        if hasattr(
            objectives.options_for(objective.rule, **options), "seed"
        ):  # a control that draws at random: anew each step
            options["seed"] = stream_seed(self.seed, "rule", step)
        result = objectives.advantage(
            objective.rule, logp_s=batch.logp_s, logp_t=batch.logp_t, logp_ref=batch.logp_ref, reward=batch.reward,
            group_id=batch.group_id, mask=batch.mask, truncated=batch.truncated, **options,
        )  # fmt: skip
        return replace(
            result, values=result.values[:B, :T], gate=result.gate[:B, :T], group_advantage=result.group_advantage[:B]
        )

    def _with_teacher(self, step: int, batch: Batch) -> Batch:
        """The batch, and after it the teacher's rollouts where the schedule makes them members of the groups."""
        if not self.training.schedule().in_group(step, self.training.steps):
            return batch
        prompts = batch.prompts[:: self.training.group_size]
        members = [
            (g, sample) for g, prompt in enumerate(prompts) for sample in self.imitable.get(prompt.prompt_id, [])
        ]
        if not members:
            return batch
        asked = [sample.prompt.token_ids for _, sample in members]
        responses = [sample.response_ids for _, sample in members]
        with self._timed("score"):
            reference = self.reference.score(asked, responses) if self.reference else None
            return batch.joined(members, self.student.score(asked, responses), reference)

    def _update(self, step: int, batch: Batch, advantage: objectives.Advantage | None) -> dict[str, float]:
        """One update per mini-batch of whole groups; the teacher's rollouts enter with weight gamma(s).

        Without an advantage the loss is the study's base over the vocabulary, and the teacher's log-probs enter ``self.batch``.
        """
        gamma = self.training.schedule().gamma(step, self.training.steps)
        metrics: dict[str, float] = defaultdict(float)
        updates = self.training.updates_per_batch
        size = len(batch.prompts) // updates
        if updates > 1 and isinstance(self.student, Follower):
            budget = self.training.micro_batch_tokens
            batch = replace(batch, logp_old=own_logprobs(self.model, batch, budget, self.pair.pad_id))
        with self._timed("update"):
            for first in range(0, len(batch.prompts), size):
                rows = range(first, first + size)
                parts = self._gradient(batch, rows, advantage)
                if gamma > 0:
                    parts |= self._imitation(*self.imitable_of(step, batch, rows), gamma)
                parts["grad_norm"] = clipped_step(
                    self.model, self.optimiser, self._lr(step), self.training.optimiser.max_grad_norm
                )
                for name, value in parts.items():
                    metrics[name] += value if name.startswith("tokens/") else value / updates
        return {**metrics, "gamma": gamma}

    def _gradient(self, batch: Batch, rows: range, advantage: objectives.Advantage | None) -> dict[str, float]:
        if advantage is None:
            assert self.batch
            parts, logp_t = divergence_gradient(
                self.model, self.teacher_model(), batch, rows, self.training, self.pair.pad_id
            )
            self.batch = replace(self.batch, logp_t=self.batch.logp_t + logp_t)
            return parts
        values = advantage.values
        if self.training.objective.prompt_weighting == "paced":
            values = values * objectives.prompt_weight(batch.reward, batch.group_id)[:, None]
        return policy_gradient(self.model, batch, rows, values, self.training, self.pair.pad_id)

    def teacher_model(self) -> Any:
        """The teacher's model itself, for a loss over the whole vocabulary (the study makes sure that it is in this process)."""
        engine: Any = self.teacher
        return getattr(engine, "engine", engine).model

    def imitable_of(self, step: int, batch: Batch, rows: range) -> tuple[list[TeacherSample], int]:
        """V at the prompts of these rollouts, each prompt once, thinned to the schedule's share; its size before that."""
        share = self.training.schedule().share(step, self.training.steps)
        draws = stream(self.seed, "share", step).random(len(batch.prompts))
        drawn: dict[str, float] = {}
        for i in rows:
            drawn.setdefault(batch.prompts[i].prompt_id, draws[i])
        candidates = [(sample, draw) for name, draw in drawn.items() for sample in self.imitable.get(name, [])]
        return [sample for sample, draw in candidates if draw < share], len(candidates)

    def _imitation(self, samples: list[TeacherSample], total: int, weight: float) -> dict[str, float]:
        budget, self.imitated = self.training.micro_batch_tokens, samples
        metrics = imitation_gradient(self.model, samples, total, weight, budget, self.pair.pad_id)
        return metrics | {"tokens/teacher": float(sum(len(sample.response_ids) for sample in samples))}

    def _imitate(self, step: int) -> dict[str, float]:
        """SFT on V: as many sequences per step as the other methods have rollouts."""
        pool = [sample for samples in self.imitable.values() for sample in samples]
        size = self.training.prompts_per_step * self.training.group_size
        picked = [pool[i] for i in order(self.seed, len(pool), step * size, size)]
        with self._timed("update"):
            metrics = self._imitation(picked, size, weight=1.0)
            metrics["grad_norm"] = clipped_step(
                self.model, self.optimiser, self._lr(step), self.training.optimiser.max_grad_norm
            )
        return metrics

    def _lr(self, step: int) -> float:
        settings = self.training.optimiser
        return settings.lr * min(1.0, (step + 1) / max(settings.warmup_steps, 1))

    @torch.no_grad()
    def validate(self, step: int) -> dict[str, float]:
        """avg@k of the student after ``step`` updates on the validation problems, in all and per category."""
        prompts = [prompt for prompt in self.validation for _ in range(self.training.validation_samples)]
        seeds = [stream_seed(self.seed, "validation", step, i) for i in range(len(prompts))]
        with self._timed("validate"):
            rollouts = self.student.sample([p.token_ids for p in prompts], self.training.sampling, seeds)
            verdicts = judge(prompts, rollouts, self.pair.tokenizer, self.verifier)
        rewards: dict[str, list[float]] = defaultdict(list)
        for prompt, verdict in zip(prompts, verdicts, strict=True):
            rewards[""].append(float(verdict.verdict == "correct"))
            rewards[f"/{prompt.category}"].append(rewards[""][-1])
        return {f"{VALIDATION}{name}": sum(values) / len(values) for name, values in sorted(rewards.items())}

    def _batch_metrics(self, batch: Batch, advantage: objectives.Advantage) -> dict[str, float]:
        delta = (batch.logp_t - batch.logp_s)[batch.mask]
        return {f"gate/{name}": value for name, value in advantage.diagnostics.items()} | {
            "reward": batch.reward.mean().item(),
            "length": batch.tokens / len(batch.prompts),
            "truncated": batch.truncated.float().mean().item(),
            "delta/mean": delta.mean().item(),
            "delta/abs": delta.abs().mean().item(),
            "tokens/student": float(batch.tokens),
        }

    def shown_rollouts(self, step: int) -> list[dict[str, Any]]:
        """Some rollouts of the last batch with per-token delta, gate and advantage (rows of GATE_TOKENS).

        Groups with right and wrong answers come first: in the others the gate has nothing to say.
        """
        if self.last is None:
            return []
        batch, advantage = self.last
        mixed = advantage.group_advantage.abs() > 0
        rows = sorted(range(len(batch.prompts)), key=lambda i: (not mixed[i], i))[:ROLLOUTS_SHOWN]
        return [self._shown(step, batch, advantage, i) for i in sorted(rows)]

    def _shown(self, step: int, batch: Batch, advantage: objectives.Advantage, i: int) -> dict[str, Any]:
        ids = batch.responses[i]
        length = len(ids)
        reference = batch.logp_ref if batch.logp_ref is not None else batch.logp_s
        return {
            "step": step, "prompt_id": batch.prompts[i].prompt_id, "rollout_index": i,
            "verdict": batch.verdicts[i].verdict, "reward": batch.reward[i].item(),
            "group_advantage": advantage.group_advantage[i].item(), "token_ids": ids,
            "tokens": [self.pair.tokenizer.decode([token]) for token in ids],
            "delta": (batch.logp_t - batch.logp_s)[i, :length].tolist(),
            "log_ratio_ref": (batch.logp_t - reference)[i, :length].tolist(),
            "gate": advantage.gate[i, :length].tolist(), "advantage": advantage.values[i, :length].tolist(),
        }  # fmt: skip

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - start


def _imitable(engines: Engines, training: Training, prompts: list[Any]) -> dict[str, list[TeacherSample]]:
    """V, or nothing when the method does not read the cache."""
    if not uses_cache(training):
        return {}
    artefacts = engines.artefacts
    rollouts = iterate_table(artefacts.rollouts.checked() / "rollouts.parquet", ROLLOUTS)
    verdicts = iterate_table(artefacts.verdicts.checked() / "verdicts.parquet", VERDICTS)

    def under_initial_student(samples: Sequence[TeacherSample]) -> list[float]:
        initial = share(engines.frozen(artefacts.source("student")))
        scores = initial.score([s.prompt.token_ids for s in samples], [s.response_ids for s in samples])
        return [sum(score) / max(len(score), 1) for score in scores]

    return teacher_samples(prompts, rollouts, verdicts, training.teacher_sampling, under_initial_student)
