"""Malformed input ends every command in one readable error and exit code 2, without a traceback and with nothing written."""

import gzip
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from safetensors.numpy import load_file, save_file

from sgopd import store
from sgopd.artefacts import Artefacts
from sgopd.config import Study, override
from sgopd.pretrain import build_tokenizer
from tests.conftest import TINY
from tests.reliability import malformed
from tests.reliability.conftest import STUDY, Run, tree

COMMANDS = [
    ["model", "teacher"],
    ["prompts"],
    ["rollouts"],
    ["verdicts"],
    ["distil", "--method", "opd", "--phase", "1"],
    ["evaluate", "--method", "opd"],
    ["compare"],
    ["grid"],
    ["report"],
    ["show"],
]


def refuse(sgopd: Run, folder: Path, arguments: list[str], word: str) -> str | None:
    """None, or what is wrong with how the command refuses its input."""
    before = tree(folder)
    try:
        code, message = sgopd(*arguments)
    except Exception as error:
        return f"{arguments}: {type(error).__name__}: {str(error)[:300]}"
    wrong = [
        code != 2 and f"exit code {code}",
        "Traceback" in message and "a traceback",
        word not in message and f"no {word!r}",
        tree(folder) != before and f"written: {sorted(tree(folder) ^ before)[:5]}",
        len(message) > 4000 and "an endless message",
    ]
    found = ", ".join(part for part in wrong if part)
    return f"{arguments}: {found}; it says {message[:400]!r}" if found else None


def all_refused(problems: Iterator[tuple[Any, str | None]], least: int) -> None:
    found = list(problems)
    assert not (bad := [f"{name!s:.120}: {problem}" for name, problem in found if problem]), "\n".join(bad)
    assert len(found) >= least


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_study_file_that_is_no_study_is_refused_by_every_command(sgopd: Run, here: Path) -> None:
    def problems() -> Iterator[tuple[Any, str | None]]:
        texts = {text.encode(): word for text, word in malformed.TEXTS.items()} | malformed.BYTES
        for (content, word), command in zip(texts.items(), itertools.cycle(COMMANDS), strict=False):
            Path("study.yaml").write_bytes(content)
            yield content, refuse(sgopd, here, [*command, "--study", "study.yaml"], word)

    all_refused(problems(), 40)


def test_a_key_with_a_wrong_value_is_named_by_every_command(sgopd: Run, here: Path) -> None:
    generated = [
        (path, value, path[-1].rstrip("s")) for path, good in malformed.every_key() for value in malformed.wrong(good)
    ]
    written = [(tuple(key.split(".")), value, word) for key, value, word in malformed.VALUES]

    def problems() -> Iterator[tuple[Any, str | None]]:
        for (path, value, word), command in zip([*written, *generated], itertools.cycle(COMMANDS), strict=False):
            Path("study.yaml").write_text(yaml.safe_dump(malformed.changed(path, value), allow_unicode=True))
            yield (path, value), refuse(sgopd, here, [*command, "--study", "study.yaml"], word)

    all_refused(problems(), 300)


GOOD = {"problem": "What is 1 + 1?", "answer": "2"}
DATASETS: dict[str, tuple[bytes, str]] = {
    "empty.jsonl": (b"", "no problem is left"),
    "blank.jsonl": (b"\n\n", "no problem is left"),
    "words.jsonl": (b"words", "line 1"),
    "list.jsonl": (b"[1]", "line 1"),
    "number.jsonl": (b"3", "line 1"),
    "cut.jsonl": (b'{"problem": "a', "line 1"),
    "second.jsonl": (b'{"problem": "a", "answer": "1"}\n{', "line 2"),
    "latin.jsonl": (b'{"problem": "\xe9", "answer": "1"}', "latin.jsonl"),
    "column.jsonl": (b'{"question": "a", "answer": "1"}', "no column 'problem'"),
    "answer.jsonl": (b'{"problem": "a"}', "no column 'answer'"),
    "null.jsonl": (b'{"problem": null, "answer": null}', "no problem is left"),
    "nul.jsonl": (b"\0\0\0", "line 1"),
    "deep.jsonl": (b"[" * 100_000, "line 1"),
    "surrogate.jsonl": (b'{"problem": "\\ud800", "answer": "1"}', "surrogate.jsonl"),
    "nan.jsonl": (b'{"problem": NaN, "answer": "}', "line 1"),
    "long.jsonl": (b'{"problem": 1e999999, "answer":', "line 1"),
    "big.jsonl": (b'{"problem": ' + b"9" * 5000 + b', "answer": "1"}', "line 1"),
    "zip.jsonl.gz": (b"not gzip", "zip.jsonl.gz"),
    "cut.jsonl.gz": (gzip.compress(json.dumps(GOOD).encode())[:-9], "cut.jsonl.gz"),
    "empty.jsonl.gz": (gzip.compress(b""), "no problem is left"),
    "table.parquet": (b"no table", "table.parquet"),
    "empty.parquet": (b"", "empty.parquet"),
    "magic.parquet": (b"PAR1" + b"\xff" * 60 + b"PAR1", "magic.parquet"),
    "data.csv": (b"problem,answer\na,1\n", "cannot tell the format"),
    "noname": (b"{}", "cannot tell the format"),
    "missing.jsonl": (b"", "missing.jsonl"),
    "folder.jsonl": (b"", "folder.jsonl"),
}


@pytest.fixture
def with_model(here: Path) -> dict[str, Any]:
    """A study with a tokenizer folder ``model`` as its pair."""
    build_tokenizer().save_pretrained("model")
    models = {"teacher": {"path": "model"}, "student": {"path": "model"}, "prompt_template": "{problem}"}
    return TINY | {"models": models}


def test_a_malformed_data_set_is_named_with_its_line(sgopd: Run, here: Path, with_model: dict[str, Any]) -> None:
    names = itertools.cycle(["train", "validation", "benchmarks.chain"])

    def problems() -> Iterator[tuple[Any, str | None]]:
        for (name, (content, word)), place in zip(DATASETS.items(), names, strict=False):
            if name == "folder.jsonl":
                Path(name).mkdir()
            elif name != "missing.jsonl":
                Path(name).write_bytes(content)
            source: dict[str, Any] = {"kind": "file", "path": name}
            for key in reversed(place.split(".")):
                source = {key: source}
            study = {**with_model, "prompts": {**TINY["prompts"], **source}}
            Path("study.yaml").write_text(yaml.safe_dump(study))
            yield name, refuse(sgopd, here, ["prompts", "--study", "study.yaml"], word)

    all_refused(problems(), 27)


def test_columns_that_do_not_fit_the_data_are_named(sgopd: Run, here: Path, with_model: dict[str, Any]) -> None:
    Path("good.jsonl").write_text(json.dumps(GOOD) + "\n" + json.dumps(GOOD | {"answer": "3"}))
    pq.write_table(pa.table({"problem": pa.array([[b"\xff"]]), "answer": pa.array([{"a": 1}])}), "nested.parquet")
    cases = [
        ("good.jsonl", {"id": "answer.0"}, "answer.0"),
        ("good.jsonl", {"id": "problem"}, "repeats"),
        ("good.jsonl", {"problem": ""}, "column"),
        ("good.jsonl", {"difficulty": "level"}, "level"),
        ("good.jsonl", {"category": "x.y"}, "x.y"),
        ("nested.parquet", {}, "prompts"),
        ("nested.parquet", {"problem": "answer.b"}, "answer.b"),
    ]

    def problems() -> Iterator[tuple[Any, str | None]]:
        for name, columns, word in cases:
            source = {"kind": "file", "path": name, "columns": columns}
            study = {**with_model, "prompts": {**TINY["prompts"], "train": source}}
            Path("study.yaml").write_text(yaml.safe_dump(study))
            yield columns, refuse(sgopd, here, ["prompts", "--study", "study.yaml"], word)

    all_refused(problems(), 7)


def text_of(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a JSON file."""
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


TOKENIZERS: dict[str, Callable[[Path], Any]] = {
    "no tokenizer": lambda f: (f / "tokenizer.json").unlink(),
    "empty": lambda f: (f / "tokenizer.json").write_text(""),
    "no JSON": lambda f: (f / "tokenizer.json").write_text("{"),
    "a list": lambda f: (f / "tokenizer.json").write_text("[]"),
    "no keys": lambda f: (f / "tokenizer.json").write_text("{}"),
    "binary": lambda f: (f / "tokenizer.json").write_bytes(bytes(range(256))),
    "unknown model": lambda f: text_of(f / "tokenizer.json", lambda t: t | {"model": {"type": "no"}}),
    "no model": lambda f: text_of(f / "tokenizer.json", lambda t: t | {"model": None}),
    "words as ids": lambda f: text_of(f / "tokenizer.json", lambda t: override(t, {"model": {"vocab": {"a": "b"}}})),
    "negative id": lambda f: text_of(f / "tokenizer.json", lambda t: override(t, {"model": {"vocab": {"a": -1}}})),
    "broken config": lambda f: (f / "tokenizer_config.json").write_text("{"),
    "config a list": lambda f: (f / "tokenizer_config.json").write_text("[]"),
    "no eos": lambda f: text_of(
        f / "tokenizer_config.json", lambda t: {k: v for k, v in t.items() if k != "eos_token"}
    ),
    "no template": lambda f: [path.unlink() for path in f.glob("chat_template*")],
    "template without end": lambda f: (f / "chat_template.jinja").write_text("{% for m in messages %}"),
    "template that fails": lambda f: (f / "chat_template.jinja").write_text("{{ messages[7].role.x }}"),
    "template that raises": lambda f: (f / "chat_template.jinja").write_text("{{ raise_exception('no') }}"),
    "template that escapes": lambda f: (f / "chat_template.jinja").write_text(
        "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    ),
    "a file": lambda f: (shutil.rmtree(f), f.write_text("x")),
}


def test_a_malformed_tokenizer_is_named(sgopd: Run, here: Path, with_model: dict[str, Any]) -> None:
    Path("study.yaml").write_text(yaml.safe_dump(with_model))

    def problems() -> Iterator[tuple[Any, str | None]]:
        for (name, damage), command in zip(TOKENIZERS.items(), itertools.cycle(["prompts", "prompts"]), strict=False):
            shutil.rmtree("model") if Path("model").is_dir() else Path("model").unlink()
            build_tokenizer().save_pretrained("model")
            damage(Path("model"))
            yield name, refuse(sgopd, here, [command, "--study", "study.yaml"], "model")

    all_refused(problems(), 19)


def _weights(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _shape(tensors: dict[str, Any]) -> None:
    name = next(name for name in tensors if "q_proj" in name)
    tensors[name] = tensors[name][:-1]


MODELS: dict[str, Callable[[Path], Any]] = {
    "no config": lambda f: (f / "config.json").unlink(),
    "empty config": lambda f: (f / "config.json").write_text(""),
    "config a list": lambda f: (f / "config.json").write_text("[]"),
    "unknown type": lambda f: text_of(f / "config.json", lambda c: c | {"model_type": "nothing"}),
    "own code": lambda f: text_of(
        f / "config.json", lambda c: c | {"model_type": "x", "auto_map": {"AutoModelForCausalLM": "m.M"}}
    ),
    "no type": lambda f: text_of(
        f / "config.json", lambda c: {k: v for k, v in c.items() if k not in ("model_type", "architectures")}
    ),
    "another size": lambda f: text_of(f / "config.json", lambda c: c | {"hidden_size": 32}),
    "words as size": lambda f: text_of(f / "config.json", lambda c: c | {"hidden_size": "wide"}),
    "more layers": lambda f: text_of(f / "config.json", lambda c: c | {"num_hidden_layers": 5}),
    "capped logits": lambda f: text_of(f / "config.json", lambda c: c | {"final_logit_softcapping": 30.0}),
    "no weights": lambda f: (f / "model.safetensors").unlink(),
    "empty weights": lambda f: (f / "model.safetensors").write_bytes(b""),
    "cut weights": lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-100]),
    "cut header": lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:40]),
    "huge header": lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 8 + b"{}"),
    "a pickle instead": lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
    "a tensor missing": lambda f: _weights(f, lambda t: t.pop(next(n for n in t if "q_proj" in n))),
    "another shape": lambda f: _weights(f, _shape),
}


def test_a_malformed_model_is_named(sgopd: Run, here: Path, made: Path) -> None:
    shared = Artefacts(Study.model_validate(TINY), made / "data")
    study = TINY | {
        "models": {"teacher": {"path": "model"}, "student": {"path": "model"}, "prompt_template": "{problem}"}
    }
    Path("study.yaml").write_text(yaml.safe_dump(study))

    def problems() -> Iterator[tuple[Any, str | None]]:
        for (name, damage), command in zip(MODELS.items(), itertools.cycle(["rollouts", "evaluate"]), strict=False):
            shutil.rmtree("model", ignore_errors=True)
            shutil.rmtree("data", ignore_errors=True)
            shutil.copytree(shared.model("student").folder, "model", ignore=shutil.ignore_patterns("manifest.json"))
            damage(Path("model"))
            here_now = Artefacts(Study.model_validate(study))
            shutil.copytree(shared.prompts.folder, here_now.prompts.folder)  # whatever the model's fingerprint now is
            (here_now.prompts.folder / "manifest.json").unlink()
            store.finish(here_now.prompts.folder, "prompts", here_now.prompts.fingerprint, {}, {})
            arguments = [command, "--study", "study.yaml", *(["--method", "teacher"] if command == "evaluate" else [])]
            yield name, refuse(sgopd, here, arguments, "model")

    all_refused(problems(), 18)


JSON_DAMAGE: list[bytes] = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"x"',
    b"{}",
    b'{"kind": 1}',
    b"\xff\xfe",
    b'{"kind": "x", "fingerprint": "y", "unknown": 1}',
    b'{"kind": "x", "fingerprint": "y", "files": []}',
    b'{"kind": "x", "fingerprint": "y", "files": {"a": 1}}',
    b'{"kind": "x", "fingerprint": "y", "files": {"a": {}}}',
    b'{"kind": "x", "fingerprint": "y", "files": {"../../a": {"bytes": 1}}}',
    b"[" * 50_000,
    b'{"kind": "x", "fingerprint": "another", "files": {}}',
]
TABLE = pa.table({"x": [1]})


@pytest.fixture
def copied(finished: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(finished, here, dirs_exist_ok=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here}/mlflow.db")
    return here


def readers(folder: Path) -> list[tuple[Path, Path, list[str]]]:
    """(a stage's output to be removed, an input of it, its command) for every arrow of the pipeline."""
    a = Artefacts(Study.model_validate(STUDY))
    phase, evaluation = ["distil", "--method", "sgopd", "--phase"], ["evaluate", "--method", "sgopd"]
    student, teacher = a.model("student").folder, a.model("teacher").folder
    one, two, three = (a.phase("sgopd", 0, i).folder for i in (1, 2, 3))
    judged = a.evaluation("sgopd", 0).folder
    return [
        (a.prompts.folder, student, ["prompts"]),
        (a.rollouts.folder, teacher, ["rollouts"]),
        (a.rollouts.folder, a.prompts.folder, ["rollouts"]),
        (a.verdicts.folder, a.rollouts.folder, ["verdicts"]),
        (a.verdicts.folder, a.prompts.folder, ["verdicts"]),
        (one, a.verdicts.folder, [*phase, "1"]),
        (one, a.rollouts.folder, [*phase, "1"]),
        (one, student, [*phase, "1"]),
        (two, one, [*phase, "2"]),
        (judged, three, evaluation),
        (judged, a.prompts.folder, evaluation),
        (folder / "nothing", judged, ["compare"]),
        (folder / "nothing", one, ["compare"]),
        (folder / "nothing", a.comparison.folder, ["report"]),
        (folder / "nothing", two, ["report"]),
    ]


def test_a_malformed_manifest_or_table_of_an_input_is_named(sgopd: Run, copied: Path) -> None:
    def problems() -> Iterator[tuple[Any, str | None]]:
        for (output, source, command), damage in zip(readers(copied), itertools.cycle(JSON_DAMAGE), strict=False):
            kept = copied / "kept"
            if output.is_dir():
                output.rename(kept)
            for content in {damage, b"{"}:
                manifest = (source / "manifest.json").read_bytes()
                (source / "manifest.json").write_bytes(content)
                yield (source, content), refuse(sgopd, copied, [*command, "--study", "study.yaml"], source.name)
                (source / "manifest.json").write_bytes(manifest)
            victim = next(
                path for path in sorted(source.rglob("*")) if path.suffix in (".parquet", ".safetensors", ".csv")
            )
            good = victim.read_bytes()
            for content in (b"", b"PAR1", good[:-7], None):
                victim.unlink() if content is None else victim.write_bytes(content)
                yield (victim, content), refuse(sgopd, copied, [*command, "--study", "study.yaml"], victim.name)
                victim.write_bytes(good)
            if kept.is_dir():
                kept.rename(output)

    all_refused(problems(), 80)


def test_a_table_with_other_columns_is_named_though_its_checksum_is_right(sgopd: Run, copied: Path) -> None:
    def problems() -> Iterator[tuple[Any, str | None]]:
        for output, source, command in readers(copied):
            tables, kept = sorted(source.glob("*.parquet")), copied / "kept"
            saved = {path: path.read_bytes() for path in [*tables, source / "manifest.json"]}
            if output.is_dir():
                output.rename(kept)
            for table in tables:
                pq.write_table(TABLE, table)
            found = store.read_manifest(source)
            store.finish(source, found.kind, found.fingerprint, found.inputs, found.stats)
            reads_weights_alone = source.name in ("phase1", "phase3") and command[0] in ("distil", "evaluate")
            if tables and not reads_weights_alone:
                yield source, refuse(sgopd, copied, [*command, "--study", "study.yaml"], ".parquet")
            for path, content in saved.items():
                path.write_bytes(content)
            if kept.is_dir():
                shutil.rmtree(output, ignore_errors=True)
                kept.rename(output)

    all_refused(problems(), 8)


CASES: list[tuple[bytes, str]] = [
    (b"{", "line 1"),
    (b"[]", "line 1"),
    (b"7", "line 1"),
    (b'{"gold": "1"}', "response"),
    (b'{"response": "1"}', "gold"),
    (b'{"gold": "1", "response": "1", "options": 3}', "options"),
    (b'{"gold": "1", "response": "1", "options": {"extract": "no"}}', "extract"),
    (b"[" * 100_000, "line 1"),
    (b'{"gold": "1", "response": "1"}\n{"gold"', "line 2"),
]


def test_a_malformed_case_of_the_verifier_is_named_with_its_line(sgopd: Run, here: Path) -> None:
    def problems() -> Iterator[tuple[Any, str | None]]:
        for content, word in CASES:
            Path("cases.jsonl").write_bytes(content)
            yield content, refuse(sgopd, here, ["check", "cases.jsonl", "--out", "out.jsonl"], word)
        yield "missing", refuse(sgopd, here, ["check", "missing.jsonl", "--out", "out.jsonl"], "missing.jsonl")
        yield "no folder", refuse(sgopd, here, ["check", "cases.jsonl", "--out", "/proc/out.jsonl"], "/proc")

    all_refused(problems(), 11)
