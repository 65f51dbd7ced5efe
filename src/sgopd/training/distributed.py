"""Several processes as one: set-up under torchrun, the model sharded by FSDP2, work dealt out and results gathered.

Every process runs the same program on the same numbers; what is dealt out comes back whole, so that results do not depend on
how many there are. One process is the special case in which nothing is wrapped. Knows no study and no algorithm.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from types import MethodType
from typing import Any

import pyarrow as pa
import torch
import torch.distributed as dist
from torch import Tensor

from sgopd.engines.base import Engine, Finished, Rollout, Sampling
from sgopd.models import own_device

logger = logging.getLogger(__name__)


def start() -> None:
    """Join the processes that torchrun started; nothing without torchrun. Only the first one logs."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or dist.is_initialized():
        return
    if own_device().type == "cuda":
        torch.cuda.set_device(own_device())
    dist.init_process_group(_backend())
    if rank() > 0:
        logging.getLogger().setLevel(logging.ERROR)


def _backend() -> str:
    return "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def first() -> bool:
    """Whether this process is the one that writes files and logs."""
    return rank() == 0


def barrier() -> None:
    """Wait for all processes."""
    if world() > 1:
        dist.barrier()


def shard(model: Any, compute: torch.dtype) -> Any:
    """The model with its weights spread over all processes (FSDP2), computing in ``compute`` and adding gradients in float32.

    Gradients are summed, not averaged: the loss is already divided by the whole batch's size. A forward pass goes
    through ``model.run(forward)``, as ``engines.forward.with_weights`` does.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    if not dist.is_initialized():  # one process that computes in bfloat16 over float32 weights
        store = dist.HashStore()  # type: ignore[attr-defined]
        dist.init_process_group(_backend(), store=store, rank=0, world_size=1)
    mesh = init_device_mesh(own_device().type, (world(),))
    policy = MixedPrecisionPolicy(param_dtype=compute, reduce_dtype=torch.float32)
    for module in (*model.base_model.layers, model):
        fully_shard(module, mesh=mesh, mp_policy=policy)
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)  # gloo knows no scaled sum
    model.run = MethodType(_run, model)
    register_fsdp_forward_method(model, "run")
    return model


def _run(model: Any, forward: Any) -> Any:
    return forward()


def whole(tensor: Tensor) -> Tensor:
    """A sharded tensor put together on every process (all must ask); any other as it is. Detached."""
    sharded: Any = tensor.detach()
    whole_tensor: Tensor = sharded.full_tensor() if hasattr(tensor, "full_tensor") else sharded
    return whole_tensor


def deal(groups: Iterable[list[int]]) -> Iterator[tuple[list[int], float]]:
    """This process's micro-batches, each with weight 1. All take part in every pass of a sharded model: a process that has run
    out repeats the last one with weight 0."""
    dealt = list(groups)
    for place in range(rank(), -(-len(dealt) // world()) * world(), world()):
        yield (dealt[place], 1.0) if place < len(dealt) else (dealt[-1], 0.0)


def add_up(totals: dict[str, float]) -> dict[str, float]:
    """Sums over processes; of names that end in ``/max`` the maximum. All processes have the same names."""
    if world() == 1 or not totals:
        return totals
    values = torch.tensor(list(totals.values()), dtype=torch.float64)
    each = [torch.empty_like(values) for _ in range(world())]
    dist.all_gather(each, values)
    stacked = torch.stack(each)
    return {
        name: (column.max() if name.endswith("/max") else column.sum()).item()
        for name, column in zip(totals, stacked.unbind(1), strict=True)
    }


def anyone(flag: bool) -> bool:
    """Whether the flag is up in any process; the same answer in all."""
    return add_up({"flag": float(flag)})["flag"] > 0


def summed(tensor: Tensor) -> Tensor:
    """The sum of a CPU tensor over processes, on each."""
    if world() > 1:
        dist.all_reduce(tensor)
    return tensor


def gather(table: pa.Table) -> list[pa.Table]:
    """The tables of all processes, in order, on every process."""
    if world() == 1:
        return [table]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    own = torch.frombuffer(bytearray(sink.getvalue()), dtype=torch.uint8)
    sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(world())]
    dist.all_gather(sizes, torch.tensor([len(own)]))
    longest = int(max(sizes))
    each = [torch.empty(longest, dtype=torch.uint8) for _ in sizes]
    dist.all_gather(each, torch.nn.functional.pad(own, (0, longest - len(own))))
    return [
        pa.ipc.open_stream(part[: int(n)].numpy().tobytes()).read_all() for part, n in zip(each, sizes, strict=True)
    ]


class SharedWork:
    """An engine whose work is dealt to all processes (data parallel) and whose results come back to each, in order.

    tensor_parallel: processes that form one engine and therefore do the same work.
    """

    def __init__(self, engine: Engine, tensor_parallel: int = 1) -> None:
        self.engine, self.tensor_parallel = engine, tensor_parallel

    def sample(
        self, prompts: Sequence[list[int]], sampling: Sampling, seeds: Sequence[int], finished: Finished | None = None
    ) -> list[Rollout]:
        """``finished`` hears, in each process, of the rollouts which that process will be asked to score."""
        mine = self._mine(len(prompts))

        def hear(place: int, rollout: Rollout) -> None:
            if finished and mine[place] % world() == rank():
                finished(mine[place], rollout)

        done = self.engine.sample([prompts[i] for i in mine], sampling, [seeds[i] for i in mine], hear)
        rows = self._gathered(
            mine, [r.token_ids for r in done], [r.logprobs for r in done], [r.finish_reason for r in done]
        )
        return [Rollout(row["ids"], row["logprobs"], row["end"]) for row in rows]

    def score(self, prompts: Sequence[list[int]], responses: Sequence[list[int]]) -> list[list[float]]:
        mine = self._mine(len(prompts))
        done = self.engine.score([prompts[i] for i in mine], [responses[i] for i in mine])
        return [row["logprobs"] for row in self._gathered(mine, [[] for _ in mine], done, ["" for _ in mine])]

    def begin(self, prompt: list[int], response: list[int]) -> None:
        self.engine.begin(prompt, response)

    def update(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        self.engine.update(weights)  # type: ignore[attr-defined]

    def sleep(self) -> None:
        self.engine.sleep()  # type: ignore[attr-defined]

    def _mine(self, count: int) -> list[int]:
        group = self.tensor_parallel
        return [i for i in range(count) if i % world() // group == rank() // group]

    def _gathered(
        self, places: list[int], ids: list[list[int]], logprobs: list[list[float]], ends: Sequence[str]
    ) -> list[dict[str, Any]]:
        """The rows of all engines in their order; of processes that form one engine, those of the first."""
        floats, integers = pa.list_(pa.float32()), pa.list_(pa.int32())
        columns = [(places, pa.int64()), (ids, integers), (logprobs, floats), (list(ends), pa.string())]
        own = pa.table([pa.array(values, kind) for values, kind in columns], names=["place", "ids", "logprobs", "end"])
        tables = gather(own)[:: self.tensor_parallel]
        return sorted((row for table in tables for row in table.to_pylist()), key=lambda row: row["place"])


def share(engine: Engine, tensor_parallel: int = 1) -> Engine:
    """The engine itself where there is one process, else one that deals its work to all."""
    return engine if world() == 1 else SharedWork(engine, tensor_parallel)
