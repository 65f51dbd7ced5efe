"""Nothing that comes from a file, a model or a name is run; nothing leaves results/; no secret is written down."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from sgopd.artefacts import Artefacts
from sgopd.config import Study
from sgopd.errors import UserError, masked
from sgopd.models import load_model, load_tokenizer
from sgopd.pretrain import build_tokenizer
from sgopd.verifier import verify
from tests.conftest import TINY
from tests.reliability.conftest import STUDY, Run

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = sorted((REPOSITORY / "src").rglob("*.py"))
FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "torch.load",
    "torch.save",
    "yaml.unsafe_load",
}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_module_unpickles_evaluates_or_uses_a_shell(path: Path) -> None:
    tree = ast.parse(path.read_text())
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert not imported & FORBIDDEN_MODULES
    for name, call in calls(tree):
        assert name not in FORBIDDEN_CALLS, f"{path}: {name}"
        for keyword in call.keywords:
            value = ast.unparse(keyword.value)
            assert not (keyword.arg == "shell" and value != "False"), f"{path}: {name}"
            assert not (keyword.arg == "trust_remote_code" and value != "False"), f"{path}: {name}"
            assert not (keyword.arg == "use_safetensors" and value != "True"), f"{path}: {name}"


def test_code_that_comes_with_a_model_is_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    build_tokenizer().save_pretrained(folder)
    owned = tmp_path / "owned"
    (folder / "own.py").write_text(f"open({str(owned)!r}, 'w')\nclass Model: ...\nclass Tokenizer: ...\n")
    auto = {"AutoModelForCausalLM": "own.Model", "AutoConfig": "own.Model", "AutoTokenizer": ["own.Tokenizer", None]}
    (folder / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": auto}))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(
        json.dumps(settings | {"tokenizer_class": "Tokenizer", "auto_map": auto})
    )
    with pytest.raises(UserError, match="cannot be loaded"):
        load_model(folder, dtype="float32")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_tokenizer(folder)
    assert not owned.exists()


@pytest.mark.parametrize(
    "answer",
    [
        "__import__('os').system('touch owned')", "().__class__.__bases__[0].__subclasses__()", "open('owned','w')", "exec('x=1')",
        r"\input{/etc/passwd}", r"\immediate\write18{touch owned}", "$(touch owned)", "`touch owned`", "{{7*7}}", "1; touch owned",
    ],
)  # fmt: skip
def test_what_a_model_writes_is_not_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert verify(["50"], [rf"so \boxed{{{answer}}}"])[0].verdict in ("incorrect", "error", "no_answer", "timeout")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("results", ["results", "a/b", "x=1,y=2"])
def test_every_artefact_lies_below_data_or_results(results: str) -> None:
    artefacts = Artefacts(Study.model_validate(TINY | {"results": results}))
    folders = [
        artefacts.phase("sgopd", 0, 1),
        artefacts.evaluation("sgopd", 0),
        artefacts.comparison,
        artefacts.rollouts,
    ]
    for artefact in folders:
        place = Path(os.path.normpath(artefact.folder))
        assert not place.is_absolute() and ".." not in place.parts and place.parts[0] in ("data", results.split("/")[0])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:hunter22@host:5000/x", "http://***@host:5000/x"), ("postgresql://u:p%40ss@db/mlflow", "postgresql://***@db/mlflow"),
        ("http://host/a@b", "http://host/a@b"), ("https://token123@host", "https://***@host"), ("key abcdef-secret.", "key ***."),
    ],
)  # fmt: skip
def test_credentials_and_secrets_are_masked(monkeypatch: pytest.MonkeyPatch, text: str, shown: str) -> None:
    monkeypatch.setenv("SOME_API_KEY", "abcdef-secret")
    assert masked(text) == shown


def test_no_log_manifest_or_message_holds_a_secret(
    sgopd: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2222@127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "hf_very_secret")
    (tmp_path / "mlflow-spool").mkdir()
    begin = {
        "begin": {"study": "a", "method": "b", "seed": 0, "fingerprint": "c"},
        "phase": "x",
        "time": 0,
        "params": {},
        "tags": {},
    }
    (tmp_path / "mlflow-spool" / "a.jsonl").write_text(json.dumps(begin) + "\n")
    code, message = sgopd("sync")
    assert code == 2 and "127.0.0.1:9" in message and "hunter2222" not in message
    for path in [*tmp_path.rglob("*"), *finished.rglob("manifest.json"), *finished.rglob("*.html")]:
        if path.is_file():
            assert b"hunter2222" not in path.read_bytes() and b"hf_very_secret" not in path.read_bytes()


@pytest.mark.slow
def test_a_study_file_with_a_shell_in_its_name_is_only_a_name(tmp_path: Path) -> None:
    name = 'it\'s "odd" $(touch owned); touch owned2 {x}.yaml'
    (tmp_path / name).write_text(yaml.safe_dump(STUDY))
    target = Artefacts(Study.model_validate(STUDY)).phase("sgopd", 0, 1).manifest
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "workflow/Snakefile"), "--workflow-profile",
        str(REPOSITORY / "workflow/profiles/default"), "--directory", str(tmp_path), "--cores", "1", str(target),
        "--config", f"study={name}",
    ]  # fmt: skip
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / target).is_file() and not list(tmp_path.glob("owned*"))
