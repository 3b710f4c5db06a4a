"""What a type checker makes of users' programs: values have types, and wrong ones are errors in the right lines."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow

# Comments say what mypy has to say of their line: "# float" that it reveals this type, "# !code" that it is an error.

TYPED = """
from __future__ import annotations

import datetime
import enum
from pathlib import Path
from typing import Any, Literal

import d6tpipe as dp
from d6tpipe.typed import param


class Colour(enum.Enum):
    RED = 1


class Prepare(dp.tasks.TaskPickle):
    rows: int = param(100, min=1)
    name: str = param()


@dp.requires(Prepare)
class Train(dp.tasks.TaskPickle):
    prepare: Prepare = param()
    lr: float = param(0.1, significant=False, description="how fast")
    whole: float = param(1)
    mode: Literal["fast", "slow"] = param("fast")
    colour: Colour = param(Colour.RED)
    day: datetime.date = param(datetime.date(2020, 1, 1))
    folder: Path | None = param(None)
    layers: tuple[int, ...] = param((64, 64))
    columns: list[str] = param([])
    weights: dict[str, float] = param({})
    few: int = param(1, choices=[1, 2])
    anything: Any = param(None)
    guessed = param(0.5)
    mixed = dp.IntParameter(default=3)

    text: float = param("x")  # !assignment
    none: int = param(None)  # !assignment
    number: Literal["fast", "slow"] = param(3)  # !arg-type
    bound: int = param(1, min="x")  # !call-overload

    def run(self) -> None:
        reveal_type(self.lr)  # float
        reveal_type(self.prepare.rows)  # int
        reveal_type(self.mixed)  # int
        reveal_type(self.guessed)  # float
        self.save(1)


class Longer(Train):
    lr = param(0.2)
    epochs: int = param()


reveal_type(Train())  # typed.Train
reveal_type(Train().lr)  # float
reveal_type(Train().mode)  # Literal['fast'] | Literal['slow']
reveal_type(Train().folder)  # Path | None
reveal_type(Train().layers)  # tuple[int, ...]
reveal_type(Longer(lr=0.3).lr)  # float
reveal_type(Longer().epochs)  # int

Train(prepare=Prepare(rows=3, name="a"), lr=1, mode="slow", folder=Path("x"), columns=["a"])
Train(0.1, rows=3, mixed=4, path="folder", flows={})
Train(lr="x")  # !arg-type
Train(lr="x", path="folder")  # !arg-type
Train(prepare=Prepare)  # !arg-type
Train(mode="other")  # !arg-type
Train(colour="RED")  # !arg-type
Train(layers=("a",))  # !arg-type
Longer(lr="x")  # !arg-type
Longer(epochs=0.5)  # !arg-type
"""

PARAMETERS = """
import d6tpipe as dp


class Prepare(dp.tasks.TaskPickle):
    rows = dp.IntParameter(default=100)


@dp.requires(Prepare)
class Train(dp.tasks.TaskPickle):
    lr = dp.FloatParameter(default=0.1)
    folder = dp.OptionalPathParameter()
    annotated: dp.FloatParameter = dp.FloatParameter(default=0.1)

    def run(self) -> None:
        reveal_type(self.lr)  # float
        self.save(1)


wrong = dp.FloatParameter(default="x")  # !arg-type

reveal_type(Train())  # parameters.Train
reveal_type(Train().lr)  # float
reveal_type(Train().folder)  # Path | None
reveal_type(Train.lr)  # Parameter[float]
reveal_type(Train(annotated=1).annotated)  # float
reveal_type(Train(lr=0.2, rows=3, path="folder").lr)  # float
reveal_type(Train(0.2).lr)  # float
Train(annotated="x")  # !arg-type
"""


def expected(program: str) -> dict[int, list[str]]:
    """Return what the comments of a program say, by line."""
    found = {}
    for number, line in enumerate(program.splitlines(), 1):
        if said := re.search(r"  # (.+)$", line):
            found[number] = [said[1]]
    return found


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Return what mypy says of both programs, by program and line, in the form of the comments."""
    folder = tmp_path_factory.mktemp("typing")
    (folder / "typed.py").write_text(TYPED)
    (folder / "parameters.py").write_text(PARAMETERS)
    (folder / "mypy.ini").write_text(f"[mypy]\nstrict = True\nfollow_imports = silent\nmypy_path = {ROOT}\n")
    command = [sys.executable, "-m", "mypy", "--cache-dir", "cache", "typed.py", "parameters.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    found: dict[str, dict[int, list[str]]] = {"typed": {}, "parameters": {}}
    for line in done.stdout.splitlines():
        said = re.match(r"(\w+)\.py:(\d+): (?:note: Revealed type is \"(.*)\"|error: .*\[([\w-]+)\])$", line)
        if said is not None:
            program, number, revealed, code = said.groups()
            # Versions of mypy differ in how much of a name they write.
            text = f"!{code}" if code else re.sub(r"\b(?!typed\.|parameters\.)(?:\w+\.)+(?=\w)", "", revealed)
            found[program].setdefault(int(number), []).append(text)
    assert "Found " in done.stdout, done.stdout + done.stderr
    return found


@pytest.mark.parametrize(("name", "program"), [("typed", TYPED), ("parameters", PARAMETERS)])
def test_mypy_finds_the_types_and_the_errors_that_are_there(told, name, program):
    assert expected(program) == told[name]
