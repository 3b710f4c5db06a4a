from __future__ import annotations

import os
import pathlib
import pickle
from pathlib import Path
from typing import Any

import luigi
import pandas as pd
import pytest

from d6tpipe import cache, plugins, settings, targets
from d6tpipe.errors import DeclarationError, NotBuiltError, StorageError
from d6tpipe.storage.files import LocalFiles
from d6tpipe.targets import (
    CacheTarget,
    CSVGZPandasTarget,
    CSVPandasTarget,
    DataTarget,
    ExcelPandasTarget,
    FormatTarget,
    JsonTarget,
    PdCacheTarget,
    PickleTarget,
    PqPandasTarget,
)
from d6tpipe.targets.dt import DatatableTarget
from d6tpipe.targets.h5 import H5PandasTarget
from d6tpipe.targets.tf import H5KerasTarget
from d6tpipe.targets.torch import PyTorchModel
from d6tpipe.testing import Crash, FaultyFiles

FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
FILE_TARGETS = [
    CSVPandasTarget, CSVGZPandasTarget, ExcelPandasTarget, PqPandasTarget, JsonTarget, PickleTarget,
    DatatableTarget, H5PandasTarget, H5KerasTarget, PyTorchModel, DataTarget, FormatTarget,
]  # fmt: skip


class UserTarget(DataTarget):
    """Written as d6tflow's documentation tells its users to."""

    reads = 0

    def load(self, cached: bool = False, **kwargs: Any) -> Any:  # type: ignore[override]
        def read(path: Path, **options: Any) -> Any:
            UserTarget.reads += 1
            return pd.read_csv(path, **options)

        return super().load(read, cached, **kwargs)

    def save(self, df: Any, **kwargs: Any) -> Path:  # type: ignore[override]
        return super().save(df, "to_csv", **{"index": False, **kwargs})


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "_kept", {})
    monkeypatch.setattr(cache, "data", {})


@pytest.mark.parametrize("cls", FILE_TARGETS)
def test_making_a_file_target_makes_nothing_on_the_disk(cls: type[DataTarget], tmp_path: Path) -> None:
    target = cls(tmp_path / "sub" / "x.ext")
    assert not target.exists()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("cls", FILE_TARGETS)
def test_a_file_target_is_a_luigi_target_with_a_path(cls: type[DataTarget]) -> None:
    for given in ("d/x.ext", pathlib.Path("d/x.ext")):
        target = cls(given)
        assert isinstance(target, luigi.LocalTarget)
        assert pathlib.Path("d/x.ext") == target.path
        assert str(pathlib.Path("d/x.ext")) == str(target)
        assert cls.__name__ in repr(target)


def test_the_path_can_be_assigned() -> None:
    target = PickleTarget("a")
    target.path = "b"  # type: ignore[assignment]
    assert pathlib.Path("b") == target.path


def test_a_target_without_a_path_says_so() -> None:
    with pytest.raises(DeclarationError, match="needs a path, not None"):
        PickleTarget(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cls", "value"),
    [
        (CSVPandasTarget, FRAME),
        (CSVGZPandasTarget, FRAME),
        (ExcelPandasTarget, FRAME),
        (PqPandasTarget, FRAME),
        (JsonTarget, {"a": [1]}),
        (PickleTarget, {"a": (1,)}),
    ],
)
def test_what_is_saved_is_loaded(cls: type[FormatTarget], value: Any, tmp_path: Path) -> None:
    if cls is ExcelPandasTarget:
        pytest.importorskip("openpyxl")
    suffix = plugins.load("formats", cls.format_name).suffix
    target = cls(tmp_path / "sub" / f"x.{suffix}")
    assert target.path == target.save(value)
    assert target.exists()
    loaded = target.load()
    assert value.equals(loaded) if isinstance(value, pd.DataFrame) else value == loaded
    assert [f"x.{suffix}"] == os.listdir(tmp_path / "sub")
    assert target.invalidate() is True
    assert not target.exists()
    assert target.invalidate() is True


def test_a_format_target_takes_any_format_by_name(tmp_path: Path) -> None:
    target = FormatTarget(tmp_path / "x.txt", "text")
    target.save("hello")
    assert target.load() == "hello"
    assert (tmp_path / "x.txt").read_bytes() == b"hello"


def test_options_go_to_the_reader_and_the_writer(tmp_path: Path) -> None:
    target = PqPandasTarget(tmp_path / "x.parquet")
    target.save(FRAME, compression="gzip")
    assert list(target.load(columns=["b"]).columns) == ["b"]


def test_a_target_crosses_processes(tmp_path: Path) -> None:
    target = FormatTarget(tmp_path / "x.txt", "text")
    copied = pickle.loads(pickle.dumps(target))
    assert (target.path, "text") == (copied.path, copied.format_name)


@pytest.mark.parametrize("make", [PickleTarget, CacheTarget, UserTarget])
def test_loading_what_was_never_built_says_so(make: Any, tmp_path: Path) -> None:
    with pytest.raises(NotBuiltError, match=r"(?s)x\.csv.*Run") as caught:
        make(tmp_path / "x.csv").load()
    assert isinstance(caught.value, RuntimeError)


@pytest.mark.parametrize(
    ("cls", "name"),
    [(PickleTarget, "x.pkl"), (JsonTarget, "x.json"), (PqPandasTarget, "x.parquet"), (UserTarget, "x.csv")],
)
def test_an_empty_file_is_an_error_that_names_it_and_how_to_rebuild(cls: Any, name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(StorageError, match=rf"(?s){name}.*reader said.*reset\(\) the task") as caught:
        cls(tmp_path / name).load()
    assert caught.value.__cause__ is not None


def test_a_wrong_option_is_not_taken_for_damage_only(tmp_path: Path) -> None:
    target = PqPandasTarget(tmp_path / "x.parquet")
    target.save(FRAME)
    with pytest.raises(StorageError, match=r"(?s)options.*colums=.*Check the options"):
        target.load(colums=["a"])


@pytest.mark.parametrize("value", [FRAME["a"], {"a": FRAME}, None])
def test_a_wrong_type_is_refused_and_writes_nothing(value: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="parquet"):
        PqPandasTarget(tmp_path / "sub" / "x.parquet").save(value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("error", [Crash, OSError(28, "full")], ids=["crash", "full disk"])
def test_a_save_that_is_stopped_leaves_the_old_value_or_the_new(
    at: int, error: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = PickleTarget(tmp_path / "x.pkl")
    target.save(list(range(1000)))
    monkeypatch.setitem(plugins._loaded, ("files", "local"), FaultyFiles(LocalFiles(), at=at, error=error))
    with pytest.raises((Crash, OSError, StorageError)):
        target.save("new")
    monkeypatch.undo()
    assert ("new" if at == 3 else list(range(1000))) == target.load()


# -- how formats are asked to save -------------------------------------------------------------------------


class Upper:
    """A format of a plugin, as they were before there was ``dump``."""

    name, suffix = "upper", "up"

    def save(self, value: str, path: str, **options: Any) -> None:
        Path(path).write_text(value.upper())

    def load(self, path: str, **options: Any) -> str:
        return Path(path).read_text().lower()


def test_a_format_without_dump_is_asked_to_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(plugins._loaded, ("formats", "upper"), Upper())
    target = FormatTarget(tmp_path / "sub" / "x.up", "upper")
    assert target.path == target.save("text")
    assert (tmp_path / "sub" / "x.up").read_text() == "TEXT"
    assert target.load() == "text"


def test_a_format_that_overrides_only_save_is_not_asked_to_dump(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counted(type(plugins.load("formats", "pickle"))):  # type: ignore[misc]
        saves = 0

        def save(self, value: Any, path: str, **options: Any) -> None:
            type(self).saves += 1
            super().save(value, path, **options)

    monkeypatch.setitem(plugins._loaded, ("formats", "counted"), Counted())
    target = FormatTarget(tmp_path / "x", "counted")
    target.save([1])
    assert (1, [1]) == (Counted.saves, target.load())


@pytest.mark.parametrize(("name", "value"), [("pickle", {"a": 1}), ("json", [1]), ("text", "ü"), ("bytes", b"x")])
def test_what_is_streamed_is_not_read_back(
    name: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: object, **options: object) -> None:
        raise AssertionError("the file was read")

    monkeypatch.setattr("d6tpipe.storage.files._look", never)
    FormatTarget(tmp_path / "x", name).save(value)


@pytest.mark.parametrize("target", [FormatTarget("x", "parquet"), FormatTarget("x", "pickle")])
def test_saving_through_files_tells_size_time_and_digest(target: FormatTarget, tmp_path: Path) -> None:
    files = LocalFiles()
    target.path = tmp_path / "x"  # type: ignore[assignment]
    written = target.store_value(FRAME, {}, files)
    assert ((written.size, written.mtime_ns), written.digest) == (
        files.stat(str(target.path)),
        files.digest(str(target.path)),
    )


def test_storing_tells_size_time_and_digest(tmp_path: Path) -> None:
    target = DataTarget(tmp_path / "x")
    written = target.store(lambda temporary: Path(temporary).write_bytes(b"123") and None)
    assert (3, LocalFiles().digest(str(target.path))) == (written.size, written.digest)


# -- targets of users --------------------------------------------------------------------------------------


def test_a_users_target_saves_and_loads(tmp_path: Path) -> None:
    target = UserTarget(tmp_path / "sub" / "x.csv")
    assert target.path == target.save(FRAME, sep=";")
    assert FRAME.equals(target.load(sep=";"))
    assert os.listdir(tmp_path / "sub") == ["x.csv"]


def test_a_users_target_is_given_paths(tmp_path: Path) -> None:
    class Value:
        def store(self, path: Path) -> None:
            path.write_text("stored")

    target = DataTarget(tmp_path / "x.txt")
    target.save(Value(), "store")
    assert target.load(pathlib.Path.read_text) == "stored"


def test_a_users_writer_that_fails_half_way_leaves_the_old_content(tmp_path: Path) -> None:
    class Value:
        def store(self, path: Path) -> None:
            path.write_text("half")
            raise ValueError("stop")

    target = DataTarget(tmp_path / "x.txt")
    target.path.write_text("old")
    with pytest.raises(ValueError, match="stop"):
        target.save(Value(), "store")
    assert target.path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.txt"]


def test_a_value_without_the_method_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"(?s)\.to_csv\(\), which dict does not have"):
        UserTarget(tmp_path / "sub" / "x.csv").save({"a": 1})
    assert os.listdir(tmp_path) == []


def test_a_subclass_of_a_built_in_target_may_set_defaults(tmp_path: Path) -> None:
    class Semicolon(CSVPandasTarget):
        def load(self, cached: bool = False, **kwargs: Any) -> Any:
            return super().load(cached, **{"sep": ";", **kwargs})

        def save(self, df: Any, **kwargs: Any) -> Path:  # type: ignore[override]
            return super().save(df, **{"sep": ";", **kwargs})

    target = Semicolon(tmp_path / "x.csv")
    target.save(FRAME)
    assert target.path.read_text().splitlines()[0] == "a;b"
    assert FRAME.equals(target.load())


# -- luigi's side ------------------------------------------------------------------------------------------


def test_luigi_tasks_can_open_the_file(tmp_path: Path) -> None:
    target = DataTarget(tmp_path / "sub" / "x.txt")
    with target.open("w") as file:
        file.write("one")
        file.flush()
        assert not target.exists()
    with target.open() as file:
        assert file.read() == "one"


def test_luigi_tasks_can_use_a_temporary_path(tmp_path: Path) -> None:
    target = DataTarget(tmp_path / "sub" / "x.txt")
    with target.temporary_path() as temporary:
        Path(temporary).write_text("one")
        assert not target.exists()
    assert os.listdir(tmp_path / "sub") == ["x.txt"]
    target.remove()
    assert not target.exists()


# -- values kept in memory ---------------------------------------------------------------------------------


def test_without_cached_every_load_reads(tmp_path: Path) -> None:
    target = UserTarget(tmp_path / "x.csv")
    target.save(FRAME)
    before = UserTarget.reads
    assert target.load() is not target.load()
    assert UserTarget.reads - before == 2


def test_cached_gives_the_same_object_also_to_another_target_of_that_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    PickleTarget(tmp_path / "x.pkl").save({"a": 1})
    first = PickleTarget(tmp_path / "x.pkl").load(cached=True)
    monkeypatch.chdir(tmp_path)
    assert first is PickleTarget("x.pkl").load(cached=True)
    assert cache.data == {}


def test_the_setting_caches_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "cached", True)
    target = PickleTarget(tmp_path / "x.pkl")
    target.save({"a": 1})
    assert target.load() is target.load()


def test_cached_reads_again_when_the_file_changed(tmp_path: Path) -> None:
    target = PickleTarget(tmp_path / "x.pkl")
    target.save([1])
    assert target.load(cached=True) == [1]
    target.path.write_bytes(pickle.dumps([1, 2, 3]))
    assert target.load(cached=True) == [1, 2, 3]


def test_cached_reads_again_after_a_save_of_the_same_size_and_time(tmp_path: Path) -> None:
    target = PickleTarget(tmp_path / "x.pkl")
    target.save([1])
    facts = os.stat(target.path)
    assert target.load(cached=True) == [1]
    target.save([2])
    assert targets._kept == {}  # the old value is not held in memory either
    os.utime(target.path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert target.load(cached=True) == [2]


def test_cached_tells_options_apart(tmp_path: Path) -> None:
    target = PqPandasTarget(tmp_path / "x.parquet")
    target.save(FRAME)
    assert list(target.load(cached=True, columns=["a"]).columns) == ["a"]
    assert list(target.load(cached=True).columns) == ["a", "b"]


def test_cached_is_forgotten_with_the_file(tmp_path: Path) -> None:
    target = PickleTarget(tmp_path / "x.pkl")
    target.save([1])
    target.load(cached=True)
    target.invalidate()
    with pytest.raises(NotBuiltError):
        target.load(cached=True)
    assert targets._kept == {}


def test_options_that_cannot_be_compared_are_not_cached(tmp_path: Path) -> None:
    target = CSVPandasTarget(tmp_path / "x.csv")
    target.save(FRAME)
    assert list(target.load(cached=True, converters={"a": lambda text: int(text) * 2})["a"]) == [2, 4]
    assert list(target.load(cached=True, converters={"a": lambda text: int(text) * 3})["a"]) == [3, 6]


# -- memory outputs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [CacheTarget, PdCacheTarget])
def test_a_memory_target_keeps_the_value_under_its_path(cls: type[CacheTarget], tmp_path: Path) -> None:
    target = cls(tmp_path / "sub" / "x.cache")
    assert str(tmp_path / "sub" / "x.cache") == target.path == target.save(FRAME)
    assert FRAME is target.load() is cls(target.path).load(cached=False) is cache.data[target.path]
    assert target.exists()
    target.invalidate()
    assert not target.exists()
    assert cache.data == {}
    assert os.listdir(tmp_path) == []


def test_a_memory_target_can_hold_none() -> None:
    target = CacheTarget("x")
    target.save(None)
    assert target.exists()
    assert target.load() is None
