"""What a user may set: the options that every rule shares, those of the gate, and how they are checked.

One declaration of each default, in a frozen dataclass per rule; a rule adds fields by inheriting. Errors are
ValueErrors that name the allowed keys and values. Knows nothing about tensors.
"""

import math
from dataclasses import dataclass, fields
from keyword import iskeyword
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Options:
    """Shared by every rule: the magnitude guard of delta and r, and what a rollout cut at the length limit
    counts as.

    ``guard``: ``off``; ``clip`` at +-``guard_clip``; ``soft_log``: sign(x) log(1 + |x|).
    ``truncated_policy``: ``zero_reward``: R = 0, as an unfinished answer is; ``masked``: its tokens have no
    advantage (its reward stays in the group's statistics).
    """

    guard: Literal["off", "clip", "soft_log"] = "off"
    guard_clip: float = 5.0
    truncated_policy: Literal["zero_reward", "masked"] = "zero_reward"

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in fields(self):
            _check(field.name, getattr(self, field.name), hints[field.name])
        if not self.guard_clip > 0:
            raise ValueError(f"guard_clip = {self.guard_clip}: must be above 0")


@dataclass(frozen=True)
class GatedOptions(Options):
    """For rules in which the verifier decides per token or rollout.

    ``truncated_policy`` = ``no_gate``: a rollout cut at the length limit gets plain OPD (A = delta).
    """

    truncated_policy: Literal["zero_reward", "no_gate", "masked"] = "zero_reward"  # type: ignore[assignment]


@dataclass(frozen=True)
class SignGateOptions(GatedOptions):
    """The sign-consistency gate, METHOD section 2. Only 1.8 and 1.0 are the paper's; the other choices are
    ours.

    ``lambda_consensus``, ``lambda_conflict``: coefficients; ``conflict_mode``: ``gopd``: delta + (lambda_conflict - 1) r;
    ``scale``: beta delta; ``verifier_blend``: (1 - beta) delta + beta a_v; ``zero``: 0. ``beta``: lambda_conflict if not set.
    ``degenerate_group`` (all right or all wrong, a_v = 0): ``opd``: plain OPD; ``raw_sign``: a_v = 2R - 1;
    ``skip``: its tokens are masked. ``group_of_one``: ``refuse`` (ValueError) or ``raw_sign``.
    ``dead_zone``: tokens with |delta| below it are neutral and get plain OPD.
    ``preserve_sign``: an extrapolated consensus token whose sign flipped against a_v is set to 0.
    """

    lambda_consensus: float = 1.8
    lambda_conflict: float = 1.0
    conflict_mode: Literal["gopd", "scale", "verifier_blend", "zero"] = "gopd"
    beta: float | None = None
    degenerate_group: Literal["opd", "raw_sign", "skip"] = "opd"
    group_of_one: Literal["refuse", "raw_sign"] = "refuse"
    dead_zone: float = 0.0
    preserve_sign: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dead_zone < 0:
            raise ValueError(f"dead_zone = {self.dead_zone}: must be 0 (off) or above")
        if self.conflict_mode == "verifier_blend" and not 0 <= self.blend <= 1:
            name = "lambda_conflict" if self.beta is None else "beta"
            raise ValueError(
                f"{name} = {self.blend}: conflict_mode verifier_blend mixes (1 - beta) delta + beta a_v "
                "and needs a value in [0, 1]"
            )

    @property
    def blend(self) -> float:
        """beta of ``scale`` and ``verifier_blend``."""
        return self.lambda_conflict if self.beta is None else self.beta


def make_options(rule: str, kind: type[Options], values: dict[str, Any]) -> Options:
    """``kind(**values)``, with an error that names the rule, the unknown key and the allowed ones.

    A formula's symbol that Python reserves may be written as it is: ``lambda`` for ``lambda_``.
    """
    values = {f"{name}_" if iskeyword(name) else name: value for name, value in values.items()}
    allowed = [field.name for field in fields(kind)]
    unknown = [name for name in values if name not in allowed]
    if unknown:
        raise ValueError(f"rule {rule!r} has no option {', '.join(unknown)}; it has: {', '.join(allowed)}")
    return kind(**values)


def _check(name: str, value: object, hint: Any) -> None:
    if NoneType in get_args(hint) and value is None:
        return
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ValueError(f"{name} = {value!r}: must be one of {', '.join(map(str, get_args(hint)))}")
    elif hint is bool:
        if not isinstance(value, bool):
            raise ValueError(f"{name} = {value!r}: must be true or false")
    elif hint is int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"{name} = {value!r}: must be a whole number")
    elif not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{name} = {value!r}: must be a finite number")
