r"""Every pair of same.txt must be accepted and every pair of different.txt rejected, each answer standing in a \boxed{}."""

import pytest

from sgopd.verifier import VerifierOptions, verify
from tests.verifier.pairs import DIFFERENT, SAME

PATIENT = VerifierOptions(timeout_s=60)  # the meaning is tested here, not the speed


def verdicts(pairs: list[tuple[str, str]]) -> list[str]:
    responses = [rf"So we get $\boxed{{{answer}}}$." for _, answer in pairs]
    return [v.verdict for v in verify([gold for gold, _ in pairs], responses, options=PATIENT)]


@pytest.mark.parametrize("kind", SAME)
def test_other_spellings_of_the_gold_answer_are_correct(kind: str) -> None:
    pairs = SAME[kind]
    assert [p for p, v in zip(pairs, verdicts(pairs), strict=True) if v != "correct"] == []


@pytest.mark.parametrize("kind", DIFFERENT)
def test_other_answers_are_incorrect(kind: str) -> None:
    pairs = DIFFERENT[kind]
    assert [p for p, v in zip(pairs, verdicts(pairs), strict=True) if v != "incorrect"] == []


@pytest.mark.parametrize("kind", SAME)
def test_every_gold_answer_equals_itself(kind: str) -> None:
    golds = [(gold, gold) for gold, _ in SAME[kind] if "boxed" not in gold]
    assert set(verdicts(golds)) == {"correct"}


@pytest.mark.parametrize(
    "gold, answer",
    [
        ("\\\\frac{7}{12}", r"\frac{7}{12}"),  # escaped twice
        ("\x0crac{7}{12}", r"\frac{7}{12}"),  # the backslash was read as an escape
        (r"\\begin{pmatrix}1\\\\2\\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
        ("204", "204\u200b"),  # a space without width
        ("72", " 72\n"),
    ],
)
def test_damage_on_the_way_does_not_change_an_answer(gold: str, answer: str) -> None:
    assert verdicts([(gold, answer)]) == ["correct"]


@pytest.mark.parametrize(
    "answer", ["\u202e402", "204\n205", "\uff12\uff10\uff15", "\u0662\u0660\u0664", "2\x000\x005", "\ud800"]
)
def test_characters_that_hide_what_is_said_are_not_correct(answer: str) -> None:
    assert verdicts([("204", answer)]) == ["incorrect"]
