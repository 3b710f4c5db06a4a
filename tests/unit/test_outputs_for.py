"""Outputs that know which task makes them: ``as_output()``, ``outputs_for``, paths."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

import d6tpipe as dp
from d6tpipe.errors import DeclarationError


class Topics(dp.Config):
    path = dp.PathParameter()


class Documents(dp.Config):
    name = dp.Parameter(default="all")


class Dataset(dp.Config):
    topics = dp.ConfigParameter(Topics)
    documents = dp.ConfigParameter(Documents, default={})


class RandomFold(dp.tasks.TaskPickle):
    dataset = dp.ConfigParameter(Dataset)
    seed = dp.IntParameter(default=0)
    persist = ["topics", "rest"]

    def run(self) -> None:
        self.save({"topics": [self.seed, 1, 2], "rest": []})

    def outputs_for(self, dep: Any) -> Any:
        topics = dep(Topics(path=self.outputPath("topics")))
        return Dataset(topics=topics, documents=self.dataset.documents)


class Uses(dp.tasks.TaskPickle):
    what = dp.DictParameter(default={})
    topics = dp.ConfigParameter(Topics, default=None)
    documents = dp.ConfigParameter(Documents, default=None)

    def run(self) -> None:
        if self.topics is None:
            self.save(0)
        else:
            with open(self.topics.path, "rb") as stream:
                self.save(sum(pickle.load(stream)))


class ByPath(dp.tasks.TaskPickle):
    path = dp.PathParameter()
    other = dp.OptionalPathParameter(default=None)

    def run(self) -> None:
        with open(self.path, "rb") as stream:
            self.save(pickle.load(stream))


class Whole(dp.tasks.TaskPickle):
    n = dp.IntParameter(default=1)

    def run(self) -> None:
        self.save(self.n)


WHOLE = Dataset(topics=Topics(path="topics.tsv"))


@pytest.fixture(autouse=True)
def quiet() -> None:
    dp.settings.execution_summary = False


@pytest.mark.parametrize(("executor", "workers"), [("serial", 1), ("threads", 2), ("processes", 2), ("dask", 2)])
def test_only_what_is_marked_makes_its_holder_require_the_task(executor: str, workers: int) -> None:
    fold = RandomFold(dataset=WHOLE, seed=5).as_output()
    assert isinstance(fold, Dataset) and fold.documents is WHOLE.documents
    on_topics, on_documents = Uses(topics=fold.topics), Uses(documents=fold.documents)
    assert dp.taskflow_upstream(on_topics)[1:] == [RandomFold(dataset=WHOLE, seed=5)]
    assert dp.taskflow_upstream(on_documents)[1:] == []
    assert dp.run(on_topics, executor=executor, workers=workers).counts["built"] == 2
    assert on_topics.outputLoad() == 8
    assert dp.run(on_topics, executor=executor, workers=workers).counts["fresh"] == 2


def test_another_producer_is_another_identity() -> None:
    one, other = [RandomFold(dataset=WHOLE, seed=seed).as_output().topics for seed in (1, 2)]
    marked = Documents()._output_of([Whole()])
    assert one != other and Uses(topics=one).task_id != Uses(topics=other).task_id
    assert marked != Documents() and marked.config_id != Documents().config_id
    assert Uses(documents=marked) != Uses(documents=Documents())
    assert Uses(documents=marked).task_id != Uses(documents=Documents()).task_id
    assert Uses(documents=marked) == Uses(documents=Documents()._output_of([Whole()]))


def test_marking_is_done_once_and_takes_tasks_and_containers() -> None:
    class Marks(Whole):
        def outputs_for(self, dep: Any) -> Any:
            assert dep(self) is self and dep(None) is None
            twice = dep(dep(Documents()))
            return {"twice": twice, "list": dep([Documents(name="a"), {"b": Documents(name="b")}]), "self": dep(self)}

    task = Marks()
    found = task.as_output()
    assert found["twice"]._producers == found["list"][0]._producers == found["list"][1]["b"]._producers == (task,)
    assert dp.taskflow_upstream(Uses(what=found["list"][1]))[1:] == [task]
    assert found["twice"].clone(name="z")._producers == (task,)
    assert Whole().as_output() is Whole()

    class Wrong(Whole):
        def outputs_for(self, dep: Any) -> Any:
            return dep(3)

    with pytest.raises(DeclarationError, match="dep\\(\\) marks configs"):
        Wrong().as_output()


def test_what_is_marked_can_be_written_as_text_and_pickled() -> None:
    task = Uses(topics=RandomFold(dataset=WHOLE, seed=3).as_output().topics)
    again = Uses.from_str_params(task.to_str_params())
    assert again == task and again.task_id == task.task_id
    there = pickle.loads(pickle.dumps(task))
    assert there == task and dp.taskflow_upstream(there)[1:] == [RandomFold(dataset=WHOLE, seed=3)]


def test_a_path_that_a_task_makes_is_a_requirement_and_part_of_the_identity() -> None:
    one, other = [ByPath(path=Whole(n=n).outputPath()) for n in (1, 2)]
    assert one != other and one.task_id != other.task_id
    assert one.task_id.startswith(f"ByPath__{Whole(n=1).task_id}_")
    assert dp.run([one, other]).counts["built"] == 4
    assert (one.outputLoad(), other.outputLoad()) == (1, 2)
    plain = ByPath(path=Path(Whole(n=1).outputPath().parent / Whole(n=1).outputPath().name))
    assert plain != one and dp.taskflow_upstream(plain) == [plain]
    assert pickle.loads(pickle.dumps(one)) is one
    assert ByPath.from_str_params(one.to_str_params()) == one
    assert pickle.loads(pickle.dumps(Whole().outputPath().parent)) == Whole().outputPath().parent


def test_the_identity_does_not_depend_on_where_the_data_lie(tmp_path: Path) -> None:
    before = ByPath(path=Whole().outputPath()).task_id
    dp.set_dir(tmp_path / "elsewhere")
    assert ByPath(path=Whole().outputPath()).task_id == before


def test_asking_for_outputs_makes_nothing(isolated_listing: Any) -> None:
    RandomFold(dataset=WHOLE).as_output()
    Whole().outputPath()
    assert isolated_listing() == []


@pytest.fixture
def isolated_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    dp.set_dir(tmp_path / "data")
    return lambda: list(tmp_path.iterdir())


class Plain(dp.tasks.TaskPickle):
    path = dp.Parameter()

    def run(self) -> None:
        self.save(1)


def test_a_path_follows_the_data_folder(tmp_path: Path) -> None:
    dp.set_dir(tmp_path / "a")
    before = ByPath(path=Whole().outputPath())
    dp.run(before)
    dp.set_dir(tmp_path / "b")
    after = ByPath(path=Whole().outputPath())
    assert str(after.path).startswith(str(tmp_path / "b")) and after.task_id == before.task_id
    assert dp.run(after).counts["built"] == 2


def test_a_parameter_that_is_no_path_takes_it_as_one_like_any_other() -> None:
    task = Plain(path=Whole().outputPath())
    assert task.task_id == Plain(path=str(Whole().outputPath())).task_id
    assert dp.taskflow_upstream(task) == [task]
