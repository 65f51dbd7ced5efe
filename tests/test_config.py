"""Studies: what is accepted, what is refused and with which words."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sgopd.config import Study, Training, differing_keys, override
from sgopd.errors import UserError
from sgopd.study_files import load_studies, load_study
from tests.conftest import TINY

CONFIGS = Path(__file__).parent.parent / "configs"

MINIMAL: dict[str, Any] = {
    "name": "small",
    "models": {"teacher": {"path": "some/teacher"}, "student": {"path": "some/student"}},
    "prompts": {
        "train": {"kind": "synthetic", "count": 8},
        "validation": {"kind": "synthetic", "count": 4},
        "benchmarks": {"chain": {"kind": "synthetic", "count": 4}},
    },
    "methods": {"opd": {}, "sgopd": {"objective": {"rule": "sgopd"}}},
}


def write(tmp_path: Path, changes: dict[str, Any], name: str = "study.yaml") -> Path:
    path = tmp_path / name
    path.write_text(yaml.safe_dump(override(MINIMAL, changes), sort_keys=False))
    return path


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")) + sorted(CONFIGS.glob("studies/*.yaml")), ids=str)
def test_every_study_in_configs_loads(path: Path) -> None:
    assert load_studies(path)


def test_a_minimal_study_gets_every_default(tmp_path: Path) -> None:
    study = load_study(write(tmp_path, {}))
    assert study.runs["opd"] == Training()
    assert study.runs["sgopd"].objective.rule == "sgopd"
    assert study.runs["sgopd"].steps == study.training.steps


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trainig": {}}, ["trainig", "unknown key", "did you mean 'training'"]),
        ({"training": {"step": 3}}, ["training.step", "did you mean 'steps'"]),
        ({"training": {"optimiser": {"learning_rate": 1}}}, ["training.optimiser.learning_rate", "lr"]),
        ({"training": {"steps": "many"}}, ["training.steps", "integer", "'many'"]),
        ({"training": {"steps": 0}}, ["training.steps", "greater than or equal to 1", "0"]),
        ({"training": {"optimiser": {"lr": -1.0}}}, ["training.optimiser.lr", "greater than 0", "-1.0"]),
        ({"training": {"optimiser": {"lr": float("nan")}}}, ["training.optimiser.lr", "finite"]),
        ({"training": {"objective": {"rule": "gpro"}}}, ["training.objective", "gpro", "grpo"]),
        ({"training": {"objective": {"rule": "opd", "options": {"lambda_": 1}}}}, ["opd", "lambda_", "guard"]),
        ({"methods": {"x": {"objective": {"rule": "nope"}}}}, ["methods.x", "nope"]),
        ({"methods": {"x": {"stepz": 1}}}, ["methods.x", "stepz"]),
        ({"methods": {"../../x": {}}}, ["methods", "../../x"]),
        ({"methods": {"teacher": {}}}, ["teacher", "reference row"]),
        ({"baseline": "nothing"}, ["baseline", "nothing", "opd"]),
        ({"seeds": []}, ["seeds"]),
        ({"seeds": [1, 1]}, ["seeds", "repeats"]),
        ({"results": "../elsewhere"}, ["results", ".."]),
        ({"results": "/tmp/x"}, ["results", "/tmp/x"]),
        ({"evaluation": {"samples": 4, "pass_k": [8]}}, ["evaluation", "pass_k", "8", "4"]),
        ({"training": {"hold": 0.5, "decay": 0.2}}, ["training", "hold", "0.5"]),
        ({"models": {"prompt_template": "no place"}}, ["models.prompt_template", "{problem}"]),
        ({"prompts": {"benchmarks": []}}, ["prompts.benchmarks", "dictionary"]),
        ({"prompts": {"train": {"count": 0}}}, ["prompts.train", "count", "0"]),
        ({"name": "../x"}, ["name", "../x"]),
        ({"engine": {"tensor_parallel": 3}, "hardware": {"processes": 8}}, ["engine.tensor_parallel", "3", "8"]),
        ({"engine": {"teacher": "node:8000"}}, ["engine.teacher", "node:8000"]),
        (
            {
                "engine": {"teacher": "vllm"},
                "training": {"objective": {"base": "jsd"}},
                "methods": {"sgopd": {"objective": {"base": "sampled"}}},
            },
            ["methods.opd.objective.base", "engine.teacher"],
        ),
    ],
)
def test_a_bad_value_is_refused_with_file_key_and_value(
    tmp_path: Path, changes: dict[str, Any], words: list[str]
) -> None:
    path = write(tmp_path, changes)
    with pytest.raises(UserError) as caught:
        load_study(path)
    for word in [str(path), *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a: [", "not valid YAML"),
        ("- 1", "mapping"),
        ("", "mapping"),
        ("a: 1\na: 2", "stands twice"),
        ("!!python/name:os.system x", "YAML"),
    ],
)
def test_a_file_that_is_no_study_is_refused(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=word):
        load_study(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.yaml: no such file"):
        load_study(tmp_path / "nothing.yaml")


def test_a_study_extends_another_and_lists_its_own_methods(tmp_path: Path) -> None:
    write(tmp_path, {"training": {"steps": 7}}, "base.yaml")
    child = tmp_path / "child.yaml"
    child.write_text("extends: base.yaml\nname: child\nmethods: {opd: , late: {hold: 0.4}}\n")
    study = load_study(child)
    assert list(study.methods) == ["opd", "late"]
    assert study.runs["late"].steps == 7
    assert study.runs["late"].hold == 0.4


def test_files_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml")
    (tmp_path / "b.yaml").write_text("extends: a.yaml")
    with pytest.raises(UserError, match="circle"):
        load_study(tmp_path / "a.yaml")


def test_a_grid_makes_one_study_per_point_with_results_of_its_own(tmp_path: Path) -> None:
    path = write(tmp_path, {"grid": {"training.hold": [0.1, 0.2], "seed": [0, 1]}})
    studies = load_studies(path)
    assert [study.point for study in studies] == [
        "hold=0.1,seed=0",
        "hold=0.1,seed=1",
        "hold=0.2,seed=0",
        "hold=0.2,seed=1",
    ]
    assert studies[3].training.hold == 0.2 and studies[3].seed == 1
    assert len({study.results for study in studies}) == 4
    assert load_study(path, "hold=0.2,seed=0") == studies[2]
    with pytest.raises(UserError, match="no grid point"):
        load_study(path, "hold=9")


def test_a_grid_axis_may_have_named_changes(tmp_path: Path) -> None:
    grid = {"size": {"small": {"training": {"steps": 3}}, "large": {"training": {"steps": 30}}}}
    studies = load_studies(write(tmp_path, {"grid": grid}))
    assert [(study.point, study.training.steps) for study in studies] == [("size=small", 3), ("size=large", 30)]


@pytest.mark.parametrize("grid", [[1], {"seed": 3}, {"seed": []}, {"size": {"small": 3}}])
def test_a_malformed_grid_is_refused(tmp_path: Path, grid: object) -> None:
    with pytest.raises(UserError, match="grid"):
        load_studies(write(tmp_path, {"grid": grid}))


def test_changing_the_rule_drops_the_options_of_the_old_one() -> None:
    base = {"objective": {"rule": "exopd", "options": {"lambda_": 2.0}, "clip_epsilon": 0.1}}
    merged = override(base, {"objective": {"rule": "opd"}})
    assert merged == {"objective": {"rule": "opd", "clip_epsilon": 0.1}}


def test_the_phases_cover_all_steps_without_overlap() -> None:
    for steps in range(1, 50):
        (a, b), (c, d), (e, f) = Training(steps=steps).phase_bounds()
        assert a == 0 and b == c and d == e and f == steps and a <= b <= d <= f


def test_the_report_can_say_in_which_keys_methods_differ(tmp_path: Path) -> None:
    study = load_study(write(tmp_path, {"methods": {"late": {"hold": 0.3}}}))
    assert differing_keys(study)["hold"] == {"opd": 0.1, "sgopd": 0.1, "late": 0.3}
    assert "steps" not in differing_keys(study)


def test_methods_are_compared_by_their_resolved_options() -> None:
    study = Study.model_validate(
        override(TINY, {"training": {"objective": {"rule": "opd", "options": {"guard": "clip"}}}})
    )
    table = differing_keys(study)
    assert table["objective.options.guard"] == {"opd": "clip", "sgopd": "off", "sft": "off"}
    assert table["objective.options.lambda_consensus"] == {"opd": None, "sgopd": 1.8, "sft": None}
    assert "objective.options.guard_clip" not in table
