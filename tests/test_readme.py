"""The README is for a stranger, and true: its example works, its table is the one measured, its links lead somewhere."""

import re
import subprocess
from pathlib import Path

import pytest
import torch

from sgopd import objectives

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text()


def test_the_rule_of_ten_lines_is_a_rule() -> None:
    [example] = [block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "@register" in block]
    exec(compile(example, "README.md", "exec"), {})
    zeros = torch.zeros(2, 3)
    found = objectives.advantage(
        "half_on_wrong", logp_s=zeros, logp_t=zeros - 1.0, logp_ref=None, reward=torch.tensor([1.0, 0.0]),
        group_id=torch.tensor([0, 0]), mask=torch.ones(2, 3, dtype=torch.bool),
    )  # fmt: skip
    assert found.values.tolist() == [[-1.0] * 3, [-0.5] * 3]


def test_the_table_shown_is_the_table_that_the_demo_made() -> None:
    """The committed one: a demo run since then, on another processor, may differ."""
    command = ["git", "show", "HEAD:results/tables/main.md"]
    shown = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    if shown.returncode:
        pytest.skip("not a git checkout")
    assert shown.stdout.strip() in README


def test_every_link_and_every_make_target_is_there() -> None:
    targets = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for target in re.findall(r"\bmake ([a-z-]+)", README):
        assert f"make {target}" in targets
    for page in [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert link.startswith("https://") or (page.parent / link).exists(), f"{page.name}: {link}"
