"""gamma(s) in three phases, at the boundaries, and in the odd cases of very short runs."""

import math
from typing import Any

import pytest

from sgopd.objectives import TeacherSchedule


def test_the_default_holds_ten_percent_then_falls_along_a_cosine_to_forty() -> None:
    schedule = TeacherSchedule()
    assert schedule.boundaries(100) == (10, 40)
    gammas = [schedule.gamma(s, 100) for s in range(100)]
    assert gammas[:11] == [0.1] * 11
    assert gammas[20] == pytest.approx(0.1 * (1 + math.cos(math.pi / 3)) / 2)
    assert gammas[25] == pytest.approx(0.05)
    assert gammas[40:] == [0.0] * 60
    assert gammas == sorted(gammas, reverse=True)
    assert [schedule.phase(s, 100) for s in (0, 9, 10, 39, 40, 99)] == [1, 1, 2, 2, 3, 3]


def test_linear_constant_and_off() -> None:
    assert TeacherSchedule(kind="linear").gamma(25, 100) == pytest.approx(0.05)
    assert TeacherSchedule(kind="linear").gamma(39, 100) == pytest.approx(0.1 / 30)
    assert TeacherSchedule(kind="constant").gamma(99, 100) == 0.1
    assert TeacherSchedule(kind="off").gamma(0, 100) == 0.0


def test_hold_and_end_may_coincide_or_span_the_run() -> None:
    cliff = TeacherSchedule(hold=0.5, end=0.5)
    assert [cliff.gamma(s, 4) for s in range(4)] == [0.1, 0.1, 0.0, 0.0]
    whole = TeacherSchedule(hold=0.0, end=1.0)
    assert whole.gamma(0, 10) == 0.1
    assert 0 < whole.gamma(9, 10) < 0.1
    assert TeacherSchedule(hold=0.0, end=0.0).gamma(0, 10) == 0.0
    assert TeacherSchedule().gamma(0, 1) == 0.0


@pytest.mark.parametrize("wrong", [{"kind": "step"}, {"hold": 0.5, "end": 0.4}, {"end": 1.5}, {"gamma0": -0.1}])
def test_a_schedule_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TeacherSchedule(**wrong)
