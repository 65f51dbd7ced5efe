"""``sgopd check``: one verdict per case, in order, written whole or not at all; errors name file, line and key."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sgopd.cli import app
from sgopd.errors import UserError
from sgopd.verifier import VerifierOptions, check_file


def run(tmp_path: Path, cases: list[Any], options: VerifierOptions | None = None) -> list[dict[str, Any]]:
    source, out = tmp_path / "cases.jsonl", tmp_path / "verdicts.jsonl"
    source.write_text("".join(json.dumps(case) + "\n" for case in cases))
    verdicts = check_file(source, out, options)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["verdict"] for line in lines] == [v.verdict for v in verdicts]
    return lines


def test_one_line_out_for_each_line_in_in_the_same_order(tmp_path: Path) -> None:
    cases = [{"id": f"case-{i}", "gold": str(i), "response": rf"\boxed{{{i % 7}}}"} for i in range(40)]
    lines = run(tmp_path, cases)
    assert [line["id"] for line in lines] == [case["id"] for case in cases]
    assert [line["verdict"] == "correct" for line in lines] == [i < 7 for i in range(40)]
    assert all(set(line) == {"id", "verdict", "answer", "reason", "seconds"} for line in lines)


def test_a_line_may_set_policies_of_its_own(tmp_path: Path) -> None:
    stated = {"gold": "5", "response": "The answer is 5."}
    rounded = {"gold": r"\frac{1}{3}", "response": r"\boxed{0.33}"}
    lines = run(
        tmp_path,
        [
            stated,
            stated | {"options": {"extract": "boxed"}},
            rounded,
            rounded | {"options": {"decimal_places": 2}},
            rounded | {"options": {"precision": 2, "match_types": ["latex"], "float_rounding": 6}},
            {"gold": "5", "response": r"\boxed{5}", "truncated": True},
            {"gold": r"\frac12", "response": "0.5", "kind": "pair"},
        ],
    )
    assert [line["verdict"] for line in lines] == [
        *["correct", "no_answer", "incorrect", "correct", "correct", "truncated", "correct"]
    ]
    assert [line["id"] for line in lines] == list(range(1, 8))


def test_values_that_are_no_text_get_a_verdict_too(tmp_path: Path) -> None:
    response = r"\boxed{5}"
    golds = [5, 5.0, None, "", True, ["5"], {"a": 5}]
    lines = run(tmp_path, [{"gold": g, "response": response} for g in golds] + [{"gold": "5", "response": None}])
    assert [line["verdict"] for line in lines] == [
        *["correct", "correct", "error", "error", "incorrect", "correct", "incorrect", "no_answer"]
    ]


def test_text_that_is_not_unicode_gets_a_verdict_too(tmp_path: Path) -> None:
    source, out = tmp_path / "cases.jsonl", tmp_path / "verdicts.jsonl"
    source.write_bytes(
        b'{"gold": "5", "response": "\xff\xfe \\\\boxed{5}"}\n\n{"gold": "x\\ud800", "response": "\\\\boxed{\\ud800+1}"}\n'
    )
    assert [v.verdict for v in check_file(source, out)] == ["correct", "incorrect"]
    assert len(out.read_text(encoding="utf-8").splitlines()) == 2


@pytest.mark.parametrize(
    "line, message",
    [
        ("{", "line 2: not JSON"),
        ("[1, 2]", "line 2: a JSON object"),
        ('{"gold": "5"}', "line 2: no 'response'"),
        ('{"gold": "5", "response": "5", "options": "boxed"}', "line 2: options must be"),
        ('{"gold": "5", "response": "5", "options": {"extract": "all"}}', "line 2: options: extract must be"),
        ("[" * 100_000, "line 2: not JSON"),
    ],
)
def test_a_line_that_is_no_case_is_named_and_nothing_is_written(tmp_path: Path, line: str, message: str) -> None:
    source, out = tmp_path / "cases.jsonl", tmp_path / "verdicts.jsonl"
    source.write_text('{"gold": "5", "response": "5"}\n' + line + "\n")
    with pytest.raises(UserError, match=message):
        check_file(source, out)
    assert list(tmp_path.iterdir()) == [source]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.jsonl: no such file"):
        check_file(tmp_path / "none.jsonl", tmp_path / "out.jsonl")


def test_the_command_writes_the_verdicts_and_keeps_a_cache(tmp_path: Path) -> None:
    source, out, cache = (tmp_path / name for name in ("cases.jsonl", "out.jsonl", "cache.sqlite"))
    source.write_text(json.dumps({"id": "a", "gold": "x+1", "response": r"\boxed{1+x}"}) + "\n")
    result = CliRunner().invoke(app, ["check", str(source), "--out", str(out), "--cache", str(cache), "--workers", "1"])
    assert result.exit_code == 0, result.output
    assert json.loads(out.read_text())["verdict"] == "correct"
    assert cache.is_file()


def test_the_command_names_a_wrong_way_of_extraction(tmp_path: Path) -> None:
    source = tmp_path / "cases.jsonl"
    source.write_text("")
    result = CliRunner().invoke(app, ["check", str(source), "--out", str(tmp_path / "o"), "--extract", "boxes"])
    assert result.exit_code != 0 and "boxed" in str(result.exception)
