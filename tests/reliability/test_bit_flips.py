"""A flipped bit in any file under data/ or results/ is found before the file is used, and the file is named."""

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from sgopd import store
from sgopd.artefacts import Artefacts
from sgopd.config import Study
from sgopd.errors import UserError
from sgopd.evaluation.evaluate import evaluate
from sgopd.records import EVALUATIONS
from tests.reliability.conftest import STUDY, Run


@pytest.fixture
def copied(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return tmp_path


def flip(path: Path, draw: random.Random) -> bytes:
    """Flip one bit of a file; returns what it held before."""
    good = path.read_bytes()
    bad = bytearray(good)
    bad[draw.randrange(len(bad))] ^= 1 << draw.randrange(8)
    path.write_bytes(bad)
    return good


def test_a_flipped_bit_anywhere_under_data_or_results_is_found_and_its_file_named(sgopd: Run, copied: Path) -> None:
    draw = random.Random(0)
    files = sorted(
        path for top in ("data", "results") for path in Path(top).rglob("*") if path.stat().st_size and path.is_file()
    )
    assert len(files) > 60 and sgopd("verify-store", "data", "results")[0] == 0
    for path in [*files, *draw.choices(files, k=100)]:
        good = flip(path, draw)
        code, message = sgopd("verify-store", "data", "results")
        assert code == 2 and str(path) in message, f"{path}: {message[:300]}"
        path.write_bytes(good)


def test_every_stage_refuses_an_input_with_a_flipped_bit(sgopd: Run, copied: Path) -> None:
    a = Artefacts(Study.model_validate(STUDY))
    draw = random.Random(1)
    phase = ["distil", "--method", "sgopd", "--phase"]
    arrows: list[tuple[Path, Path | None, list[str]]] = [
        (a.model("student").folder, a.prompts.folder, ["prompts"]), (a.model("teacher").folder, a.rollouts.folder, ["rollouts"]),
        (a.prompts.folder, a.rollouts.folder, ["rollouts"]), (a.rollouts.folder, a.verdicts.folder, ["verdicts"]),
        (a.verdicts.folder, a.phase("sgopd", 0, 1).folder, [*phase, "1"]),
        (a.phase("sgopd", 0, 1).folder, a.phase("sgopd", 0, 2).folder, [*phase, "2"]),
        (a.phase("sgopd", 0, 3).folder, a.evaluation("sgopd", 0).folder, ["evaluate", "--method", "sgopd"]),
        (a.evaluation("sgopd", 0).folder, None, ["compare"]), (a.phase("sgopd", 0, 2).folder, None, ["report"]),
        (a.comparison.folder, None, ["report"]),
    ]  # fmt: skip
    for source, output, command in arrows:
        if output:
            shutil.rmtree(output)
        for path in sorted(path for path in source.rglob("*") if path.is_file()):
            good = flip(path, draw)
            code, message = sgopd(*command, "--study", "study.yaml")
            assert code == 2 and str(path) in message, f"{command}, {path}: {message[:300]}"
            path.write_bytes(good)
        assert output is None or not output.exists()
        if output:
            break_off = sgopd(*command, "--study", "study.yaml")
            assert break_off[0] == 0 and output.exists(), break_off


def test_a_shard_with_a_flipped_bit_is_named_and_made_again(
    copied: Path, study: Study, caplog: pytest.LogCaptureFixture
) -> None:
    one = Study.model_validate(STUDY)
    artefact = Artefacts(one).evaluation("sgopd", 0)
    whole = (artefact.folder / "evaluations.parquet").read_bytes()
    rows = store.read_table(artefact.folder / "evaluations.parquet", EVALUATIONS).to_pylist()
    shards = store.Shards(artefact.partial, EVALUATIONS)
    for i, benchmark in enumerate(one.prompts.benchmarks):
        shards.write(i, [row for row in rows if row["benchmark"] == benchmark])
    damaged = shards.paths()[1]
    flip(damaged, random.Random(2))
    shutil.rmtree(artefact.folder)
    evaluate(one, "sgopd", 0)
    assert any(damaged.name in record.getMessage() for record in caplog.records)
    assert (artefact.folder / "evaluations.parquet").read_bytes() == whole


def test_a_shard_that_is_damaged_between_writing_and_reading_is_named(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    shards = store.Shards(tmp_path / "shards", EVALUATIONS)
    shards.write(0, rows)
    flip(shards.paths()[0], random.Random(3))
    with pytest.raises(UserError, match=r"00000-.*parquet"):
        list(shards.tables(1))


def test_a_checkpoint_with_a_flipped_bit_is_named_and_not_used(copied: Path, caplog: pytest.LogCaptureFixture) -> None:
    from sgopd.training.checkpoint import Checkpoints

    phase = Artefacts(Study.model_validate(STUDY)).phase("sgopd", 0, 1)
    for name in ("step0000001", "step0000002"):
        shutil.copytree(phase.folder, phase.partial / name)
        store.finish(phase.partial / name, "checkpoint", "x", {}, {})
    flip(phase.partial / "step0000002" / "optimiser.safetensors", random.Random(4))
    assert Checkpoints(phase.partial).newest() == phase.partial / "step0000001"
    assert any("step0000002/optimiser.safetensors" in record.getMessage() for record in caplog.records)


def test_a_manifest_written_without_a_checksum_of_itself_is_still_read(tmp_path: Path) -> None:
    store.finish(tmp_path, "kind", "f" * 16, {}, {})
    text = (tmp_path / "manifest.json").read_text()
    (tmp_path / "manifest.json").write_text("\n".join(line for line in text.split("\n") if "checksum" not in line))
    assert store.verify(tmp_path).kind == "kind"
