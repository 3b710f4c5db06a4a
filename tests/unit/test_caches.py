"""What methods keep in files, within one process; many processes, and kills, are in tests/crash."""

from __future__ import annotations

import inspect
import os
import pickle
import signal
import subprocess
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import luigi
import pandas as pd
import pytest

import d6tpipe as dp
from d6tpipe import plugins
from d6tpipe.caches import cache_path, cached
from d6tpipe.errors import DeclarationError, PluginError, StorageError
from d6tpipe.fingerprint import fingerprint
from d6tpipe.storage.files import temporary_owner
from d6tpipe.storage.locks import Locks


@pytest.fixture(autouse=True)
def impatient() -> Iterator[None]:
    """Fail where something hangs."""

    def hangs(*anything: object) -> None:
        raise TimeoutError("it hangs")

    if not hasattr(signal, "alarm"):
        yield
        return
    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


class Terms:
    """A stand-in for a config; its body is what the test says."""

    def __init__(self, n: int = 1, body: Callable[[], Any] | None = None) -> None:
        self.n, self.bodies = n, 0
        self.body = body or (lambda: {"n": [n]})
        self.seen: list[Path] = []

    @property
    def config_id(self) -> str:
        return f"Terms_{self.n}"

    def __repr__(self) -> str:
        return f"Terms(n={self.n})"

    @cached("terms.pkl")
    def load(self) -> Any:
        """What it is about."""
        self.bodies += 1
        return self.body()

    @cached("terms.json")
    def listed(self) -> Any:
        return (1, 2)

    @cached("terms.csv")
    def table(self) -> Any:
        return self.body()

    @cache_path("terms.npy")
    def raw(self, path: Path) -> Any:
        self.seen.append(path)
        if not path.exists():
            self.bodies += 1
            path.write_text(str(self.n))
        return path.read_text()

    @cache_path("tree")
    def given(self, path: Path) -> Any:
        self.seen.append(path)
        return self.body()


class Task(dp.tasks.TaskPickle):
    n = dp.IntParameter(default=1)
    quiet = dp.IntParameter(default=0, significant=False)

    @cached("terms.pkl")
    def load(self) -> Any:
        return [self.n]

    def run(self) -> None:
        self.save(self.load())


def data() -> Path:
    return Path(dp.settings.dirpath)


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class Waiting:
    """Knows when a thread has begun to wait for a lock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Semaphore(0)
        waiting: set[int] = set()
        real = Locks.wait

        def wait(locks: Locks, *arguments: Any) -> None:
            if threading.get_ident() not in waiting:
                waiting.add(threading.get_ident())
                self.begun.release()
            real(locks, *arguments)

        monkeypatch.setattr(Locks, "wait", wait)

    def others(self, number: int) -> None:
        """Return when so many wait."""
        for _ in range(number):
            assert self.begun.acquire(timeout=30)


def in_threads(*works: Callable[[], Any]) -> list[Any]:
    """Return what each returns, or the exception that it raises."""
    found: list[Any] = [None] * len(works)

    def work(number: int) -> None:
        try:
            found[number] = works[number]()
        except BaseException as error:  # noqa: BLE001  (handed back)
            found[number] = error

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    return found


# ---- values


def test_the_body_runs_once_and_only_a_call_puts_something_on_the_disk() -> None:
    terms = Terms()
    assert (False, False) == (terms.load.exists(), terms.load.invalidate())
    assert "terms.pkl" == terms.load.path.name and "Terms(n=1).load() in" in repr(terms.load)
    assert not data().exists()
    assert [{"n": [1]}] * 3 == [terms.load(), terms.load(), Terms().load()]
    assert (1, True) == (terms.bodies, terms.load.exists())
    assert [".d6tpipe/locks", str(terms.load.path.relative_to(data()))] == files_below(data())


def test_a_value_that_is_there_is_read_without_a_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    Terms().load()
    monkeypatch.delattr(Locks, "acquire")
    assert {"n": [1]} == Terms().load()


@pytest.mark.parametrize("kept_in_memory", [False, True])
def test_no_two_calls_share_an_object(kept_in_memory: bool) -> None:
    with dp.settings.override(cached=kept_in_memory):
        made = {"n": [1]}
        terms = Terms(body=lambda: made)
        first = terms.load()
        first["n"].append("changed")
        made["n"].append("changed too")
        assert {"n": [1]} == terms.load() == terms.load()
        assert terms.load() is not terms.load()


def test_the_call_that_computes_gets_what_later_calls_get() -> None:
    assert [1, 2] == Terms().listed() == Terms().listed()


def test_a_value_may_be_none() -> None:
    terms = Terms(body=lambda: None)
    assert [None, None, 1] == [terms.load(), terms.load(), terms.bodies]


@pytest.mark.parametrize(
    ("file", "value"),
    [
        ("v.pkl", {1, 2}), ("v.pickle", (1, 2)), ("v.PKL", 1), ("v.json", {"a": [1]}), ("v.txt", "a\r\nä"),
        ("v.bin", b"\0"), ("v.csv", pd.DataFrame({"a": [0.1]})), ("v.csv.gz", pd.DataFrame({"a": [1]})),
        ("v.2024.parquet", pd.DataFrame({"a": [1]}, index=["x"])),
    ],
)  # fmt: skip
def test_the_suffix_says_the_format(file: str, value: Any) -> None:
    class Owner(Terms):
        @cached(file)
        def value(self) -> Any:
            return value

    for _ in range(2):
        found = Owner().value()
        assert type(value) is type(found)
        assert found.equals(value) if isinstance(value, pd.DataFrame) else found == value
    magic = Owner().value.path.read_bytes()[:2]
    assert (magic == b"\x1f\x8b") == file.endswith(".gz")


def test_a_format_of_another_package_is_found_by_its_suffix(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shouted:
        name, suffix = "shouted", "loud"

        def save(self, value: str, path: str) -> None:
            Path(path).write_text(value.upper())

        def load(self, path: str) -> str:
            return Path(path).read_text()

    monkeypatch.setitem(plugins._loaded, ("formats", "shouted"), Shouted())
    monkeypatch.setattr(plugins, "known", lambda group: [*plugins.BUILTIN[group], "shouted"])

    class Owner(Terms):
        @cached("v.loud")
        def value(self) -> str:
            return "a"

    assert "A" == Owner().value()


# ---- what an entry belongs to


def classes(version: Any = "", own: Any = "", file: str = "a.pkl") -> Any:
    """Return a class and a subclass; the same ones at every call, but for what is said."""

    class Base:
        config_id = "Base_1"

        @cached(file, version=own)
        def one(self) -> Any:
            return [type(self).__name__]

        @cached(file)
        def two(self) -> Any:
            return 2

    class Below(Base):
        pass

    Base.version = version  # type: ignore[attr-defined]
    return Base, Below


def test_classes_versions_methods_files_and_values_have_entries_of_their_own() -> None:
    base, below = classes()
    other = type(base)("Base", (base,), {"__module__": "elsewhere", "__qualname__": base.__qualname__})
    another = base()
    another.config_id = "Base_2"
    paths = [
        base().one.path, below().one.path, other().one.path, another.one.path, base().two.path,
        classes(version="2")[0]().one.path, classes(own="2")[0]().one.path, classes(file="b.pkl")[0]().one.path,
    ]  # fmt: skip
    assert len(paths) == len({path.parent for path in paths})
    assert (["Base"], ["Below"]) == (base().one(), below().one())


def test_an_entry_is_found_again_by_the_same_class_made_again() -> None:
    assert classes(2, 3)[0]().one.path == classes("2", "3")[0]().one.path
    assert classes()[0]().one() is not None and classes()[0]().one.exists()


def test_where_an_entry_lies_does_not_change() -> None:
    cls = type("Stored", (), {"config_id": "Stored_7/x", "__module__": "shop", "version": "2"})
    function = Terms.load.function
    function = type(function)(function.__code__, {}, "load")
    function.__module__, function.__qualname__ = "shop", "Stored.load"
    cls.load = cached("terms.pkl", version=1)(function)  # type: ignore[attr-defined]
    folder = "Stored/cached/Stored_7_x-load-3103e79e3f36aff475a9b09f32a9959a"
    assert data() / folder / "terms.pkl" == cls().load.path  # type: ignore[attr-defined]


def test_the_script_of_a_child_of_multiprocessing_is_the_script() -> None:
    paths = set()
    for module in ("__main__", "__mp_main__"):
        cls = classes()[0]
        cls.__module__ = cls.one.function.__module__ = module
        paths.add(cls().one.path)
    assert 1 == len(paths)


def test_every_part_of_the_path_is_short_enough_for_the_disk() -> None:
    owner = type("Ü" * 200, (Terms,), {"config_id": "ä/" * 400})()
    assert owner.load() == {"n": [1]}
    assert max(len(part.encode()) for part in owner.load.path.parts) < 255
    same_start = type("Ü" * 200, (Terms,), {"config_id": "ä/" * 400 + "x"})()
    assert same_start.load.path != owner.load.path


def test_an_overriding_method_may_call_that_of_its_base_class() -> None:
    class Below(Terms):
        @cached("terms.pkl")
        def load(self) -> Any:
            return [super().load()]

    assert [{"n": [1]}] == Below().load() == Below().load()


def test_the_significant_values_of_a_task_are_the_key() -> None:
    assert [[1], [2]] == [Task(n=1).load(), Task(n=2).load()]
    assert Task(n=1).load.path != Task(n=2).load.path
    assert Task(n=1, quiet=1).load.path == Task(n=1).load.path


def test_a_parameter_may_be_called_version_or_config_id() -> None:
    def made() -> Any:
        class Named(dp.tasks.TaskPickle):
            version = dp.Parameter()
            config_id = dp.Parameter(default="same")

            @cached("v.txt")
            def value(self) -> str:
                return self.version

        return Named

    assert ["a", "b"] == [made()(version=version).value() for version in "ab"]
    assert made()(version="a").value.path == made()(version="a").value.path


def test_what_a_task_of_a_workflow_keeps_lies_in_the_data_folder_of_the_workflow(tmp_path: Path) -> None:
    task = dp.Workflow(Task, params={"n": 3}, path=tmp_path / "other").get_task()
    assert [3] == task.load()
    assert task.load.path.is_relative_to(tmp_path / "other" / "Task" / "cached")
    assert not data().exists()


@pytest.mark.parametrize("owner", [Terms, Task])
def test_a_relative_data_folder_is_that_of_the_moment_of_the_call(owner: Any, tmp_path: Path) -> None:
    dp.set_dir("here")
    load = owner().load
    assert Path.cwd() / "here" in load.path.parents
    dp.set_dir(tmp_path)
    assert tmp_path in load.path.parents


def test_a_body_may_change_the_working_folder(tmp_path: Path) -> None:
    dp.set_dir("here")
    before = Path.cwd()
    terms = Terms(body=lambda: os.chdir(tmp_path))
    terms.load()
    assert [] == os.listdir(tmp_path)
    os.chdir(before)
    assert terms.load.exists()
    assert [None] == in_threads(Terms(body=lambda: None).load)
    assert terms.load.invalidate()


def test_a_plain_luigi_task_has_an_identity_too() -> None:
    class Plain(luigi.Task):
        n = luigi.IntParameter()

        @cached("v.pkl")
        def value(self) -> Any:
            return self.n

    assert [1, 2, 1] == [Plain(n=1).value(), Plain(n=2).value(), Plain(n=1).value()]


def test_the_body_of_a_task_may_use_what_its_class_keeps() -> None:
    task = Task(n=4)
    dp.run(task, execution_summary=False, progress=False)
    assert [4] == task.outputLoad() and task.load.exists()
    task.reset(confirm=False)
    assert task.load.exists()


def test_an_object_without_an_identity_is_told_what_it_needs() -> None:
    class Nobody:
        load = Terms.load

    with pytest.raises(DeclarationError, match=r"(?s)Nobody.*Derive the class from d6tpipe\.Config or"):
        Nobody().load()
    assert not data().exists()


# ---- failures


class Ours(StorageError):
    pass


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, StopIteration, FileNotFoundError, Ours, MemoryError])
@pytest.mark.parametrize("method", ["load", "given"])
def test_what_a_body_raises_comes_through_as_it_is_and_nothing_stays(kind: type, method: str) -> None:
    error = kind("from the body")

    def raises() -> None:
        if method == "given":
            terms.seen[-1].mkdir()
            (terms.seen[-1] / "part").write_text("half")
        raise error

    terms = Terms(body=raises)
    with pytest.raises(kind) as caught:
        getattr(terms, method)()
    assert caught.value is error and "from the body" == str(error)
    assert [".d6tpipe/locks"] == files_below(data())
    assert not getattr(terms, method).exists()
    terms.body = lambda: 5
    assert 5 == getattr(terms, method)()


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("load", lambda terms: terms.load()),
        ("load", lambda terms: Terms().load()),
        ("load", lambda terms: terms.load.invalidate()),
        ("given", lambda terms: terms.given()),
        ("given", lambda terms: terms.given.invalidate()),
    ],
)
def test_a_method_that_needs_its_own_value_is_named(method: str, body: Callable[[Terms], Any]) -> None:
    terms = Terms()
    terms.body = lambda: body(terms)
    with pytest.raises(DeclarationError, match=rf"(?s)needs that value itself.*Terms\(n=1\)\.{method}\(\)"):
        getattr(terms, method)()


def test_a_method_may_use_others_and_itself_with_other_values() -> None:
    terms = Terms(1, lambda: [Terms(2).load(), terms.raw(), terms.load.exists()])
    assert [{"n": [2]}, "1", False] == terms.load()


@pytest.mark.parametrize(
    "damage", [b"", b"\x80\x05", b"\x80\x05X\x10\x00\x00\x00abc.", b"\x80\x05cnowhere\nNothing\n."]
)
def test_a_damaged_entry_is_named_and_computed_again(damage: bytes) -> None:
    terms = Terms()
    terms.load()
    terms.load.path.write_bytes(damage)
    with pytest.warns(UserWarning, match="cannot be read and is computed again") as said:
        assert {"n": [1]} == terms.load()
    (message,) = [str(each.message) for each in said]
    assert "Terms(n=1).load()" in message and str(terms.load.path) in message
    assert __file__ == said[0].filename
    assert {"n": [1]} == terms.load() and 2 == terms.bodies


def test_a_library_that_is_missing_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    terms = Terms()
    terms.load()

    def missing(path: str) -> Any:
        raise PluginError("The pickle format needs the package pickles, which is not installed")

    monkeypatch.setattr(plugins.load("formats", "pickle"), "load", missing, raising=False)
    with pytest.raises(PluginError, match="needs the package pickles"):
        terms.load()
    with pytest.raises(PluginError, match=r"Terms\(n=2\)\.load\(\)"):
        Terms(2).load()
    assert 1 == terms.bodies


def test_a_value_that_the_format_cannot_hold_is_an_error_that_names_the_method() -> None:
    terms = Terms(body=lambda: lambda: None)
    with pytest.raises(DeclarationError, match=r"(?s)cannot be pickled.*task .*Terms\(n=1\)\.load\(\)"):
        terms.load()
    assert [".d6tpipe/locks"] == files_below(data())


def test_a_value_that_cannot_be_written_is_not_lost() -> None:
    data().mkdir()
    (data() / "Terms").write_text("in the way")
    terms = Terms()
    with pytest.warns(UserWarning, match=r"(?s)Terms\(n=1\)\.load\(\) is not kept.*Cannot make a folder"):
        assert {"n": [1]} == terms.load()
    with pytest.raises(StorageError, match=r"Cannot make a folder(?s:.*)cached/Terms_1-raw-"):
        terms.raw()


def test_a_value_that_cannot_be_read_back_is_not_lost() -> None:
    terms = Terms(body=lambda: pd.DataFrame())
    with pytest.warns(UserWarning, match=r"is not kept.*EmptyDataError"):
        assert terms.table().equals(pd.DataFrame())


# ---- several at once


def test_threads_compute_once(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Waiting(monkeypatch)

    def body() -> Any:
        waiting.others(7)
        return {"n": [1]}

    terms = Terms(body=body)
    assert [{"n": [1]}] * 8 == in_threads(*[terms.load] * 8)
    assert 1 == terms.bodies


def test_after_a_body_that_failed_the_next_caller_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Waiting(monkeypatch)

    def body() -> Any:
        if terms.bodies == 1:
            waiting.others(3)
            raise ValueError("once")
        return "well"

    terms = Terms(body=body)
    found = in_threads(*[terms.load] * 4)
    assert ["well"] * 3 == [each for each in found if not isinstance(each, ValueError)]
    assert 2 == terms.bodies


def test_entries_of_other_owners_do_not_wait() -> None:
    terms = Terms(1, lambda: in_threads(Terms(2).load, Terms(1).raw))
    assert [{"n": [2]}, "1"] == terms.load()


def test_one_caller_at_a_time_has_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Waiting(monkeypatch)

    def body() -> int:
        if len(terms.seen) == 1:
            waiting.others(3)
            terms.seen[0].mkdir()
        return len(terms.seen)

    terms = Terms(body=body)
    assert [1, 2, 3, 4] == sorted(in_threads(*[terms.given] * 4))
    assert 1 == sum(temporary_owner(path.name) is not None for path in terms.seen)


def test_to_invalidate_waits_for_who_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting, begun = Waiting(monkeypatch), threading.Event()

    def body() -> Any:
        begun.set()
        waiting.others(1)
        return 1

    terms = Terms(body=body)
    assert [1, True] == in_threads(terms.load, lambda: begun.wait(30) and terms.load.invalidate())
    assert not terms.load.exists()


# ---- methods that get the path


def test_a_method_gets_a_temporary_path_until_there_is_a_file() -> None:
    terms = Terms()
    assert ["1", "1"] == [terms.raw(), terms.raw()]
    first, second = terms.seen
    assert (1, terms.raw.path, "terms.npy") == (terms.bodies, second, second.name)
    assert temporary_owner(first.name) and (first.suffix, first.parent) == (".npy", second.parent)
    assert ["terms.npy"] == os.listdir(second.parent)


@pytest.mark.parametrize("kind", [Path, str])
def test_a_method_that_returns_its_path_returns_the_one_that_lasts(kind: type) -> None:
    terms = Terms()

    def body() -> Any:
        terms.seen[0].write_text("x")
        return kind(terms.seen[-1])

    terms.body = body
    assert [kind(terms.given.path)] * 2 == [terms.given(), terms.given()]
    assert terms.seen[0] != terms.given.path


def test_a_method_may_fill_a_folder() -> None:
    terms = Terms(body=lambda: (terms.seen[0].mkdir(), (terms.seen[0] / "a").write_text("x")))
    terms.given()
    assert ["a"] == os.listdir(terms.given.path)


def test_a_method_that_writes_nothing_gets_a_temporary_path_again() -> None:
    terms = Terms(body=lambda: 7)
    assert [7, 7] == [terms.given(), terms.given()]
    assert not terms.given.exists() and terms.given.path not in terms.seen
    assert [] == os.listdir(terms.given.path.parent)


def test_what_a_method_does_to_its_file_later_stays() -> None:
    terms = Terms()
    terms.raw()
    terms.raw.path.write_text("5")
    assert "5" == terms.raw()


# ---- deleting


def test_to_invalidate_deletes_file_or_folder_and_leaves_the_rest() -> None:
    terms, tree = Terms(), Terms(body=lambda: (tree.seen[-1].mkdir(), (tree.seen[-1] / "a").write_text("x")))
    for call in (tree.given, terms.load, Terms(2).load):
        call()
    assert [True, False] == [tree.given.invalidate(), tree.given.invalidate()]
    assert [False, True, True] == [each.exists() for each in (tree.given, terms.load, Terms(2).load)]
    assert [True, False] == [terms.load.invalidate(), terms.load.exists()]
    assert [Terms(2).load.path.parent] == list((data() / "Terms" / "cached").iterdir())
    terms.body = lambda: 5
    assert [5, 2] == [terms.load(), terms.bodies]


def test_what_cannot_be_deleted_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    terms = Terms()
    terms.load()

    def refuses(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", refuses)
        with pytest.raises(StorageError, match=r"(?s)Terms\(n=1\)\.load\(\).*terms\.pkl.*Permission denied"):
            terms.load.invalidate()
    assert terms.load.exists()


# ---- declarations


def declared(decorator: Any, function: Any) -> str:
    with pytest.raises(DeclarationError) as caught:
        decorator(function)
    return str(caught.value)


def one(self: Any) -> Any: ...
def two(self: Any, path: Path) -> Any: ...
def three(self: Any, path: Path, k: int) -> Any: ...
def none() -> Any: ...
def keyword(self: Any, *, k: int) -> Any: ...
async def asynchronous(self: Any) -> Any: ...
def generator(self: Any) -> Any:
    yield 1


@pytest.mark.parametrize(
    ("decorator", "function", "said"),
    [
        (cached("a.pkl"), two, "missing a required argument: 'path'"),
        (cached("a.pkl"), keyword, "missing a required argument: 'k'"),
        (cached("a.pkl"), none, "too many positional arguments"),
        (cache_path("a"), one, "too many positional arguments"),
        (cache_path("a"), three, "a method of self and path alone"),
        (cached("a.pkl"), asynchronous, "has done its work when it returns"),
        (cached("a.pkl"), generator, "has done its work when it returns"),
        (cached("a.pkl"), property(one), "written with def"),
        (cached("a.pkl"), staticmethod(one), "written with def"),
        (cached("a.pk"), one, "Did you mean 'a.pkl'?"),
        (cached("a.xyz.parket"), one, "Did you mean 'a.parquet'?"),
        (cached("a.exe"), one, ".csv.gz, .hdf5, .json"),
        (cached("a"), one, "No format has the suffix"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_when_it_is_declared(decorator: Any, function: Any, said: str) -> None:
    message = declared(decorator, function)
    assert said in message
    assert (getattr(function, "__name__", None) or type(function).__name__) in message


@pytest.mark.parametrize("decorator", [cached, cache_path])
@pytest.mark.parametrize(
    "file", [one, "", "a/b.pkl", "a\\b.pkl", "a\0.pkl", ".tmp-00000000-1-1.pkl", "a" * 252 + ".pkl", Path("a.pkl")]
)
def test_what_is_no_name_of_a_file_is_refused(decorator: Any, file: Any) -> None:
    with pytest.raises(DeclarationError, match="needs the name of a file"):
        decorator(file)  # as in @cached without parentheses


def test_arguments_with_defaults_are_allowed() -> None:
    class Owner(Terms):
        @cached("a.pkl")
        def value(self, k: int = 3, *more: int, **others: int) -> int:
            return k

    assert 3 == Owner().value()


def test_a_decorated_method_looks_like_the_method() -> None:
    assert ("load", "What it is about.") == (Terms.load.__name__, Terms.load.__doc__)
    assert ["self"] == list(inspect.signature(Terms.load.__wrapped__).parameters)


# ---- tasks and their code


def test_an_edit_of_a_decorated_method_is_an_edit_of_its_class() -> None:
    text = """
class Owner:
    config_id = "1"
    @decorate("a.pkl")
    def value(self):
        return {}
"""
    found = []
    for value in "112":
        space: dict[str, Any] = {"decorate": cached, "__name__": "shop"}
        exec(text.format(value), space)
        found.append(fingerprint(space["Owner"]).fast)
    assert found[0] == found[1] != found[2]


def test_a_decorated_method_of_one_owner_can_be_pickled() -> None:
    assert [5] == pickle.loads(pickle.dumps(Task(n=5).load))()


@pytest.mark.slow
def test_a_class_that_is_pickled_by_value_finds_what_it_has_kept(
    tmp_path: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    code = """
import sys, cloudpickle, d6tpipe as dp
from d6tpipe.caches import cache_path, cached
class Terms(dp.tasks.TaskPickle):
    n = dp.IntParameter()
    @cached("a.pkl")
    def load(self):
        return [self.n, __class__.__name__]
    @cache_path("a.txt")
    def raw(self, path):
        path.exists() or path.write_text("x")
        return path.read_text()
dp.set_dir(sys.argv[1])
Terms(n=1).load()
with open(sys.argv[2], "wb") as file:
    cloudpickle.dump((Terms, Terms(n=2), Terms(n=3).load), file)
"""
    again = """
import sys, cloudpickle, d6tpipe as dp
with open(sys.argv[2], "rb") as file:
    cls, task, method = cloudpickle.load(file)
dp.set_dir(sys.argv[1])
print(cls(n=1).load.exists(), task.load.exists(), task.load(), task.raw(), method())
"""
    arguments = str(tmp_path / "data"), str(tmp_path / "pickled")
    run_python("-c", code, *arguments)
    assert "True False [2, 'Terms'] x [3, 'Terms']" == run_python("-c", again, *arguments).stdout.strip()


def test_the_check_of_a_hit_is_quiet() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Terms().load() == Terms().load()
