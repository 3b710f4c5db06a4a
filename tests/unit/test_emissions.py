"""The file in which emissions travel: whole lines, whatever happens to who writes it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import d6tpipe as dp
from d6tpipe import emissions
from d6tpipe.emissions import NAME, Lines, Writer
from d6tpipe.errors import ParameterError, StorageError


class Base(dp.tasks.TaskPickle):
    def run(self) -> None:
        self.save(1)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Writer]:
    return lambda attempt=1, run="one", **_: Writer(Base(), str(tmp_path), [run], attempt)


def values(lines: Lines) -> list[Any]:
    return [line["data"]["n"] for line in lines.new()]


def test_each_line_is_read_once(tmp_path: Path, write: Any) -> None:
    lines, writer = Lines(str(tmp_path / NAME)), write()
    assert values(lines) == []
    writer.write("step", {"n": 1})
    writer.write("step", {"n": 2})
    assert values(lines) == [1, 2] and values(lines) == []
    writer.write("step", {"n": 3})
    assert values(lines) == [3]


def test_a_line_is_one_write(tmp_path: Path, write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: written.append(data) or real(file, data))
    write().write("step", {"n": 1, "text": "ä\n\u2028" * 50_000})
    assert len(written) == 1 and written[0].endswith(b"\n") and written[0].count(b"\n") == 1
    assert Lines(str(tmp_path / NAME)).new()[0]["data"]["text"] == "ä\n\u2028" * 50_000


def test_half_a_line_is_passed_over_and_the_next_one_is_whole(tmp_path: Path, write: Any) -> None:
    path = tmp_path / NAME
    write().write("step", {"n": 1})
    whole = path.read_bytes()
    lines = Lines(str(path))
    with open(path, "ab") as stream:
        stream.write(whole[:-9])  # killed
    assert values(lines) == [1]
    write(attempt=2).write("step", {"n": 2})
    assert values(lines) == [2]
    assert values(Lines(str(path))) == [1, 2]


def test_a_line_of_which_the_disk_takes_a_part_is_an_error_and_the_next_one_is_whole(
    tmp_path: Path, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, real = write(), os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: real(file, data[:20]))
        with pytest.raises(StorageError, match="cannot be written"):
            writer.write("step", {"n": 1})
        with pytest.warns(UserWarning, match="will not be told again"):
            writer.finish("one")
    writer.write("step", {"n": 2})
    assert values(Lines(str(tmp_path / NAME))) == [2]


def test_a_file_that_was_replaced_by_another_of_the_same_size_is_read_anew(tmp_path: Path, write: Any) -> None:
    path = tmp_path / NAME
    lines = Lines(str(path))
    write().write("step", {"n": 1})
    assert values(lines) == [1]
    size = path.stat().st_size
    path.unlink()
    write(attempt=2).write("step", {"n": 2})
    with open(path, "r+b") as stream:  # the time of another line may be shorter as text
        text = stream.read().rstrip(b"\n")
        stream.seek(0)
        stream.write(text + b" " * (size - 1 - len(text)) + b"\n")
        stream.truncate()
    assert values(lines) == [2]


def test_what_a_body_emits_again_after_it_has_begun_again_counts_once(tmp_path: Path, write: Any) -> None:
    lines = Lines(str(tmp_path / NAME))
    for last in (2, 3):
        writer = write()
        for n in (0, 1, last):
            writer.write("step", {"n": n})
    assert values(lines) == [0, 1, 2, 3]


def test_what_is_no_emission_is_passed_over(tmp_path: Path, write: Any) -> None:
    path = tmp_path / NAME
    path.write_text('[1]\nnull\n{"run": 3}\n\nno json\n' + json.dumps({**dict.fromkeys(emissions._EMITTED, 1)}) + "\n")
    write().write("step", {"n": 1})
    assert values(Lines(str(path))) == [1]


class Emits(dp.tasks.TaskPickle):
    how: Any = dp.Parameter()

    def run(self) -> None:
        nan = float("nan")
        if self.how == "good":
            self.job.emit("all", name="x", path=Path("a") / "b", pair=(1, 2), inner={"p": [Path("c")]}, nan=nan)
        elif self.how == "object":
            self.job.emit("step", loss=object())
        elif self.how == "circle":
            circle: list[Any] = []
            circle.append(circle)
            self.job.emit("step", loss=circle)
        elif self.how == "name":
            self.job.emit("")
        self.save(1)


@pytest.fixture(autouse=True)
def quiet() -> None:
    dp.settings.execution_summary = False


def test_data_arrive_as_json_gives_them_back() -> None:
    found: list[Any] = []
    with dp.watch(Emits, "all", found.append):
        dp.run(Emits(how="good"))
    (one,) = found
    data = dict(one.data)
    assert str(data.pop("nan")) == "nan"
    assert data == {"name": "x", "path": "a/b", "pair": [1, 2], "inner": {"p": ["c"]}}
    with pytest.raises(TypeError):
        one.data["name"] = 3


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("object", ["how='object'", "'loss'", "object object", "float(loss)"]),
        ("circle", ["'loss'", "Circular"]),
        ("name", ["takes a name first"]),
    ],
)
def test_what_json_cannot_hold_is_told(how: str, words: list[str]) -> None:
    (failure,) = dp.run(Emits(how=how), abort=False).failures
    assert isinstance(failure.error, ParameterError)
    assert all(word in str(failure.error) for word in words), str(failure.error)
    assert not [line for line in Lines(emissions.file_of(Emits(how=how))).new() if "name" in line]
