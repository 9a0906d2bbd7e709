from pathlib import Path

import pytest

from neurokd.errors import FileFormatError, UsageError
from neurokd.reproduce import EXPERIMENTS
from neurokd.reproduce.budget import Size
from neurokd.reproduce.grid import make_grid
from neurokd.reproduce.plan import Plan, define, read_plan, write_plan

RUNS = make_grid(EXPERIMENTS["ckdsnn-ablation"], ["mnist-subset"], 2)
DEFINITION = define("ckdsnn-ablation", 30, None, RUNS)
PLAN = Plan({"a": Size(100, 5000)}, {"a": Size(12, 640)}, {"a": 34.5})


def test_what_was_planned_comes_back(tmp_path: Path) -> None:
    out = tmp_path / "grid"
    assert read_plan(out, DEFINITION) is None  # not there yet, and not made by asking
    assert not out.exists()
    write_plan(out, DEFINITION, PLAN)
    (out / "runs").mkdir()
    assert read_plan(out, DEFINITION) == PLAN


@pytest.mark.parametrize(
    "other",
    [
        define("ckdsnn-scaling", 30, None, RUNS),
        define("ckdsnn-ablation", None, None, RUNS),
        define("ckdsnn-ablation", 30, "abc", RUNS),
        define("ckdsnn-ablation", 30, None, RUNS[:-1]),
    ],
)
def test_another_grid_is_refused(other: dict[str, object], tmp_path: Path) -> None:
    write_plan(tmp_path, DEFINITION, PLAN)
    with pytest.raises(UsageError, match="another grid"):
        read_plan(tmp_path, other)


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="something else"):
        read_plan(tmp_path, DEFINITION)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "neurokd.grid/9"}'])
def test_a_broken_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "grid.json").write_text(text)
    with pytest.raises(FileFormatError, match="definition of a grid"):
        read_plan(tmp_path, DEFINITION)
