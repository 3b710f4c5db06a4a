"""``self.job``: what a body finds while it runs."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import d6tpipe as dp
from d6tpipe.errors import NotRunningError, ParameterError
from d6tpipe.jobs import job_folder, seed_of

WORKERS = [("serial", 1), ("threads", 2), ("processes", 2)]


class Base(dp.tasks.TaskPickle):
    rows = dp.IntParameter(default=1)

    def run(self) -> None:
        self.save(self.rows)


@dp.requires(Base)
class Facts(dp.tasks.TaskPickle):
    layers = dp.IntParameter(default=2)
    worker_timeout = 300

    def run(self) -> None:
        job = self.job
        job.artifact("plots/loss.txt").write_text("loss")
        job.log.warning("half way")
        self.save(
            {
                "dir": str(job.dir), "label": job.label, "tags": dict(job.tags), "seed": job.seed,
                "attempt": job.attempt, "run_id": job.run_id, "left": job.remaining_time(),
                "draw": job.random().random(), "same": self.job is job,
            }
        )  # fmt: skip


@pytest.fixture(autouse=True)
def quiet() -> None:
    dp.settings.execution_summary = False


@pytest.mark.parametrize(("executor", "workers"), WORKERS)
def test_a_body_finds_facts_and_a_folder(executor: str, workers: int) -> None:
    some = dp.sweep(Facts, {"deep": {"layers": 3, "rows": 7}})
    task = some["deep"]
    dp.run(some, executor=executor, workers=workers)
    found = task.outputLoad()
    assert found["label"] == f"{__name__}.Facts[deep]" and found["same"]
    assert found["tags"] == {"layers": 3, "rows": 7}
    assert found["attempt"] == 1 and found["run_id"] and 0 < found["left"] <= 300
    assert found["draw"] == random.Random(found["seed"]).random()
    assert Path(found["dir"]).name.startswith(task.task_id)
    assert (Path(found["dir"]) / "plots" / "loss.txt").read_text() == "loss"
    assert "half way" in dp.log(task)


def test_the_seed_is_that_of_the_task() -> None:
    dp.run([Facts(layers=1), Facts(layers=2)])
    seeds = [Facts(layers=n).outputLoad()["seed"] for n in (1, 2)]
    assert len(set(seeds)) == 2 and all(0 <= seed < 2**32 for seed in seeds)
    Facts(layers=1).reset(confirm=False)
    dp.run(Facts(layers=1))
    assert Facts(layers=1).outputLoad()["seed"] == seeds[0]


def test_outside_of_a_body_there_is_no_job() -> None:
    assert not hasattr(Facts(), "job")
    with pytest.raises(NotRunningError, match="only while run"):
        Facts().job


def test_a_body_that_is_called_by_hand_has_a_job() -> None:
    Base().run()
    Facts().run()
    assert Facts().outputLoad()["run_id"] == "" and Facts().outputLoad()["left"] is None


def test_a_reset_deletes_the_folder() -> None:
    dp.run(Facts())
    place = Path(Facts().outputLoad()["dir"])
    assert place.is_dir()
    Facts().reset(confirm=False)
    assert not place.exists()


class Tries(dp.tasks.TaskPickle):
    retry_count = 3

    def run(self) -> None:
        before = sorted(os.listdir(self.job.dir))
        (self.job.dir / f"try_{self.job.attempt}").write_text("")
        if self.job.attempt < 3:
            raise ValueError("again")
        self.save((self.job.attempt, before))


class Resumes(Tries):
    resumable = True


@pytest.mark.parametrize(("executor", "workers"), WORKERS)
def test_each_attempt_begins_with_an_empty_folder_unless_the_task_is_resumable(executor: str, workers: int) -> None:
    dp.run([Tries(), Resumes()], executor=executor, workers=workers)
    assert Tries().outputLoad() == (3, [])
    assert Resumes().outputLoad() == (3, ["try_1", "try_2"])


def test_a_resumable_task_that_has_succeeded_begins_anew() -> None:
    dp.run(Resumes())
    dp.run(Resumes(), forced_all=True)
    assert Resumes().outputLoad() == (3, ["try_1", "try_2"])


def test_artifacts_stay_in_the_folder() -> None:
    class Wrong(dp.tasks.TaskPickle):
        name = dp.Parameter()

        def run(self) -> None:
            self.save(str(self.job.artifact(self.name)))

    for name in ("../other.txt", "", "/etc/passwd", "."):
        failure = dp.run(Wrong(name=name), abort=False).failures[0]
        assert isinstance(failure.error, ParameterError) and "within the folder of the job" in str(failure.error)


class Loops(dp.tasks.TaskPickle):
    def run(self) -> None:
        told: list[Any] = []
        self.set_progress_percentage = told.append  # type: ignore[assignment]
        self.set_status_message = told.append  # type: ignore[assignment]
        self.job.progress(0.25, "begun")
        for _ in self.job.progress(range(2), "outer"):
            for _ in self.job.progress(["a", "b"]):
                pass
        for _ in self.job.progress(iter("xy")):
            pass
        try:
            self.job.progress(3)
        except ParameterError as error:
            told.append(error.headline)
        self.save(told)


def test_progress_is_a_number_or_a_loop_and_loops_nest() -> None:
    dp.run(Loops())
    told = Loops().outputLoad()
    assert [one for one in told if isinstance(one, float)] == [
        25.0,
        0.0,
        0.0,
        25.0,
        50.0,
        50.0,
        50.0,
        75.0,
        100.0,
        100.0,
    ]
    assert [one for one in told if isinstance(one, str)] == [
        "begun", "outer 1/2", "1/2", "2/2", "outer 2/2", "1/2", "2/2", "outer", "progress() takes a part of the whole",
    ]  # fmt: skip


def test_the_logger_is_named_after_the_class() -> None:
    names = []

    class Logs(dp.tasks.TaskPickle):
        def run(self) -> None:
            names.append(self.job.log.name)
            self.save(json.dumps(1))

    dp.run(Logs())
    assert names == [f"{__name__}.{Logs.__qualname__}"] and isinstance(logging.getLogger(names[0]), logging.Logger)


def test_labels_tags_and_marks_travel_with_a_task() -> None:
    import pickle

    task = dp.sweep(Base, {"one": {"rows": 41}}, marks="slow")["one"]
    text = pickle.dumps(task)
    del task
    again = pickle.loads(text)
    assert dp.errors.shown(again) == f"{__name__}.Base[one]" and dp.tags(again) == {"rows": 41}


# ---- bodies that have a process to themselves


class Alone(dp.tasks.TaskPickle):
    isolate = True
    layers = dp.IntParameter(default=1)

    def run(self) -> None:
        print("layers", self.layers)
        Path("here.txt").write_text("x")
        if self.layers == 0:
            raise ValueError("none")
        self.save((os.getcwd(), dict(self.job.tags), os.getpid()))


class AloneSteps(Alone):
    def run(self) -> Any:
        place = os.getcwd()
        yield Base(rows=3)
        self.save((place, os.getcwd(), os.getpid()))


@pytest.mark.parametrize(("executor", "workers"), [*WORKERS, ("dask", 2)])
def test_an_isolated_body_works_in_its_folder_and_leaves_its_status_there(executor: str, workers: int) -> None:
    if executor == "dask":
        pytest.importorskip("distributed")
    here = os.getcwd()
    some = dp.sweep(Alone, {"three": {"layers": 3}, "none": {"layers": 0}})
    dp.run(some, executor=executor, workers=workers, abort=False)
    place, tags, pid = some["three"].outputLoad()
    assert tags == {"layers": 3} and pid != os.getpid() and os.getcwd() == here
    assert Path(place).name.startswith(some["three"].task_id) and (Path(place) / "here.txt").exists()
    status = json.loads((Path(place) / "status.json").read_text())
    assert (status["state"], status["pid"], status["attempt"]) == ("built", pid, 1)
    assert status["label"].endswith("Alone[three]") and status["begin"] <= status["end"] and status["run_id"]
    assert (Path(place) / "task.out").read_text() == "layers 3\n"
    assert dp.from_dir(place) is some["three"] and dp.from_dir(Path(place) / "here.txt") is some["three"]
    failed = json.loads((Path(place).parent / Path(place).name.replace(some["three"].task_id, some["none"].task_id)
                         / "status.json").read_text())  # fmt: skip
    assert (failed["state"], failed["reason"]) == ("failed", "ValueError: none")


def test_an_isolated_body_that_yields_begins_again_in_its_folder() -> None:
    dp.run(AloneSteps(), executor="processes", workers=2)
    before, after, _ = AloneSteps().outputLoad()
    assert before == after and Path(before).name.startswith(AloneSteps().task_id)


def test_a_folder_of_no_task_is_told(tmp_path: Path) -> None:
    with pytest.raises(dp.errors.StorageError, match="not the folder of a task"):
        dp.from_dir(tmp_path)
    (tmp_path / "params.json").write_text('{"class": "Nothing", "module": "nowhere", "params": {}}')
    with pytest.raises(dp.errors.StorageError, match="there is no class Nothing in the module nowhere"):
        dp.from_dir(tmp_path)


class Draws(dp.tasks.TaskPickle):
    n = dp.IntParameter(default=1)

    def run(self) -> None:
        import numpy

        self.save((random.random(), float(numpy.random.random())))


def test_worker_processes_are_seeded_with_the_task_and_this_process_is_not() -> None:
    import numpy  # noqa: F401  (so that the workers have it from the start)

    some = [Draws(n=n) for n in range(4)]
    dp.run(some, executor="processes", workers=2)
    first = [task.outputLoad() for task in some]
    dp.run(some, executor="processes", workers=2, forced_all=True)
    assert [task.outputLoad()[0] for task in some] == [one[0] for one in first]
    assert len({one[0] for one in first}) == 4
    assert first[0][0] == random.Random(seed_of(Draws(n=0))).random()
    random.seed(7)
    expected = random.Random(7).random()
    dp.run(Base(rows=70))
    assert random.random() == expected


class Slow(Alone):
    worker_timeout = 2

    def run(self) -> None:
        print("begun", flush=True)
        threading.Event().wait(60)


class Dies(Alone):
    def run(self) -> None:
        print("begun", flush=True)
        os._exit(3)


@pytest.mark.parametrize(("cls", "state", "words"), [(Slow, "timeout", "longer"), (Dies, "failed", "")])
def test_the_status_of_an_isolated_body_that_was_stopped_or_died_says_so(cls: Any, state: str, words: str) -> None:
    dp.run(cls(), executor="processes", workers=2, abort=False)
    from d6tpipe.tasks.outputs import job_folder

    status = json.loads((Path(job_folder(cls())) / "status.json").read_text())
    assert status["end"] and status["state"] in (state, "failed") and words in status["reason"] and status["reason"]
    assert "begun" in (Path(job_folder(cls())) / "task.out").read_text()


class Killed(dp.tasks.TaskPickle):
    """Is killed in its first attempts, and goes on where they were."""

    resumable = True
    retry_count = 3
    isolate = False

    def run(self) -> None:
        done = self.job.dir / "done.txt"
        steps = int(done.read_text()) if done.exists() else 0
        for step in range(steps, 6):
            if step in (2, 4) and step == steps + 2:
                os.kill(os.getpid(), signal.SIGKILL)
            done.write_text(str(step + 1))
        self.save((self.job.attempt, steps))


class KilledAlone(Killed):
    isolate = True


@pytest.mark.parametrize("cls", [Killed, KilledAlone])
def test_a_resumable_task_goes_on_where_an_attempt_was_that_was_killed(cls: Any) -> None:
    assert dp.run(cls(), executor="processes", workers=2)
    assert cls().outputLoad() == (3, 4)


def test_a_resumable_task_goes_on_where_a_run_was_that_was_killed(tmp_path: Path) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"import d6tpipe as dp; dp.set_dir({str(dp.settings.dirpath)!r})\n"
        "from test_jobs import Killed; dp.run(Killed(), executor='serial')"
    )
    for steps in (2, 4):
        assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
        assert (Path(job_folder(Killed())) / "done.txt").read_text() == str(steps)
    assert subprocess.run([sys.executable, "-c", script], check=False, capture_output=True).returncode == 0
    assert Killed().outputLoad() == (1, 4)
