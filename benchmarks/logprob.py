"""Fused log-prob and fused reverse KL, side by side with their peers: seconds and peak memory, forward + backward.

    pip install torch==2.13.0 -e '.[benchmark]'     # the peers, in an environment of their own
    pip install --no-deps verl==0.9.1               # alone, because it pins an older transformers than TRL wants
    python benchmarks/logprob.py                    # prints Markdown tables

Times: all variants take turns in one process; medians. Memory: one fresh process each. Needs Linux. On a shared machine
measure processor time of one thread (``--clock cpu --threads 1``), which other programs hardly touch.
"""

import argparse
import gc
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # the peers' environment need not have the project installed

SEQUENCE = 256  # tokens that share an advantage, so that peers with one advantage per sequence do equal work
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
PARTS = ("logprob", "kl", "long")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass
class Inputs:
    """Student's hidden states [N, H] and head [V, H] (leaves), targets and weights [N]; the teacher's, or empty."""

    hidden: Tensor
    head: Tensor
    targets: Tensor
    weight: Tensor
    hidden_t: Tensor
    head_t: Tensor

    @classmethod
    def make(cls, N: int, H: int, V: int, dtype: torch.dtype, two_heads: bool) -> "Inputs":
        g = torch.Generator().manual_seed(0)

        def leaf(rows: int, scale: float, grad: bool) -> Tensor:
            return (torch.randn(rows, H, generator=g).mul_(scale)).to(dtype).requires_grad_(grad)

        hidden, head = leaf(N, 1.0, True), leaf(V, 2 * H**-0.5, True)
        targets = torch.randint(0, V, (N,), generator=g)
        weight = torch.randn(N // SEQUENCE, generator=g).repeat_interleave(SEQUENCE) / N
        empty = torch.empty(0)
        teacher = (leaf(N, 1.0, False), leaf(V, 2 * H**-0.5, False)) if two_heads else (empty, empty)
        return cls(hidden, head, targets, weight, *teacher)

    def clear(self) -> None:
        self.hidden.grad = self.head.grad = None


Step = Callable[[Inputs], Any]  # builds the loss, a scalar tensor; the caller runs backward


def ours_logprob() -> Step:
    from sgopd.objectives import fused_logprob

    return lambda x: -(x.weight * fused_logprob(x.hidden, x.head, x.targets).logprob).sum()


def ours_one_pass() -> Step:
    from sgopd.objectives import fused_policy_gradient

    return lambda x: -fused_policy_gradient(x.hidden, x.head, x.targets, x.weight)[0]


def naive_logprob() -> Step:
    def step(x: Inputs) -> Any:
        log_p = (x.hidden @ x.head.T).float().log_softmax(-1)
        return -(x.weight * log_p.gather(1, x.targets[:, None])[:, 0]).sum()

    return step


def trl_selective() -> Step:
    from trl.trainer.utils import selective_log_softmax

    return lambda x: -(x.weight * selective_log_softmax(x.hidden @ x.head.T, x.targets)).sum()


def trl_chunked() -> Step:
    from trl.kernels import ChunkedLogProbFunction
    from trl.trainer.utils import _CHUNKED_LOGPROB_CHUNK_SIZE as CHUNK

    def step(x: Inputs) -> Any:
        logprob = ChunkedLogProbFunction.apply(x.hidden, x.head, None, x.targets, 1.0, CHUNK, None, 1.0, ())[0]
        return -(x.weight * logprob).sum()

    return step


def verl_fused() -> Step:
    from verl.utils.experimental.torch_functional import FusedLinearForPPO

    fused = FusedLinearForPPO()
    return lambda x: -(x.weight * fused(x.hidden, x.head, x.targets)[0]).sum()


def liger_grpo() -> Step:
    from liger_kernel.chunked_loss import LigerFusedLinearGRPOLoss

    fused = LigerFusedLinearGRPOLoss(beta=0.0, use_ref_model=False, loss_type="bnpo")

    def step(x: Inputs) -> Any:
        hidden, targets = x.hidden.view(-1, SEQUENCE, x.hidden.shape[1]), x.targets.view(-1, SEQUENCE)
        advantage = x.weight[::SEQUENCE] * x.hidden.shape[0]  # its loss divides by the number of tokens
        return fused(hidden, x.head, targets, torch.ones_like(targets), advantage)[0]

    return step


def liger_cross_entropy() -> Step:
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    fused = LigerFusedLinearCrossEntropyLoss(reduction="none")
    return lambda x: (x.weight * fused(x.head, x.hidden, x.targets)).sum()


def prime_rl() -> Step:
    """Not on PyPI: runs where the user has installed it from its repository."""
    from prime_rl.trainer.models.layers.lm_head import FusedOutputLinear

    def step(x: Inputs) -> Any:
        with torch.device("meta"):
            linear = FusedOutputLinear(x.head.shape[1], x.head.shape[0], chunk_size=8192)
        arguments = (x.hidden[None], x.targets[None], torch.ones(1, x.hidden.shape[0]))
        output = torch.func.functional_call(linear, {"weight": x.head}, arguments)
        return -(x.weight * output["logprobs"][0]).sum()

    return step


def ours_kl() -> Step:
    from sgopd.objectives import fused_reverse_kl

    return lambda x: fused_reverse_kl(x.hidden, x.head, x.hidden_t, x.head_t)[0] / x.hidden.shape[0]


def naive_kl() -> Step:
    def step(x: Inputs) -> Any:
        s, t = (
            (x.hidden @ x.head.T).float().log_softmax(-1),
            (x.hidden_t @ x.head_t.T).float().log_softmax(-1),
        )
        return (s.exp() * (s - t)).sum(1).mean()

    return step


def trl_divergence() -> Step:
    from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

    return lambda x: ChunkedDivergenceFunction.apply(
        x.hidden, x.head, None, x.hidden_t, x.head_t, None, 1.0
    )[0].mean()  # fmt: skip


def liger_jsd() -> Step:
    from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss

    fused = LigerFusedLinearJSDLoss(weight_hard_loss=0.0, weight_soft_loss=1.0, beta=1.0)
    return lambda x: fused(x.hidden, x.head, x.hidden_t, x.head_t, x.targets)


LOGPROB: dict[str, Callable[[], Step]] = {
    "sgopd fused_policy_gradient": ours_one_pass,
    "sgopd fused_logprob": ours_logprob,
    "naive full logits": naive_logprob,
    "TRL selective_log_softmax": trl_selective,
    "TRL chunked log-prob": trl_chunked,
    "verl FusedLinearForPPO": verl_fused,
    "Liger fused linear GRPO": liger_grpo,
    "Liger fused linear cross-entropy": liger_cross_entropy,
    "prime-rl FusedOutputLinear (not on PyPI)": prime_rl,
}
REVERSE_KL: dict[str, Callable[[], Step]] = {
    "sgopd fused_reverse_kl": ours_kl,
    "naive full logits, two heads": naive_kl,
    "TRL chunked divergence": trl_divergence,
    "Liger fused linear JSD (beta = 1)": liger_jsd,
}
EVERY = LOGPROB | REVERSE_KL


@dataclass
class Result:
    """seconds: one per round. mib: peak above base. error: largest gradient difference over the largest
    entry.
    """

    name: str
    seconds: list[float]
    mib: float | None
    error: float | None
    failure: str = ""


def run_once(step: Step, x: Inputs, clock: Callable[[], float]) -> float:
    x.clear()
    start = clock()
    step(x).backward()
    return clock() - start


def status_mib(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def measure_memory(name: str, args: argparse.Namespace) -> None:
    """In a process of its own: print the peak above base of one forward + backward, MiB, and the seconds, as
    JSON.
    """
    x = Inputs.make(args.tokens, args.hidden, args.vocab, DTYPES[args.dtype], name in REVERSE_KL)
    step = EVERY[name]()
    gc.collect()
    base = status_mib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again from here
    seconds = run_once(step, x, CLOCKS[args.clock])
    print(json.dumps({"mib": status_mib("VmHWM") - base, "seconds": seconds}))


def memory_of(name: str, args: argparse.Namespace, tokens: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--only-memory-of", name, "--tokens", str(tokens)]
    for option in ("hidden", "vocab", "dtype", "threads", "clock"):
        command += [f"--{option}", str(getattr(args, option))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failure": done.stderr.strip().splitlines()[-1]}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure(variants: dict[str, Callable[[], Step]], args: argparse.Namespace) -> list[Result]:
    """Memory first (it also shows which peers run here), then rounds in which every variant takes its
    turn.
    """
    results = {}
    for name in variants:
        got = memory_of(name, args, args.tokens)
        results[name] = Result(name, [], got.get("mib"), None, got.get("failure", ""))
        if not args.rounds and "seconds" in got:
            results[name].seconds.append(got["seconds"])
        print(name, got, file=sys.stderr, flush=True)
    if not args.rounds:
        return list(results.values())
    running = {name: variants[name]() for name in variants if not results[name].failure}
    x = Inputs.make(args.tokens, args.hidden, args.vocab, DTYPES[args.dtype], variants is REVERSE_KL)
    reference = None
    for round_ in range(args.rounds + 1):
        for name, step in running.items():
            seconds = run_once(step, x, CLOCKS[args.clock])
            if round_ == 0:  # warm-up, and equal work shown
                assert x.hidden.grad is not None and x.head.grad is not None
                gradients = (x.hidden.grad.float().clone(), x.head.grad.float().clone())
                reference = reference or gradients
                results[name].error = max(
                    float((a - b).abs().max() / b.abs().max()) for a, b in zip(gradients, reference, strict=True)
                )
            else:
                results[name].seconds.append(seconds)
            print(round_, name, f"{seconds:.2f}", file=sys.stderr, flush=True)
    return list(results.values())


def table(results: list[Result]) -> list[str]:
    peers = [r for r in results if r.seconds and not r.name.startswith("sgopd")]
    fastest = min(statistics.median(r.seconds) for r in peers)
    smallest = min(r.mib for r in peers if r.mib is not None)
    lines = [
        "| variant | seconds, median (min - max) | over the fastest peer "
        "| peak above base, MiB | over the smallest peer | gradient difference |",
        "|---|---|---|---|---|---|",
    ]
    for r in results:
        if r.failure or r.mib is None:
            lines.append(f"| {r.name} | does not run here: {r.failure.replace('|', '/')} | | | | |")
            continue
        median = statistics.median(r.seconds)
        lines.append(
            f"| {r.name} | {median:.1f} ({min(r.seconds):.1f} - {max(r.seconds):.1f}) | {median / fastest:.2f} "
            f"| {r.mib:,.0f} | {r.mib / smallest:.2f} " + ("| |" if r.error is None else f"| {r.error:.0e} |")
        )
    return lines


def installed(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} not installed"


def heading(args: argparse.Namespace) -> str:
    head = args.vocab * args.hidden * DTYPES[args.dtype].itemsize / 2**20
    packages = ", ".join(installed(p) for p in ("torch", "trl", "liger-kernel", "verl", "prime-rl"))
    taken = f"all variants take turns in one process, {args.rounds} rounds after one to warm up"
    taken = taken if args.rounds else "the one pass of the process that measures memory, its first"
    seconds = "wall-clock seconds" if args.clock == "wall" else "seconds of processor time"
    return f"""H = {args.hidden:,}, V = {args.vocab:,}, {args.dtype}, {args.threads} threads, {platform.machine()}, Python \
{platform.python_version()}, {packages}. One forward and one backward to hidden states and head.

- Time: {seconds}; {taken}.
- Memory: high-water mark of a fresh process during its first pass, above what it held before, with {head:,.0f} MiB for the
  gradient of the head.
- Gradient difference: largest over hidden states and head, against the first row, over the largest entry: equal work.
- A weight per token that is known, or needs only the detached log-prob, takes one pass and three head-sized matrix products
  (`fused_policy_gradient`); any other use of log-prob or entropy takes four (`fused_logprob`).
"""


def long_table(args: argparse.Namespace) -> list[str]:
    lines = ["| variant | seconds, one pass | peak above base, MiB |", "|---|---|---|"]
    for name in [name for name in EVERY if name.startswith("sgopd")]:
        got = memory_of(name, args, args.long_tokens)
        lines.append(f"| {name} | {got['seconds']:.0f} | {got['mib']:,.0f} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--long-tokens", type=int, default=16384)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--vocab", type=int, default=151_936)
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--rounds", type=int, default=3, help="0: the time of the memory process's single pass")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--only-memory-of", choices=EVERY, help="one variant, as JSON; used by the script itself")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.only_memory_of:
        measure_memory(args.only_memory_of, args)
        return
    print(heading(args))
    if "logprob" in args.parts:
        print(
            f"### Sampled-token log-prob, N = {args.tokens:,}\n",
            *table(measure(LOGPROB, args)),
            "",
            sep="\n",
            flush=True,
        )
    if "kl" in args.parts:
        print(
            f"### Reverse KL of two heads, N = {args.tokens:,}\n",
            *table(measure(REVERSE_KL, args)),
            "",
            sep="\n",
            flush=True,
        )
    if "long" in args.parts:
        print(f"### N = {args.long_tokens:,}\n", *long_table(args), "", sep="\n")


if __name__ == "__main__":
    main()
