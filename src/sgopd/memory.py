"""Does a study fit on its GPUs? Bytes per GPU while it trains and while it samples, and the knob to turn where it does not.

An estimate from shapes; nothing is loaded. Knows no machine but the size of its memory.
"""

from dataclasses import dataclass

from sgopd.config import Study, Training
from sgopd.engines.torch_engine import SAMPLED_TOKENS, SCORED_TOKENS
from sgopd.pair import longest_text
from sgopd.shapes import Shape

GIB = 2**30
MASTER, GRADIENT, MOMENTS = 4, 4, 8  # bytes per trained parameter, all float32
HEAD_BLOCK = 3 * 160 * 2**20  # the fused loss holds blocks of logits of this size, whatever the vocabulary
RESERVE = 2 * GIB  # CUDA context, communication buffers, fragmentation
FEW = 16  # sequences of full length in vLLM's cache below which rollouts are slow


@dataclass(frozen=True)
class Need:
    """Bytes on one GPU by what takes them, while training and while sampling, and how many full texts fit into vLLM's cache."""

    training: dict[str, float]
    sampling: dict[str, float]
    sequences: float | None

    @property
    def peak(self) -> float:
        return max(sum(self.training.values()), sum(self.sampling.values()))


def need(study: Study, training: Training, student: Shape, teacher: Shape, gpu_bytes: float) -> Need:
    """What the distil stage of a method takes on each GPU."""
    width = 4 if study.models.dtype == "float32" else 2
    world = study.hardware.processes * study.hardware.nodes
    per_weight = MASTER if training.lora else MASTER + GRADIENT + MOMENTS
    resident: dict[str, float] = {
        "trained weights, gradients, AdamW": per_weight * student.parameters / world,
        "reserve": RESERVE,
    }
    if training.objective.rule != "sft" and study.engine.teacher == "torch":
        resident["teacher"] = width * teacher.parameters
    if _reads_reference(training):
        resident["reference"] = width * student.parameters
    tokens = min(training.micro_batch_tokens, longest_text(study) * training.prompts_per_step * training.group_size)
    update = tokens * student.activation_bytes(training.gradient_checkpointing)
    scoring = SCORED_TOKENS * teacher.activation_bytes(recompute=False) / teacher.layers if "teacher" in resident else 0
    working = resident | {"activations": max(update, scoring), "logits": HEAD_BLOCK}
    if study.engine.kind == "vllm":
        engine = study.engine.memory_share * gpu_bytes
        weights = width * student.parameters / study.engine.tensor_parallel
        cache = max(engine - weights - RESERVE, 0)
        text = longest_text(study) * student.kv_bytes(width) / study.engine.tensor_parallel
        return Need(working, resident | {"vLLM": engine}, cache / text)
    if width != 4 or world > 1:  # a sharded model cannot sample
        working["copy that samples"] = resident["copy that samples"] = width * student.parameters
    places = min(SAMPLED_TOKENS, 256 * longest_text(study))
    return Need(working, resident | {"KV cache": places * student.kv_bytes(width)}, None)


def advice(study: Study, training: Training, found: Need, gpu_bytes: float) -> str | None:
    """None where it fits; else which key to turn, for the largest part first."""
    if found.sequences is not None and found.sequences < 1:
        return (
            f"vLLM's cache holds no text of {longest_text(study)} tokens: raise engine.memory_share or engine.tensor_parallel, "
            "or lower sampling.max_new_tokens"
        )
    if found.peak <= gpu_bytes:
        return None
    parts = max((found.training, found.sampling), key=lambda parts: sum(parts.values()))
    largest = max(parts, key=lambda name: parts[name])
    keys = {
        "vLLM": f"lower engine.memory_share ({study.engine.memory_share}), or raise hardware.processes",
        "KV cache": "set engine.kind: vllm",
        "copy that samples": "set engine.kind: vllm",
        "teacher": "serve it elsewhere and give its address as engine.teacher",
        "reference": "raise hardware.processes, or choose a rule without reference policy",
        "activations": f"lower training.micro_batch_tokens ({training.micro_batch_tokens})",
    }
    if largest == "activations" and not training.gradient_checkpointing:
        keys["activations"] = "set training.gradient_checkpointing: true"
    return f"{largest}: the largest part: " + keys.get(
        largest, "raise hardware.processes, or train adapters (training.lora)"
    )


def _reads_reference(training: Training) -> bool:
    from sgopd.objectives import needs_reference

    return needs_reference(training.objective.rule)
