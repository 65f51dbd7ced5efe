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


def test_a_share_of_prompts_falls_in_place_of_the_weight() -> None:
    weight, share = TeacherSchedule(), TeacherSchedule(kind="share")
    for step in range(100):
        assert share.gamma(step, 100) * share.share(step, 100) == pytest.approx(weight.gamma(step, 100))
        assert share.gamma(step, 100) == (0.1 if step < 40 else 0.0)
        assert weight.share(step, 100) == float(step < 40)


def test_in_group_is_the_cosine_with_the_teacher_in_the_groups_until_phase_three() -> None:
    schedule = TeacherSchedule(kind="in_group", gamma0=0.0)
    assert [schedule.in_group(step, 100) for step in (0, 10, 39, 40, 99)] == [True, True, True, False, False]
    gammas = [TeacherSchedule(kind="in_group").gamma(step, 100) for step in range(100)]
    assert gammas == [TeacherSchedule().gamma(step, 100) for step in range(100)]
    assert not any(TeacherSchedule(kind=kind).in_group(0, 100) for kind in ("cosine", "constant", "share", "off"))


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
