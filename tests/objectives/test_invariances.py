"""Properties that hold for every rule: what the order, the padding and the company of rollouts must not change."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sgopd.objectives import advantage, rules

from .batches import Inputs, random_inputs, rows

EVERY_RULE = sorted(rules())
# they draw over the whole batch, so a permuted, padded or split batch is another draw
SEEDED = {"random_gate", "shuffled_outcomes"}
DETERMINISTIC = [rule for rule in EVERY_RULE if rule not in SEEDED]
quick = settings(max_examples=15, deadline=None)


def one(rule: str, G: int) -> dict[str, Any]:
    return {"group_of_one": "raw_sign"} if G == 1 and "group_of_one" in rules()[rule].__dataclass_fields__ else {}


@pytest.mark.parametrize("rule", DETERMINISTIC)
@quick
@given(seed=st.integers(0, 2**31), G=st.integers(1, 5), data=st.data())
def test_permuting_rollouts_permutes_advantages(rule: str, seed: int, G: int, data: st.DataObject) -> None:
    inputs = random_inputs(seed, G=G)
    order = torch.tensor(data.draw(st.permutations(range(3 * G))))
    permuted = advantage(rule, **rows(inputs, order), **one(rule, G))
    original = advantage(rule, **inputs, **one(rule, G))
    torch.testing.assert_close(permuted.values, original.values[order])
    assert torch.equal(permuted.gate, original.gate[order])


@pytest.mark.parametrize("rule", DETERMINISTIC)
@quick
@given(seed=st.integers(0, 2**31), extra=st.integers(1, 9))
def test_padding_changes_nothing(rule: str, seed: int, extra: int) -> None:
    inputs = random_inputs(seed)
    longer = {
        name: torch.nn.functional.pad(x, (0, extra), value=0 if name == "mask" else -9.0) if x.dim() == 2 else x
        for name, x in inputs.items()
    }
    padded, original = advantage(rule, **longer), advantage(rule, **inputs)
    torch.testing.assert_close(padded.values[:, :-extra], original.values)
    assert padded.values[:, -extra:].abs().sum() == 0
    assert padded.diagnostics == pytest.approx(original.diagnostics, abs=1e-6)


@pytest.mark.parametrize("rule", DETERMINISTIC)
@quick
@given(seed=st.integers(0, 2**31), split=st.integers(1, 3))
def test_a_batch_split_between_groups_gives_the_same_advantages(rule: str, seed: int, split: int) -> None:
    inputs = random_inputs(seed, groups=4, G=3)
    index = torch.arange(12).tensor_split([3 * split])
    parts = [advantage(rule, **rows(inputs, part)).values for part in index]
    torch.testing.assert_close(torch.cat(parts), advantage(rule, **inputs).values)


def hostile(inputs: Inputs, seed: int) -> Inputs:
    """Log-probs of -1e4 and -inf strewn over student, teacher and reference, in float32."""
    g = torch.Generator().manual_seed(seed)
    changed = {name: x.float() if x.dtype == torch.float64 else x for name, x in inputs.items()}
    for name, worst in (("logp_s", -1e4), ("logp_t", -torch.inf), ("logp_ref", -1e4), ("logp_t", -1e4)):
        x = changed[name]
        changed[name] = x.masked_fill(torch.rand(x.shape, generator=g) < 0.2, worst)
    return changed


@pytest.mark.parametrize("rule", EVERY_RULE)
@pytest.mark.parametrize("guard", ["off", "clip", "soft_log"])
@quick
@given(
    seed=st.integers(0, 2**31),
    G=st.integers(1, 4),
    outcome=st.sampled_from(["mixed", "all right", "all wrong"]),
    empty=st.sampled_from(["none", "a rollout", "a group", "everything"]),
)
def test_hostile_batches_give_finite_advantages(
    rule: str, guard: str, seed: int, G: int, outcome: str, empty: str
) -> None:
    inputs = hostile(random_inputs(seed, G=G), seed)
    if outcome != "mixed":
        inputs["reward"] = torch.full_like(inputs["reward"], float(outcome == "all right"))
    gone = {"none": 0, "a rollout": 1, "a group": G, "everything": 3 * G}[empty]
    inputs["mask"][:gone] = False
    result = advantage(rule, **inputs, guard=guard, **one(rule, G))
    assert result.values.isfinite().all()
    assert torch.tensor(list(result.diagnostics.values())).isfinite().all()
    assert result.values[~inputs["mask"]].abs().sum() == 0
    assert result.gate[~inputs["mask"]].eq(-1).all()


@pytest.mark.parametrize("rule", EVERY_RULE)
def test_a_token_outside_the_teachers_support_is_counted_not_hidden(rule: str) -> None:
    inputs = random_inputs(0)
    inputs["logp_t"][:, 0] = -torch.inf
    share = advantage(rule, **inputs).diagnostics["clip_share/floor_logp_t"]
    assert share == pytest.approx(len(inputs["reward"]) / int(inputs["mask"].sum()))
