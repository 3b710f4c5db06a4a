"""Every script in examples/ runs in an empty folder, says something true, and has nothing to do the second time."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What each prints, as patterns that are found in this order.
SAYS = {
    "dynamic_files.py": [r"\{'north': 10, 'south': 14, 'west': 18\}"],
    "luigi_pipeline.py": [r"^day 1: 12\.83$", r"^day 7: 18\.83$"],
    "many_outputs.py": [r"^y = 2\.0 x \+ 1\.0$", r"^ *10 +19\.0$", r"^note +data/Fit/Fit_2_0_\w+-note\.txt$"],
    "model_comparison.py": [r"accuracy$", r"_tree +0\.9\d+$", r"_logistic +0\.9\d+$"],
    "workflow_paths.py": [r"^shop/env=trial/.* 55$", r"^shop/env=production/.* 5050$", r"^shop/Check/.* 0\.0109$"],
}

pytestmark = pytest.mark.slow


def files_below(folder: Path) -> dict[str, tuple[int, int]]:
    """Return what a rewritten file could not keep: its number and its time, by path."""
    found = {path: path.stat() for path in sorted(folder.rglob("*")) if path.is_file()}
    return {str(path.relative_to(folder)): (facts.st_ino, facts.st_mtime_ns) for path, facts in found.items()}


def says(text: str, patterns: list[str]) -> bool:
    place = 0
    for pattern in patterns:
        found = re.compile(pattern, re.M).search(text, place)
        if found is None:
            return False
        place = found.end()
    return True


def test_every_example_is_tested_and_described():
    scripts = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert scripts == set(SAYS)
    described = set(re.findall(r"^``(\w+\.py)``", (ROOT / "examples" / "README.rst").read_text(encoding="utf-8"), re.M))
    assert described == scripts


@pytest.mark.parametrize("script", sorted(SAYS))
def test_example_builds_once(script, run_python, isolated):
    folder = isolated / "anywhere"
    folder.mkdir()
    first = run_python(str(ROOT / "examples" / script), cwd=folder)
    assert says(first.stdout, SAYS[script]), first.stdout
    assert re.search(r"^\* \d+ built", first.stdout, re.M)
    made = files_below(folder)
    assert made

    second = run_python(str(ROOT / "examples" / script), cwd=folder)
    assert says(second.stdout, SAYS[script]), second.stdout
    assert not re.search(r"^\* \d+ built", second.stdout, re.M)
    assert files_below(folder) == made


def test_an_example_is_a_target_of_the_command_line(run_python):
    script = ROOT / "examples" / "many_outputs.py"
    listed = run_python("-m", "d6tpipe", "list", str(script)).stdout
    assert re.search(r"^Fit +task +--slope=2\.0 +A straight line", listed, re.M), listed
    assert re.search(r"^Report +task +--slope=2\.0 ", listed, re.M), listed
