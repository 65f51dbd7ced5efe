"""Answers that are huge, deep or hostile: decided quickly, never by evaluating them, and never accepted by mistake."""

from pathlib import Path

import pytest

from sgopd.verifier import VerifierOptions, verify
from sgopd.verifier.compare import compare

PATIENT = VerifierOptions(timeout_s=20)  # a tenth of a second on a quiet machine; what hangs is far beyond
HUGE = {
    "a tower of powers": r"9^{9^{9^{9}}}",
    "factorials of factorials": r"((((10!)!)!)!)!",
    "many factorials": "3" + "!" * 2_000,
    "a large binomial": r"\binom{10^9}{5\cdot 10^8}",
    "a power of a sum": r"(x+y+z)^{10^9}",
    "a tower of names": "x^{" * 300 + "x" + "}" * 300,
    "deep brackets": "(" * 2_000 + "1" + ")" * 2_000,
    "deep fractions": r"\frac{" * 300 + "1" + "}{1}" * 300,
    "deep roots": r"\sqrt{" * 300 + "1" + "}" * 300,
    "a long sum": "+".join(["1"] * 2_500),
    "a long list": ",".join(["1"] * 2_900),
    "many signs": r"\pm 1" + r" \pm 1" * 200,
    "a long number": "9" * 5_900,
    "a long exponent": "1e999999999",
    "a long sum to compute": r"\sum_{k=1}^{10^{9}}\frac{1}{k}",
    "sums in sums": r"\sum_{i=1}^{9999}\sum_{j=1}^{9999}\sum_{k=1}^{9999} ijk",
    "a large matrix": r"\begin{pmatrix}" + "&".join(["1"] * 1_000) + r"\end{pmatrix}",
    "a large determinant": r"\begin{vmatrix}" + r"\\".join(["&".join(["x"] * 9)] * 9) + r"\end{vmatrix}",
    "roots of sums": r"\sqrt{" + "+".join(rf"\sqrt{{{n}}}" for n in range(2, 120)) + "}",
    "a large angle": r"\sin(10^{10^{5}})",
    "a large root": r"\sqrt[10^{9}]{2}",
}


@pytest.mark.parametrize("name", HUGE)
def test_huge_answers_are_rejected_without_a_timeout(name: str) -> None:
    verdict = verify(["17"], [rf"\boxed{{{HUGE[name]}}}"], options=PATIENT)[0]
    assert verdict.verdict == "incorrect"


@pytest.mark.parametrize("name", HUGE)
def test_huge_golds_do_not_match_something_close(name: str) -> None:
    verdict = verify([HUGE[name]], [rf"\boxed{{{HUGE[name]}+1}}"], options=PATIENT)[0]
    assert verdict.verdict == "incorrect"


@pytest.mark.parametrize("name", ["a tower of powers", "a power of a sum", "a large matrix", "a long number"])
def test_huge_answers_written_the_same_way_are_the_same(name: str) -> None:
    assert verify([HUGE[name]], [rf"\boxed{{{HUGE[name]} }}"])[0].verdict == "correct"


@pytest.mark.parametrize(
    "code",
    [
        "__import__('pathlib').Path('{}').touch()",
        "exec(\"open('{}','w')\")",
        "open('{}','w').close()",
        r"\sum_{{k=1}}^{{2}} __import__('pathlib').Path('{}').touch()",
        r"\frac{{open('{}','w')}}{{2}}",
        r"\text{{`touch {}`}}",
        r"\input{{{}}} \write18{{touch {}}}",
        "lambda: open('{}','w')",
    ],
)
def test_nothing_is_evaluated_as_code(code: str, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    text = code.replace("{}", str(trap)).replace("{{", "{").replace("}}", "}")
    for gold in ("1", r"\frac{1}{2}", text):
        verify([gold], [rf"\boxed{{{text}}}"])
        compare(gold, text)
    assert not trap.exists()
