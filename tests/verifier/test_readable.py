"""Which golds can be trained on: those of which the verifier recognises other spellings."""

import pytest

from sgopd.verifier import readable_gold


@pytest.mark.parametrize(
    "gold",
    ["204", "-3.5", r"\frac{1}{2}", "1,000", r"\sqrt{2}+1", "(1, 2)", r"[0, \infty)", "x=5", r"\text{no solution}", "B", "Yes",
     r"35\%", r"\begin{pmatrix}1\\2\end{pmatrix}", r"We get \boxed{5}.", r"5\text{ cm}", "x^2+1=0", r"\{1,2\}", r"\pm 3", "3:4",
     "$12$"],
)  # fmt: skip
def test_numbers_formulas_sets_and_a_few_words_are_readable(gold: str) -> None:
    assert readable_gold(gold)


@pytest.mark.parametrize(
    "gold",
    ["", " ", "$$", r"\frac{1}{", "(1, 2", r"\unknowncommand{5}", "x" + "+1" * 4_000, "(" * 500 + "1" + ")" * 500, "∎",
     "It follows from the theorem that was shown above", "1 +", r"\boxed{\frac{1}{}"],
)  # fmt: skip
def test_what_cannot_be_compared_is_not_readable(gold: str) -> None:
    assert not readable_gold(gold)
