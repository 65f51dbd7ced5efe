"""When two written-out numbers agree. The one place for the policy on decimals; knows nothing of LaTeX."""

from fractions import Fraction

from sgopd.verifier.normalise import Number

GOLD_DIGITS = 4  # significant digits from which a decimal gold answer stands for the exact value it was rounded from
ANSWER_DIGITS = 12  # significant digits from which a decimal answer stands for the exact gold answer
FLOAT_DIGITS = 16  # significant digits from which a decimal is a printed float, whose last digit is uncertain


def numbers_agree(gold: Number, answer: Number, decimal_places: int | None = None) -> bool:
    """Equal values; or a decimal on one side that is the other side rounded (or cut) to the digits it shows.

    A decimal gold of at least 4 significant digits is taken as rounded; a decimal answer needs 12 of them.
    """
    difference = abs(gold.value - answer.value)
    if difference == 0:
        return True
    if decimal_places is not None and (gold.places or answer.places):
        return difference <= Fraction(1, 2 * 10**decimal_places)
    if gold.places and gold.digits >= GOLD_DIGITS and (answer.places == 0 or answer.places > gold.places):
        return (
            answer.value.denominator > 1 and difference < Fraction(1, 10**gold.places) and rounds_to(answer.value, gold)
        )
    if answer.places and answer.digits >= ANSWER_DIGITS and gold.value.denominator > 1 and not gold.places:
        return rounds_to(gold.value, answer)
    return False


def rounds_to(exact: Fraction, shown: Number) -> bool:
    """``shown`` is ``exact`` rounded, or cut, to the decimal places that it shows; the last digit of a float may be off."""
    step = Fraction(1, 10**shown.places)
    difference = exact - shown.value
    towards_zero = (difference >= 0) == (exact >= 0)
    if shown.digits >= FLOAT_DIGITS and abs(difference) <= step:
        return True
    return abs(difference) <= step / 2 or (towards_zero and abs(difference) < step)
