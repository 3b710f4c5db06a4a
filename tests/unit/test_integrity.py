"""A pickle is compared with its record before it is loaded."""

from __future__ import annotations

import os
import pickle
import warnings

import pytest

import d6tpipe
from d6tpipe import integrity
from d6tpipe.errors import NotBuiltError, StorageError
from d6tpipe.examiner import store_of


class Model(d6tpipe.tasks.TaskPickle):
    def run(self):
        self.save([1, 2])


class Pair(d6tpipe.tasks.TaskPickle):
    persist = ["x", "y"]

    def run(self):
        self.save({"x": 1, "y": 2})


class Table(d6tpipe.tasks.TaskJson):
    def run(self):
        self.save([1])


@pytest.fixture
def built() -> str:
    """Return the file of a built `Model`, as another process finds it."""
    d6tpipe.run(Model(), execution_summary=False)
    integrity._sound.clear()
    return str(Model().outputPath())


def rewrite(path: str, value: object, keep_time: bool = False) -> None:
    facts = os.stat(path)
    with open(path, "wb") as stream:
        pickle.dump(value, stream, 5)
    if keep_time:
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def test_what_is_as_recorded_is_loaded(built):
    assert [1, 2] == Model().outputLoad()


def test_a_change_that_hides_behind_the_same_size_and_time_is_refused(built):
    rewrite(built, [1, 3], keep_time=True)
    with pytest.raises(StorageError, match="not what was recorded") as caught:
        Model().outputLoad()
    assert built in str(caught.value)
    assert "accept" in str(caught.value)


def test_a_file_that_was_written_since_is_loaded_with_a_warning(built):
    rewrite(built, [7])
    with pytest.warns(UserWarning, match="modified since it was built"):
        assert [7] == Model().outputLoad()


def test_with_verify_hash_it_is_refused(built):
    rewrite(built, [7])
    with d6tpipe.settings.override(verify="hash"), pytest.raises(StorageError, match="not what was recorded"):
        Model().outputLoad()


def test_once_accepted_it_is_loaded(built):
    rewrite(built, [7])
    d6tpipe.accept(Model())
    integrity._sound.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [7] == Model().outputLoad()


def test_what_has_no_record_is_loaded(built):
    store_of(Model()).records.forget([Model().task_id])
    rewrite(built, [7])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [7] == Model().outputLoad()


def test_a_format_that_runs_no_code_is_not_compared():
    d6tpipe.run(Table(), execution_summary=False)
    integrity._sound.clear()
    facts = os.stat(Table().outputPath())
    Table().outputPath().write_text('{"data": [2]}'.ljust(facts.st_size))
    os.utime(Table().outputPath(), ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert [2] == Table().outputLoad()


def test_what_this_process_has_written_is_not_looked_up_again(monkeypatch):
    d6tpipe.run(Model(), execution_summary=False)
    monkeypatch.setattr(integrity, "store_of", None)
    assert [1, 2] == Model().outputLoad()


def test_outputs_of_an_attempt_that_was_killed_are_not_handed_out():
    d6tpipe.run(Pair(), execution_summary=False)
    store_of(Pair()).records.building([(Pair().task_family, Pair().task_id)], "another run")
    with pytest.raises(NotBuiltError, match="did not come to its end"):
        Pair().outputLoad()
    assert [1, 2] == Pair().outputLoad(run=True)
    assert [1, 2] == Pair().outputLoad()
