"""One process and two give the same gradients, samples and weights, and read each other's checkpoints. Real processes, gloo."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from sgopd.config import Sampling
from sgopd.engines.forward import response_logprobs
from sgopd.engines.torch_engine import TorchEngine
from sgopd.training import distributed
from tests.training.some_steps import build, run

try:
    import peft  # noqa: F401

    LORA = ["lora"]
except ImportError:  # the extra is optional
    LORA = []


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same updates by one process and by two, each going on from the other's checkpoint too."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    run(one / "full")
    for _ in LORA:
        run(one / "lora", lora=True)
    script = ["-m", "tests.training.some_steps", str(two), str(one), *LORA]
    subprocess.run([*torchrun, *script], check=True, timeout=280, cwd=Path(__file__).parents[2])
    run(one / "on", two / "start/step0000002")
    for _ in LORA:
        run(one / "lora-on", two / "lora/step0000002", lora=True)
    return {"one": one, "two": two}


def result(folder: Path) -> Any:
    return json.loads((folder / "result.json").read_text())


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys() and a
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize(("one", "two"), [("full", "start"), *[("lora", "lora") for _ in LORA]])
def test_gradients_metrics_samples_and_weights_do_not_depend_on_the_number_of_processes(
    runs: dict[str, Path], one: str, two: str
) -> None:
    a, b = runs["one"] / one, runs["two"] / two
    same(load_file(a / "gradients.safetensors"), load_file(b / "gradients.safetensors"))
    same(load_file(a / "weights.safetensors"), load_file(b / "weights.safetensors"))
    ours, theirs = result(a), result(b)
    assert ours["sampled"] == theirs["sampled"]
    for x, y in zip(ours["metrics"], theirs["metrics"], strict=True):
        assert x == pytest.approx(y, rel=1e-4, abs=1e-6)
    for x, y in zip(ours["scores"] + ours["own"], theirs["scores"] + theirs["own"], strict=True):
        assert x == pytest.approx(y, abs=1e-4)


@pytest.mark.parametrize(("one", "two"), [("on", "full"), *[("lora-on", "lora-on") for _ in LORA]])
def test_a_checkpoint_of_one_process_goes_on_with_two_and_the_other_way_round(
    runs: dict[str, Path], one: str, two: str
) -> None:
    same(load_file(runs["one"] / one / "weights.safetensors"), load_file(runs["two"] / two / "weights.safetensors"))


def test_weights_written_by_two_processes_are_plain_safetensors_that_transformers_loads(runs: dict[str, Path]) -> None:
    folder = runs["two"] / "start/step0000002/model"
    assert sorted(path.name for path in folder.glob("*.safetensors")) == [
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
    ]  # fmt: skip
    loaded = dict(AutoModelForCausalLM.from_pretrained(folder).named_parameters())
    written = load_file(runs["two"] / "start/weights.safetensors")
    assert loaded.keys() == written.keys()
    assert all(torch.equal(loaded[name], written[name]) for name in written)
    assert not [
        path for path in runs["two"].rglob("*") if path.suffix in (".pt", ".bin", ".pkl", ".distcp", ".metadata")
    ]


@pytest.mark.skipif(not LORA, reason="needs the extra lora")
def test_adapters_leave_merged_and_train_nothing_else(runs: dict[str, Path]) -> None:
    gradients = load_file(runs["one"] / "lora/gradients.safetensors")
    assert gradients and all(".lora_" in name for name in gradients)
    merged = load_file(runs["one"] / "lora/step0000002/model/model.safetensors")
    plain = build()
    assert merged.keys() == dict(plain.named_parameters()).keys()
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            parameter.copy_(merged[name])
        ours, _ = response_logprobs(plain, [[3, 4]], [[5, 6, 7]], 0)
        from sgopd.training.checkpoint import load_adapters

        adapted = build(lora=True)
        load_adapters(adapted, runs["one"] / "lora/step0000002")
        theirs, _ = response_logprobs(adapted, [[3, 4]], [[5, 6, 7]], 0)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("world", "group"), [(2, 1), (4, 2), (6, 3)])
def test_each_process_hears_of_the_rollouts_that_it_will_score(
    monkeypatch: pytest.MonkeyPatch, world: int, group: int
) -> None:
    monkeypatch.setattr(distributed, "world", lambda: world)
    heard: list[int] = []
    for rank in range(world):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        monkeypatch.setattr(distributed, "gather", lambda own: [own] * world)
        engine = TorchEngine(build().eval(), 2, 0)
        before = len(heard)
        sampler = distributed.SharedWork(engine, group)
        sampler.sample([[3, 4]] * 13, Sampling(max_new_tokens=3), range(13), lambda place, _: heard.append(place))
        assert sorted(heard[before:]) == distributed.SharedWork(engine)._mine(13)
    assert sorted(heard) == list(range(13))


def test_micro_batches_are_dealt_so_that_every_process_makes_as_many_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "world", lambda: 3)
    groups, dealt = [[0], [1], [2], [3]], []
    for rank in range(3):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        dealt.append(list(distributed.deal(groups)))
        assert list(distributed.deal([])) == []
    assert dealt == [[([0], 1.0), ([3], 1.0)], [([1], 1.0), ([3], 0.0)], [([2], 1.0), ([3], 0.0)]]
