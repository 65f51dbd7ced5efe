"""The command line: help that teaches, errors in one message with exit code 2 and nothing written."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from sgopd import cli
from sgopd.config import override
from sgopd.models import load_tokenizer
from sgopd.pretrain import build_tokenizer
from tests.conftest import TINY

STAGES = ["model", "prompts", "rollouts", "verdicts", "distil", "evaluate", "compare", "grid", "report"]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["sgopd", *arguments])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_says_what_goes_in_and_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    assert run(monkeypatch, stage, "--help") == 0
    text = capsys.readouterr().out
    assert "In:" in text and "Out:" in text and "--study" in text


ARGUMENTS = {
    "model": ["teacher"], "prompts": [], "rollouts": [], "verdicts": [], "distil": ["--method", "opd", "--phase", "1"],
    "evaluate": ["--method", "opd"], "compare": [], "grid": [], "report": [], "show": [],
}  # fmt: skip


@pytest.mark.parametrize("stage", ARGUMENTS)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trainig": {}}, "trainig: unknown key; did you mean 'training'?"),
        ({"training": {"steps": "x"}}, "training.steps"),
        ({"methods": {"opd": {"objective": {"rule": "no"}}}}, "no rule 'no'"),
    ],
)
def test_a_bad_study_stops_every_command_with_one_message(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    stage: str,
    changes: dict,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(yaml.safe_dump(override(TINY, changes)))
    assert run(monkeypatch, stage, *ARGUMENTS[stage], "--study", "study.yaml") == 2
    message = capsys.readouterr().err
    assert "study.yaml" in message and words in message and "Traceback" not in message
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["distil", "--method", "nothing", "--phase", "1"], "nothing"),
        (["distil", "--method", "opd", "--phase", "4"], "--phase"),
        (["distil", "--method", "opd", "--phase", "1", "--point", "x=1"], "grid point"),
        (["evaluate", "--method", "nothing"], "nothing"),
        (["model", "judge"], "judge"),
        (["grid"], "no `grid`"),
        (["nonsense"], "nonsense"),
        (["prompts", "--study", "missing.yaml"], "missing.yaml"),
        (["rollouts"], "data/models"),
        (["compare"], "evaluations"),
    ],
)
def test_a_wrong_option_or_a_missing_input_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(yaml.safe_dump(TINY))
    study = [] if "--study" in arguments or arguments == ["nonsense"] else ["--study", "study.yaml"]
    assert run(monkeypatch, *arguments, *study) == 2
    assert word in capsys.readouterr().err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "study.yaml"]


def test_a_pair_with_different_tokenizers_stops_at_the_first_stage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], made: Path, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    build_tokenizer().save_pretrained("student")
    other = build_tokenizer()
    other.add_tokens(["?"])
    other.save_pretrained("teacher")
    assert load_tokenizer("teacher").get_vocab() != load_tokenizer("student").get_vocab()
    study = {**TINY, "models": {"teacher": {"path": "teacher"}, "student": {"path": "student"}}}
    Path("study.yaml").write_text(yaml.safe_dump(study))
    assert run(monkeypatch, "prompts", "--study", "study.yaml") == 2
    assert "different tokenizers" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_no_prompt_left_is_an_error_that_says_which_filter_took_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    build_tokenizer().save_pretrained("model")
    study = override(TINY, {"prompts": {"max_prompt_tokens": 3}})
    study["models"] = {"teacher": {"path": "model"}, "student": {"path": "model"}, "prompt_template": "{problem}"}
    Path("study.yaml").write_text(yaml.safe_dump(study))
    assert run(monkeypatch, "prompts", "--study", "study.yaml") == 2
    message = capsys.readouterr().err
    assert "no problem is left" in message and "longer than 3 tokens | 12 | 0" in message
    assert not (tmp_path / "data").exists()


def test_show_prints_every_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(TINY))
    assert run(monkeypatch, "show", "--study", str(tmp_path / "study.yaml")) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["methods"]["sgopd"]["optimiser"]["weight_decay"] == 0.01


def test_rules_lists_every_rule_with_its_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "rules") == 0
    text = capsys.readouterr().out
    assert "lambda_consensus=1.8" in text and "opdvr" in text
