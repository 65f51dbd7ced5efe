"""Every rule once more: slow, obvious, pure-Python float64, written from METHOD's formulas, one token at a
time.

In: rollouts as lists of floats; out: a list of advantages per rollout. Shares no code with the product.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median_low
from typing import Any


@dataclass
class Rollout:
    s: list[float]
    t: list[float]
    ref: list[float]
    R: float
    group: int
    cut: bool = False


def mean(xs: list[float]) -> float:
    return sum(xs) / len(xs) if xs else 0.0


def std(xs: list[float]) -> float:
    return math.sqrt(mean([(x - mean(xs)) ** 2 for x in xs]))


def sign(x: float) -> int:
    return (x > 0) - (x < 0)


def relu(x: float) -> float:
    return max(x, 0.0)


def clip(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


def delta(y: Rollout) -> list[float]:
    return [t - s for s, t in zip(y.s, y.t, strict=True)]


def implicit_reward(y: Rollout) -> list[float]:
    return [t - ref for t, ref in zip(y.t, y.ref, strict=True)]


def group_of(y: Rollout, batch: list[Rollout]) -> list[Rollout]:
    return [other for other in batch if other.group == y.group]


def z_score(x: float, xs: list[float]) -> float:
    return 0.0 if max(xs) == min(xs) else (x - mean(xs)) / (std(xs) + 1e-6)


def a_v(y: Rollout, batch: list[Rollout]) -> float:
    return z_score(y.R, [other.R for other in group_of(y, batch)])


def opd(y: Rollout, batch: list[Rollout]) -> list[float]:
    return delta(y)


def exopd(y: Rollout, batch: list[Rollout], lam: float = 1.25) -> list[float]:
    return [d + (lam - 1) * r for d, r in zip(delta(y), implicit_reward(y), strict=True)]


def sgopd(
    y: Rollout,
    batch: list[Rollout],
    consensus: float = 1.8,
    conflict: float = 1.0,
    mode: str = "gopd",
    signal: float | None = None,
    inverse: bool = False,
) -> list[float]:
    a = a_v(y, batch) if signal is None else signal
    values = []
    for d, r in zip(delta(y), implicit_reward(y), strict=True):
        gate = a * d > 0
        if a == 0:
            values.append(d)
        elif gate != inverse:
            values.append(d + (consensus - 1) * r)
        elif mode == "gopd":
            values.append(d + (conflict - 1) * r)
        elif mode == "scale":
            values.append(conflict * d)
        elif mode == "verifier_blend":
            values.append((1 - conflict) * d + conflict * a)
        else:
            values.append(0.0)
    return values


def sgopd_with_options(y: Rollout, batch: list[Rollout], o: dict[str, Any]) -> list[float]:
    """The gate with every option of METHOD section 2; ``o`` holds all of them."""
    if o["truncated_policy"] == "zero_reward":
        batch = [replace(other, R=0.0 if other.cut else other.R) for other in batch]
        y = replace(y, R=0.0 if y.cut else y.R)
    degenerate = len({other.R for other in group_of(y, batch)}) == 1
    a = a_v(y, batch)
    if degenerate and o["degenerate_group"] == "raw_sign":
        a = 2 * y.R - 1
    if (y.cut and o["truncated_policy"] == "masked") or (degenerate and o["degenerate_group"] == "skip"):
        return [0.0 for _ in y.s]
    deltas, rs = ([guarded(x, o) for x in xs] for xs in (delta(y), implicit_reward(y)))
    if y.cut and o["truncated_policy"] == "no_gate":
        return deltas
    return [gated_token(d, r, a, o) for d, r in zip(deltas, rs, strict=True)]


def guarded(x: float, o: dict[str, Any]) -> float:
    if o["guard"] == "clip":
        return clip(x, -o["guard_clip"], o["guard_clip"])
    return sign(x) * math.log(1 + abs(x)) if o["guard"] == "soft_log" else x


def gated_token(d: float, r: float, a: float, o: dict[str, Any]) -> float:
    if a == 0 or abs(d) < o["dead_zone"]:
        return d
    if a * d > 0:
        extrapolated = d + (o["lambda_consensus"] - 1) * r
        return 0.0 if o["preserve_sign"] and extrapolated * a < 0 else extrapolated
    beta = o["lambda_conflict"] if o["beta"] is None else o["beta"]
    return {
        "gopd": d + (o["lambda_conflict"] - 1) * r,
        "scale": beta * d,
        "verifier_blend": (1 - beta) * d + beta * a,
        "zero": 0.0,
    }[str(o["conflict_mode"])]


def opdvr(y: Rollout, batch: list[Rollout]) -> list[float]:
    z = 2 * y.R - 1
    return [z * relu(z * d) for d in delta(y)]


def grpd(y: Rollout, batch: list[Rollout]) -> list[float]:
    s = sign(a_v(y, batch))
    return [s * relu(s * d) for d in delta(y)]


def rgopd(y: Rollout, batch: list[Rollout], d: float = 0.0) -> list[float]:
    right, L_T, L_S = a_v(y, batch) > 0, sum(y.t), sum(y.s)
    keep = (right and L_S + d < L_T) or (not right and L_S - d > L_T)
    return [x if keep else 0.0 for x in delta(y)]


def r2opd(y: Rollout, batch: list[Rollout], b: float = 1e-3) -> list[float]:
    if not y.s:
        return []
    z, middle = 2 * y.R - 1, median_low([abs(d) for d in delta(y)])
    g = [1 / (1 + math.exp(-b * z * d / middle)) for d in delta(y)]
    Z = sum(abs(d) for d in delta(y)) / sum(w * abs(d) for w, d in zip(g, delta(y), strict=True))
    return [Z * w * d for w, d in zip(g, delta(y), strict=True)]


def gcopd(y: Rollout, batch: list[Rollout], b: float = 0.10) -> list[float]:
    rho = a_v(y, batch) - z_score(mean(delta(y)), [mean(delta(other)) for other in group_of(y, batch)])
    u = [(d - mean(delta(y))) / (std(delta(y)) + 1e-6) for d in delta(y)]
    return [d + b * (1 + math.tanh(u_t / 2)) * rho for d, u_t in zip(delta(y), u, strict=True)]


def uniopd(y: Rollout, batch: list[Rollout], d: float = 0.4, limit: float = 10.0) -> list[float]:
    def rollout_mean(other: Rollout) -> float:
        return mean([x for x in delta(other) if abs(x) <= limit])

    right = [rollout_mean(other) for other in group_of(y, batch) if other.R == 1]
    wrong = [rollout_mean(other) for other in group_of(y, batch) if other.R == 0]
    shift = 0.0
    if right and wrong and mean(right) - mean(wrong) < d:
        shift = (d - (mean(right) - mean(wrong))) / 2 * (1 if y.R == 1 else -1)
    return [x + shift if abs(x) <= limit else 0.0 for x in delta(y)]


def distilled_rl(y: Rollout, batch: list[Rollout], c: float = 3.0) -> list[float]:
    a = a_v(y, batch)
    if a <= 0:
        return [a for _ in y.s]
    ratios = [clip(math.exp(d), 1 / c, c) for d in delta(y)]
    geometric_mean = math.exp(mean([math.log(x) for x in ratios]))
    return [a * x / geometric_mean for x in ratios]


def rlsd(y: Rollout, batch: list[Rollout], e: float = 0.2) -> list[float]:
    a = a_v(y, batch)
    return [a * clip(math.exp(sign(a) * d), 1 - e, 1 + e) for d in delta(y)]


def grpo(y: Rollout, batch: list[Rollout]) -> list[float]:
    return [a_v(y, batch) for _ in y.s]


def opd_grpo(y: Rollout, batch: list[Rollout]) -> list[float]:
    return [d + a_v(y, batch) for d in delta(y)]


def sft(y: Rollout, batch: list[Rollout]) -> list[float]:
    return [1.0 if y.R == 1 else 0.0 for _ in y.s]


def inverse_gate(y: Rollout, batch: list[Rollout]) -> list[float]:
    return sgopd(y, batch, inverse=True)


def sign_only(y: Rollout, batch: list[Rollout]) -> list[float]:
    return [float(sign(x)) for x in sgopd(y, batch)]


REFERENCE: dict[str, Callable[..., list[float]]] = {
    rule.__name__: rule
    for rule in (
        opd, exopd, sgopd, opdvr, grpd, rgopd, r2opd, gcopd, uniopd, distilled_rl, rlsd, grpo, opd_grpo, sft,
        inverse_gate, sign_only,
    )
}  # fmt: skip
