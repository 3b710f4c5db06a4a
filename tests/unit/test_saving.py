"""What a body's frame is told of the outputs that it saves, and saving several of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import d6tpipe
from d6tpipe import cache, plugins
from d6tpipe.binding import FRAME
from d6tpipe.errors import DeclarationError, StorageError
from d6tpipe.formats.content import content_digest
from d6tpipe.storage.files import LOCAL
from d6tpipe.targets import CacheTarget, DataTarget, PickleTarget

FRAME_OF_DATA = pd.DataFrame({"a": [1]})


class Csv(DataTarget):
    """As d6tflow's documentation tells its users to write one."""

    def load(self, cached: bool = False, **options: Any) -> Any:  # type: ignore[override]
        return super().load(pd.read_csv, cached, **options)

    def save(self, df: Any, **options: Any) -> Path:  # type: ignore[override]
        return super().save(df, "to_csv", **options)


class Loud(CacheTarget):
    def save(self, df: Any) -> str:
        return super().save([df])


def facts(path: Any) -> tuple[int, int, bytes]:
    size, time = LOCAL.stat(str(path)) or (0, 0)
    return size, time, LOCAL.digest(str(path))


@pytest.mark.parametrize("base", [d6tpipe.tasks.TaskPickle, d6tpipe.tasks.TaskJson])
def test_a_single_output_is_told_under_its_name(base: Any) -> None:
    class One(base):  # type: ignore[misc]
        def run(self) -> None:
            self.save({"a": 1})
            frame = FRAME.get()
            assert frame is not None
            assert {"data": facts(self.output().path)} == frame.written

    One().run()


def test_several_outputs_of_all_kinds_are_told() -> None:
    class Mixed(d6tpipe.tasks.TaskData):
        persist = {"report": "json", "table": "parquet", "kept": "cache", "model": "pickle"}

        def run(self) -> None:
            self.save({"model": [1], "kept": [2], "table": FRAME_OF_DATA, "report": {}})
            frame = FRAME.get()
            assert frame is not None
            stamp = cache.stamp(self.output()["kept"].path)
            assert stamp is not None
            expected = {key: facts(self.output()[key].path) for key in ("report", "table", "model")}
            assert {**expected, "kept": (-1, stamp[0], content_digest([2]))} == frame.written

    Mixed().run()


def test_what_a_target_of_ones_own_has_done_is_not_known() -> None:
    class Own(d6tpipe.tasks.TaskData):
        target_class = Csv
        target_ext = "csv"

        def run(self) -> None:
            self.save(FRAME_OF_DATA)
            frame = FRAME.get()
            assert frame is not None and (frame.saved, frame.written) == ({"data"}, {})

    Own().run()


def test_a_memory_target_of_ones_own_is_told() -> None:
    class Own(d6tpipe.tasks.TaskData):
        target_class = Loud

        def run(self) -> None:
            self.save(1)
            frame = FRAME.get()
            assert frame is not None
            assert content_digest([1]) == frame.written["data"].digest

    Own().run()


def test_the_last_save_counts() -> None:
    class Twice(d6tpipe.tasks.TaskPickle):
        def run(self) -> None:
            self.save("first")
            self.save("second, longer")
            frame = FRAME.get()
            assert frame is not None
            assert {"data": facts(self.output().path)} == frame.written

    Twice().run()


def test_what_another_task_saves_is_not_told() -> None:
    class Other(d6tpipe.tasks.TaskPickle):
        pass

    class One(d6tpipe.tasks.TaskPickle):
        def run(self) -> None:
            Other().save(1)
            frame = FRAME.get()
            assert frame is not None and frame.written == {}
            self.save(1)

    One().run()


def test_saving_outside_of_a_body_needs_no_frame() -> None:
    class One(d6tpipe.tasks.TaskPickle):
        pass

    One().save(1)
    assert One().outputLoad() == 1


def test_a_thousand_outputs_are_saved_together() -> None:
    class Many(d6tpipe.tasks.TaskPickle):
        persist = [f"k{number}" for number in range(1000)]

        def run(self) -> None:
            self.save(dict.fromkeys(self.persist, 1))

    Many().run()
    assert [1] * 1000 == Many().outputLoad()


class Two(d6tpipe.tasks.TaskPickle):
    persist = ["a", "b"]


@pytest.mark.parametrize("wrong", ["a", "b"])
def test_if_one_of_several_cannot_be_saved_none_is(wrong: str) -> None:
    Two().save({"a": "old", "b": "old"})
    with pytest.raises(DeclarationError, match="cannot be pickled"):
        Two().save({"a": "new", "b": "new", wrong: lambda: 1})
    assert Two().outputLoad() == ["old", "old"]
    folder = os.path.dirname(Two().output()["a"].path)
    assert len(os.listdir(folder)) == 2


def test_memory_outputs_are_kept_only_when_the_files_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mixed(d6tpipe.tasks.TaskData):
        persist = {"kept": "cache", "model": "pickle"}

    with pytest.raises(DeclarationError):
        Mixed().save({"kept": 1, "model": lambda: 1})
    assert cache.data == {}


def test_metadata_are_replaced_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    Two().save({"a": 1, "b": 2})
    Two().saveMeta({"score": 1})
    with pytest.raises(DeclarationError):
        Two().saveMeta({"score": lambda: 1})
    assert Two().outputLoadMeta() == {"score": 1}


def test_a_full_disk_while_saving_several_leaves_all_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    from d6tpipe.testing import FaultyFiles

    Two().save({"a": "old", "b": "old"})
    for at in (1, 2, 3, 4):
        files = FaultyFiles(LOCAL, at=at, error=OSError(28, "No space left on device"))
        monkeypatch.setitem(plugins._loaded, ("files", "local"), files)
        with pytest.raises((StorageError, OSError)):
            Two().save({"a": "new", "b": "new"})
        monkeypatch.undo()
        assert Two().outputLoad() == ["old", "old"]
        assert len(os.listdir(os.path.dirname(PickleTarget(Two().output()["a"].path).path))) == 2
