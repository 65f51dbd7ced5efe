"""The typed, validated study: models, prompts, methods x seeds, benchmarks.

Every default is declared here once; unknown keys are errors. Immutable. Knows nothing of files, stages or devices.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from sgopd.config_errors import explain
from sgopd.pretrain import Recipe
from sgopd.prompts.sources import Source

if TYPE_CHECKING:
    from sgopd.objectives import TeacherSchedule

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.=+-]*$"  # names become folder names: nothing that could leave results/
Name = Annotated[str, Field(pattern=NAME, max_length=80)]
Stage = Literal["model", "prompts", "rollouts", "verdicts", "distil", "evaluate", "compare", "report", "grid"]


class Part(BaseModel):
    """A part of the study: immutable, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _is(default: object) -> Callable[[object], bool]:
    """For keys that came later: at its default a key is left out of fingerprints, so that finished runs stay valid."""
    return lambda value: value == default


class Sampling(Part):
    """How responses are drawn."""

    temperature: float = Field(1.0, gt=0, le=10, description="Softmax temperature.")
    top_p: float = Field(1.0, gt=0, le=1, description="Nucleus: smallest set of tokens with at least this mass.")
    max_new_tokens: int = Field(64, ge=1, description="Length limit of a response, in tokens; beyond it is truncated.")


class HubModel(Part):
    """A model by hub name or local folder (safetensors), loaded by transformers."""

    path: str = Field(
        min_length=1, description="Hub name (Qwen/Qwen3-4B) or folder with config.json and *.safetensors."
    )
    revision: str | None = Field(None, description="Hub revision; pin it for a reproducible study.")


class Models(Part):
    """The pair of models. A model is a hub name or folder (``path``), or a recipe that the pipeline trains itself."""

    teacher: HubModel | Recipe = Field(description="pi_T: scores rollouts and fills the rollout cache.")
    student: HubModel | Recipe = Field(description="pi_S: the model to be distilled into.")
    reference: HubModel | Literal["student"] = Field(
        "student", description="pi_ref of the implicit reward r_t; `student` is the student's initial weights."
    )
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="Weights' dtype for every model.")
    prompt_template: str = Field(
        "{problem}\nPlease reason step by step, and put your final answer within \\boxed{}.",
        description="User turn; {problem} is replaced. The chat template of the tokenizer goes around it.",
    )

    @field_validator("prompt_template")
    @classmethod
    def _has_problem(cls, value: str) -> str:
        if "{problem}" not in value:
            raise ValueError("must contain {problem}")
        return value


class Engine(Part):
    """What samples and scores. ``torch`` runs everywhere; ``vllm`` is what a GPU study wants (extra ``vllm``)."""

    kind: Literal["torch", "vllm"] = Field(
        "torch", description="What samples rollouts and evaluations. Random numbers differ between the two."
    )
    teacher: str = Field(
        "torch",
        pattern=r"^(torch|vllm|https?://\S+)$",
        description="What scores with the teacher: `torch` (one forward pass beside the student), `vllm` (an engine of its own), "
        "or the address of a vLLM server on another node (http://HOST:8000/v1).",
    )
    tensor_parallel: int = Field(1, ge=1, description="GPUs that one vLLM engine is spread over; divides `processes`.")
    memory_share: float = Field(
        0.4, gt=0, lt=1, description="Share of a GPU's memory for one vLLM engine; what is left is for training."
    )
    max_length: int | None = Field(
        None, ge=2, description="Longest prompt plus response in vLLM; by default what the study can need."
    )
    score_tokens: int = Field(
        4096, ge=16, description="Tokens that vLLM scores at once; each takes the vocabulary's size times 8 bytes."
    )


class Hardware(Part):
    """How many processes a stage runs in; one process drives one GPU. Changes speed, not results."""

    processes: int = Field(1, ge=1, description="Processes per node of rollouts, distil and evaluate (torchrun).")
    nodes: int = Field(1, ge=1, description="Nodes of distil and evaluate; more than one needs Slurm (srun torchrun).")


class Prompts(Part):
    """Where problems come from. Splits are checked to be disjoint from each other and from every benchmark.

    A source may also be the name of a YAML file that holds it, relative to the study's file: ``aime24: benchmarks/aime24.yaml``.
    """

    train: Source = Field(description="Problems to train on (teacher rollouts and distillation).")
    validation: Source = Field(description="Problems on which settings are chosen and curves are drawn.")
    benchmarks: dict[Name, Source] = Field(
        min_length=1, description="Problems of each benchmark; read only by evaluation."
    )
    min_difficulty: float | None = Field(None, description="Drop training problems below this difficulty.")
    max_prompt_tokens: int = Field(2048, ge=1, description="Drop training problems whose rendered prompt is longer.")

    @field_validator("benchmarks")
    @classmethod
    def _own_names(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in {"train", "validation"} & value.keys():
            raise ValueError(f"{name!r} is the name of a split; call the benchmark something else")
        return value


class TeacherRollouts(Part):
    """The cache: teacher rollouts on the training prompts, made once and shared by every run."""

    samples_per_prompt: int = Field(2, ge=1, le=64, description="Teacher samples per training prompt.")
    sampling: Sampling = Field(Sampling(), description="How the teacher samples.")
    shard_prompts: int = Field(256, ge=1, description="Prompts per shard; a killed stage loses at most one shard.")


class Verifier(Part):
    """How answers are checked."""

    workers: int = Field(1, ge=1, description="Worker processes for answers that need the symbolic engine.")
    timeout_s: float = Field(4.0, gt=0, description="Hard wall-clock limit per answer, in seconds.")


class Objective(Part):
    """The token advantage and how it becomes a loss (METHOD sections 1, 2 and 5)."""

    rule: str = Field("opd", description="Name of the advantage rule; `sgopd rules` lists them with their options.")
    options: dict[str, Any] = Field({}, description="Options of the rule, e.g. lambda_consensus; see `sgopd rules`.")
    base: Literal["sampled", "reverse_kl", "forward_kl", "jsd"] = Field(
        "sampled",
        description="`sampled`: the policy gradient of `rule` on sampled tokens. The others descend a divergence of student "
        "and teacher over the whole vocabulary at every response token, and take rule `opd` without options.",
        exclude_if=_is("sampled"),
    )
    jsd_beta: float = Field(
        0.5, gt=0, lt=1, description="beta of base `jsd` (GKD's generalised JSD); towards 0 the forward KL.",
        exclude_if=_is(0.5),
    )  # fmt: skip
    top_k: int | None = Field(
        None, ge=1, description="Bases over the vocabulary: the teacher's k likeliest tokens and one bucket for the rest.",
        exclude_if=_is(None),
    )  # fmt: skip
    aggregate: Literal["sequence_mean", "token_mean"] = Field(
        "sequence_mean", description="Mean over sequences of per-sequence token means, or one mean over all tokens."
    )
    clip_epsilon: float = Field(0.2, gt=0, description="PPO clip of pi_S / pi_S_old; inert with one update per batch.")
    importance_cap: float = Field(5.0, gt=0, description="Cap of the trainer / rollout-engine importance weight.")
    prompt_weighting: Literal["none", "paced"] = Field(
        "none", description="`paced`: weight a prompt by p(1-p), p its pass rate."
    )

    @model_validator(mode="after")
    def _options_fit_rule(self) -> "Objective":
        from sgopd.objectives import options_for  # here: torch takes over a second to import

        options_for(self.rule, **self.options)
        if self.base != "sampled" and (self.rule != "opd" or self.options):
            raise ValueError(f"base {self.base} has no token advantages: it goes with rule opd without options")
        return self


class TeacherSampling(Part):
    """The auxiliary cross-entropy on cached teacher rollouts, L_gate + gamma(s) L_CE(V) (METHOD section 3)."""

    schedule: Literal["off", "cosine", "linear", "constant", "share", "in_group"] = Field(
        "off",
        description="How the teacher's rollouts leave: the shape of gamma(s) after the hold (`constant`: they stay); `share`: "
        "gamma stays, the share of prompts with a teacher rollout falls along the cosine; `in_group`: `cosine`, and the "
        "rollouts join their group's statistics.",
    )
    gamma0: float = Field(0.1, ge=0, description="Weight of L_CE during phase I.")
    source: Literal["verified", "unverified"] = Field(
        "verified", description="`unverified` is the control without verifier."
    )
    keep: Literal["first", "shortest", "likely", "all"] = Field(
        "first",
        description="Which teacher rollouts of a prompt enter V (`likely`: highest log-prob per token under the initial "
        "student).",
    )


class Optimiser(Part):
    """AdamW."""

    lr: float = Field(1e-5, gt=0, description="Learning rate after warm-up; constant.")
    warmup_steps: int = Field(0, ge=0, description="Steps of linear warm-up.")
    weight_decay: float = Field(0.01, ge=0, description="Decoupled weight decay.")
    betas: tuple[float, float] = Field((0.9, 0.999), description="Decay rates of the two moments.")
    max_grad_norm: float = Field(1.0, gt=0, description="Global gradient-norm clip.")

    @field_validator("betas")
    @classmethod
    def _decay_rates(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in value):
            raise ValueError(f"each must lie in [0, 1), not {list(value)}")
        return value


class Lora(Part):
    """Train low-rank adapters on every linear layer instead of all weights (extra ``lora``)."""

    rank: int = Field(32, ge=1, description="Rank of the adapters.")
    alpha: float = Field(64.0, gt=0, description="The adapter's output is scaled by alpha / rank.")


class Training(Part):
    """One distillation run; a method overrides any of these keys."""

    steps: int = Field(100, ge=1, description="Optimiser batches, over all three phases.")
    prompts_per_step: int = Field(128, ge=1, description="Prompts per batch (P).")
    group_size: int = Field(8, ge=1, description="Student rollouts per prompt (G).")
    updates_per_batch: int = Field(1, ge=1, description="Mini-batches, hence optimiser updates, per batch of rollouts.")
    micro_batch_tokens: int = Field(
        16384,
        ge=1,
        description="Padded tokens per forward/backward: memory against speed; changes the last bits of the gradient.",
    )
    gradient_checkpointing: bool = Field(
        False, description="Recompute activations in backward: a third more time, much less memory."
    )
    lora: Lora | None = Field(None, description="Adapters instead of full fine-tuning; none by default.")
    sampling: Sampling = Field(Sampling(), description="How the student samples.")
    objective: Objective = Field(Objective(), description="Advantage rule and loss.")
    teacher_sampling: TeacherSampling = Field(TeacherSampling(), description="Auxiliary loss on teacher rollouts.")
    hold: float = Field(0.1, ge=0, le=1, description="Phase I ends after this share of the steps (s1).")
    decay: float = Field(0.4, ge=0, le=1, description="Phase II ends after this share of the steps (s2).")
    optimiser: Optimiser = Field(Optimiser(), description="AdamW's settings.")
    checkpoint_every: int = Field(
        10, ge=1, description="Steps between checkpoints; a killed job goes on from the last."
    )
    validate_every: int = Field(10, ge=1, description="Steps between validation rounds (curves only, never a choice).")
    validation_samples: int = Field(1, ge=1, description="Samples per validation problem in each round.")

    @model_validator(mode="after")
    def _consistent(self) -> "Training":
        if self.hold > self.decay:
            raise ValueError(f"hold ({self.hold}) must not be above decay ({self.decay})")
        if self.prompts_per_step % self.updates_per_batch:
            raise ValueError(
                f"updates_per_batch ({self.updates_per_batch}) must divide prompts_per_step ({self.prompts_per_step})"
            )
        return self

    def settings(self) -> dict[str, Any]:
        """Dotted key -> value, with the rule's options at their defaults filled in: what two methods are compared by."""
        from sgopd.objectives import options_for

        options = dataclasses.asdict(options_for(self.objective.rule, **self.objective.options))
        return _flatten(override(self.model_dump(), {"objective": {"options": options}}))

    def schedule(self) -> "TeacherSchedule":
        """gamma(s), the weight of the teacher's rollouts, over the steps of this run."""
        from sgopd.objectives import TeacherSchedule

        sampling = self.teacher_sampling
        return TeacherSchedule(kind=sampling.schedule, gamma0=sampling.gamma0, hold=self.hold, end=self.decay)

    def phase_bounds(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """First and last-plus-one step of phases I, II and III."""
        s1, s2 = self.schedule().boundaries(self.steps)
        return (0, s1), (s1, s2), (s2, self.steps)


class Evaluation(Part):
    """How a model is judged on the benchmarks."""

    samples: int = Field(8, ge=1, description="Responses per problem (n).")
    pass_k: tuple[int, ...] = Field((8,), min_length=1, description="k of the reported pass@k; each at most `samples`.")
    sampling: Sampling = Field(Sampling(), description="How the evaluated model samples.")
    resamples: int = Field(4000, ge=100, description="Bootstrap resamples behind every interval.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Level of the intervals.")

    @model_validator(mode="after")
    def _k_at_most_n(self) -> "Evaluation":
        for k in self.pass_k:
            if not 1 <= k <= self.samples:
                raise ValueError(f"pass_k holds {k}; each k must lie in 1..samples ({self.samples})")
        return self


class StageResources(Part):
    """What a stage's jobs ask of a cluster. A key that is left out is the profile's business."""

    cpus: int = Field(1, ge=1, description="CPU cores, hence threads of the models' arithmetic, here and on a cluster.")
    gpus: int | None = Field(None, ge=0, description="GPUs (per node).")
    memory_gb: float | None = Field(None, gt=0, description="Memory, in GB (per node).")
    minutes: int | None = Field(None, ge=1, description="Time limit; a phase that hits it goes on from a checkpoint.")
    partition: str | None = Field(None, min_length=1, description="Partition (queue).")
    account: str | None = Field(None, min_length=1, description="Account that pays.")

    def for_snakemake(self) -> dict[str, int | str]:
        """The keys that are set, under the names of Snakemake and its Slurm executor."""
        asked = {
            "gpu": self.gpus, "mem_mb": None if self.memory_gb is None else round(1000 * self.memory_gb),
            "runtime": self.minutes, "slurm_partition": self.partition, "slurm_account": self.account,
        }  # fmt: skip
        return {name: value for name, value in asked.items() if value is not None}


class Study(Part):
    """A study: one config file, or one point of its grid."""

    name: Name = Field(description="Name of the study; its MLflow experiment.")
    point: str = Field(
        "", description="Point of the grid (set by `grid`, not by hand).", pattern=r"^[A-Za-z0-9_.=+,-]*$"
    )
    results: str = Field("results", description="Folder of the study's runs, tables and report, below the checkout.")
    seed: int = Field(0, ge=0, description="Seed of everything shared by the runs: models, prompts, cache, evaluation.")
    seeds: tuple[int, ...] = Field((0, 1), min_length=1, description="Seeds of the runs of every method.")
    models: Models = Field(description="The pair of models and the reference policy.")
    prompts: Prompts = Field(description="Where problems come from.")
    rollouts: TeacherRollouts = Field(TeacherRollouts(), description="The cache of teacher rollouts.")
    engine: Engine = Field(Engine(), description="What samples and scores.")
    hardware: Hardware = Field(Hardware(), description="Processes and nodes.")
    verifier: Verifier = Field(Verifier(), description="How answers are checked.")
    training: Training = Field(Training(), description="What all methods share.")
    methods: dict[Name, dict[str, Any]] = Field(
        min_length=1, description="Method name -> the keys of `training` it changes."
    )
    baseline: str = Field("opd", description="The method every other one is compared with.")
    evaluation: Evaluation = Field(Evaluation(), description="How models are judged.")
    resources: dict[Stage, StageResources] = Field(
        {}, description="Stage -> what its jobs ask of a cluster; in a grid, the first point's counts."
    )

    @field_validator("results")
    @classmethod
    def _stays_below(cls, value: str) -> str:
        path = Path(value)
        if path.is_absolute() or ".." in path.parts or not re.fullmatch(r"[A-Za-z0-9_./=+,-]+", value):
            raise ValueError("must be a relative folder name without '..' or special characters")
        return path.as_posix()

    @model_validator(mode="after")
    def _runs_resolve(self) -> "Study":
        if self.baseline not in self.methods:
            raise ValueError(f"baseline: {self.baseline!r} is not a method of the study ({', '.join(self.methods)})")
        if self.hardware.processes % self.engine.tensor_parallel:
            raise ValueError(
                f"engine.tensor_parallel ({self.engine.tensor_parallel}) must divide hardware.processes ({self.hardware.processes})"
            )
        far = self.engine.teacher != "torch"
        for name in [name for name, run in self.runs.items() if far and run.objective.base != "sampled"]:
            raise ValueError(
                f"methods.{name}.objective.base reads the teacher's whole distribution: it needs engine.teacher: torch"
            )
        if min(self.seeds) < 0:
            raise ValueError(f"seeds: {list(self.seeds)} holds a negative one")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds: {list(self.seeds)} repeats a seed")
        for reserved in {"teacher", "student"} & self.methods.keys():
            raise ValueError(f"methods: {reserved!r} is the name of a reference row; call the method something else")
        _ = self.runs  # validates every method
        return self

    def asks(self, stage: Stage) -> StageResources:
        """What the jobs of ``stage`` ask of a cluster."""
        return self.resources.get(stage, StageResources())  # type: ignore[call-arg]

    @cached_property
    def runs(self) -> dict[str, Training]:
        """Method name -> its resolved training settings."""
        resolved = {}
        for name, changes in self.methods.items():
            try:
                resolved[name] = Training.model_validate(override(self.training.model_dump(), changes))
            except ValidationError as error:
                raise ValueError(
                    "; ".join(f"methods.{name}.{problem}" for problem in explain(error, Training))
                ) from error
        return resolved


def override(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes`` merged in, key by key. Another ``kind`` drops all that was said of the old one, another
    ``rule`` its options: they would mean nothing to the new one."""
    merged = {} if "kind" in changes and changes["kind"] != base.get("kind") else dict(base)
    if "rule" in changes and changes["rule"] != base.get("rule"):
        merged.pop("options", None)
    for key, value in changes.items():
        below = merged.get(key)
        merged[key] = override(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return merged


def differing_keys(study: Study) -> dict[str, dict[str, Any]]:
    """Dotted key -> method -> value, for the keys of ``training`` in which the study's methods differ."""
    flat = {name: training.settings() for name, training in study.runs.items()}
    keys = dict.fromkeys(key for values in flat.values() for key in values)
    table = {key: {name: values.get(key) for name, values in flat.items()} for key in keys}
    return {key: row for key, row in table.items() if len({repr(v) for v in row.values()}) > 1}


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mapping to one level with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
