"""Pipelines written for luigi, run by luigi and by d6tpipe: the same files, the same bodies, the same events."""

from __future__ import annotations

import gc
import gzip
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import luigi
import luigi.util
import pytest
from luigi.mock import MockFileSystem, MockTarget
from luigi.task_register import Register

import d6tpipe
from d6tpipe.errors import BuildError, CycleError, GraphError, MissingOutputError

EVENTS = (
    luigi.Event.DEPENDENCY_DISCOVERED, luigi.Event.DEPENDENCY_MISSING, luigi.Event.DEPENDENCY_PRESENT,
    luigi.Event.BROKEN_TASK, luigi.Event.START, luigi.Event.FAILURE, luigi.Event.SUCCESS,
    luigi.Event.PROCESSING_TIME,
)  # fmt: skip


@pytest.fixture(autouse=True)
def quiet_luigi() -> Iterator[None]:
    """Keep luigi.build from setting up the logging of the whole test process."""
    config = luigi.configuration.get_config()
    config.set("core", "no_configure_logging", "true")
    yield
    config.remove_option("core", "no_configure_logging")


@dataclass
class Seen:
    """What one run of a pipeline came to."""

    ok: bool = False
    ran: list[Any] = field(default_factory=list)
    events: Counter[Any] = field(default_factory=Counter)
    files: dict[str, bytes] = field(default_factory=dict)
    result: Any = None

    def fired(self, event: str) -> Counter[Any]:
        return Counter({key[1:]: n for key, n in self.events.items() if key[0] == event})


@contextmanager
def fresh_registry() -> Iterator[None]:
    """Let each run define its classes anew: luigi finds a yielded task again by its family name."""
    classes = list(Register._reg)
    Register._reg[:] = [cls for cls in classes if cls.__module__.startswith("luigi") or cls.__module__ == __name__]
    Register.clear_instance_cache()
    try:
        yield
    finally:
        Register._reg[:] = classes
        Register.clear_instance_cache()


@contextmanager
def recorded(seen: Seen) -> Iterator[None]:
    """Count every event of every task."""

    def handler_of(event: str) -> Callable[..., None]:
        def handler(task: Any, *more: Any) -> None:
            details = [str(one) for one in more if isinstance(one, luigi.Task)]
            details += [type(one).__name__ for one in more if isinstance(one, BaseException)]
            seen.events[(event, str(task), *details)] += 1

        return handler

    handlers = {event: luigi.Task.event_handler(event)(handler_of(event)) for event in EVENTS}
    try:
        yield
    finally:
        for event, handler in handlers.items():
            luigi.Task.remove_event_handler(event, handler)


def by_luigi(tasks: list[luigi.Task]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # luigi's own warnings are not the point
        return luigi.build(tasks, local_scheduler=True, workers=1, detailed_summary=True, no_lock=True)


def by_d6tpipe(tasks: list[luigi.Task], **options: Any) -> Any:
    return d6tpipe.run(tasks, abort=False, execution_summary=False, **options)


def watch(runner: Callable[..., Any], pipeline: Callable[[list[Any]], Any], folder: Path, times: int = 1) -> Seen:
    """Run `pipeline` in an empty folder; what is seen is the last of `times` runs."""
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch, fresh_registry():
        patch.chdir(folder)
        MockFileSystem().clear()
        for _ in range(times):
            seen = Seen()
            roots = pipeline(seen.ran)
            with recorded(seen):
                seen.result = runner(roots if isinstance(roots, list) else [roots])
            seen.ok = bool(seen.result.scheduling_succeeded) and seen.result.status.name.startswith("SUCCESS")
        for path in sorted(Path().rglob("*")):
            if path.is_file() and ".d6tpipe" not in path.parts:
                content = path.read_bytes()
                seen.files[str(path)] = gzip.decompress(content) if path.suffix == ".gz" else content
        for name in MockFileSystem().listdir(""):
            seen.files[f"memory:{name}"] = MockFileSystem().get_data(name)
    return seen


def same(pipeline: Callable[[list[Any]], Any], tmp_path: Path, times: int = 1, events: bool = True) -> Seen:
    """Demand that luigi and d6tpipe agree on `pipeline`; return what d6tpipe did."""
    theirs = watch(by_luigi, pipeline, tmp_path / "luigi", times)
    ours = watch(by_d6tpipe, pipeline, tmp_path / "d6tpipe", times)
    assert ours.ok == theirs.ok
    assert ours.files == theirs.files
    assert Counter(map(str, ours.ran)) == Counter(map(str, theirs.ran))
    if events:
        assert ours.events == theirs.events
    return ours


class File(luigi.Task):
    """A task with one text file, for the pipelines below."""

    name = luigi.Parameter()

    def output(self):
        return luigi.LocalTarget(f"out/{self.name}.txt")

    def run(self):
        with self.output().open("w") as stream:
            stream.write(str(self.name))


# ---------------------------------------------------------------------------------------- graphs and outputs


def text_files(ran):
    class Source(luigi.Task):
        number = luigi.IntParameter()

        def output(self):
            return luigi.LocalTarget(f"source/{self.number}.txt")

        def run(self):
            ran.append(self)
            with self.output().open("w") as stream:
                stream.write(f"{self.number}\n" * self.number)

    class Packed(luigi.Task):
        def requires(self):
            return [Source(1), Source(2)]

        def output(self):
            return luigi.LocalTarget("packed.txt.gz", format=luigi.format.Gzip)

        def run(self):
            ran.append(self)
            with self.output().open("w") as stream:
                for target in self.input():
                    with target.open() as source:
                        stream.write(source.read().encode())

    class Counted(luigi.Task):
        def requires(self):
            return {"packed": Packed(), "others": [Source(2), Source(3)]}

        def output(self):
            return {"count": luigi.LocalTarget("count.txt"), "copy": luigi.LocalTarget("copy.txt")}

        def run(self):
            ran.append(self)
            with self.input()["packed"].open() as stream:
                lines = stream.read().decode().splitlines()
            others = [Path(target.path).read_text() for target in self.input()["others"]]
            with self.output()["count"].open("w") as stream:
                stream.write(f"{len(lines)} {others}")
            with self.output()["copy"].temporary_path() as path:
                Path(path).write_text("copied")

    return Counted()


@pytest.mark.parametrize("times", [1, 2])
def test_text_and_gzip_files_of_luigi_tasks_are_the_same(tmp_path, times):
    seen = same(text_files, tmp_path, times)
    assert len(seen.ran) == (5 if times == 1 else 0)
    assert len(seen.files) == 6


def test_only_what_is_missing_runs_again(tmp_path):
    def pipeline(ran):
        class Low(File):
            def run(self):
                ran.append(self)
                super().run()

        class High(File):
            def requires(self):
                return [Low(name="a"), Low(name="b")]

            def run(self):
                ran.append(self)
                super().run()

        Path("out/high.txt").unlink(missing_ok=True)
        Path("out/b.txt").unlink(missing_ok=True)
        return High(name="high")

    seen = same(pipeline, tmp_path, times=2)
    assert [task.name for task in seen.ran] == ["b", "high"]


def test_below_a_complete_luigi_task_nothing_is_looked_at(tmp_path):
    def pipeline(ran):
        class Below(File):
            def complete(self):
                ran.append("asked")
                return False

        class Top(File):
            def requires(self):
                return Below(name="below")

        Path("out").mkdir(exist_ok=True)
        Path("out/top.txt").write_text("there")
        return Top(name="top")

    assert same(pipeline, tmp_path).ran == []


@pytest.mark.parametrize("present", [True, False])
def test_external_tasks(tmp_path, present):
    def pipeline(ran):
        class Data(luigi.ExternalTask):
            def output(self):
                return luigi.LocalTarget("data.txt")

        class Use(File):
            def requires(self):
                return Data()

            def run(self):
                ran.append(self)
                with self.input().open() as source, self.output().open("w") as stream:
                    stream.write(source.read().upper())

        class Other(File):
            def run(self):
                ran.append(self)
                super().run()

        if present:
            Path("data.txt").write_text("data")
        return [Use(name="use"), Other(name="other")]

    theirs = watch(by_luigi, pipeline, tmp_path / "luigi")
    ours = watch(by_d6tpipe, pipeline, tmp_path / "d6tpipe")
    assert ours.files == theirs.files
    assert ours.events == theirs.events
    assert [str(task) for task in ours.ran] == [str(task) for task in theirs.ran]
    if present:
        assert ours.ok
    else:
        assert ours.result.status is theirs.result.status is luigi.LuigiStatusCode.MISSING_EXT
        assert not ours.result


def test_a_missing_external_task_says_which_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    class Data(luigi.ExternalTask):
        def output(self):
            return luigi.LocalTarget("nowhere/data.txt")

    with pytest.raises(BuildError, match=r"nowhere/data\.txt") as caught:
        d6tpipe.run(Data(), execution_summary=False)
    assert isinstance(caught.value.failures[0].error, MissingOutputError)
    assert caught.value.failures[0].task == Data()


def test_a_task_made_external_by_externalize(tmp_path):
    def pipeline(ran):
        class Make(File):
            def run(self):
                ran.append("made")

        outside = luigi.task.externalize(Make)

        class Use(File):
            def requires(self):
                return [outside(name="class"), luigi.task.externalize(Make(name="instance"))]

            def run(self):
                ran.append(self)
                super().run()

        Path("out").mkdir()
        Path("out/class.txt").write_text("1")
        Path("out/instance.txt").write_text("2")
        return Use(name="use")

    seen = same(pipeline, tmp_path)
    assert [str(one) for one in seen.ran] == ["Use(name=use)"]


def test_a_missing_externalized_task_fails_like_an_external_one(tmp_path):
    def pipeline(ran):
        class Make(File):
            def run(self):
                ran.append("made")

        return [luigi.task.externalize(Make(name="instance"))]

    theirs = watch(by_luigi, pipeline, tmp_path / "luigi")
    ours = watch(by_d6tpipe, pipeline, tmp_path / "d6tpipe")
    assert not ours.ran and not theirs.ran
    assert ours.result.status is theirs.result.status is luigi.LuigiStatusCode.MISSING_EXT


def test_wrapper_tasks(tmp_path):
    def pipeline(ran):
        class Part(File):
            def run(self):
                ran.append(self)
                super().run()

        class Some(luigi.WrapperTask):
            number = luigi.IntParameter()

            def requires(self):
                return {"a": Part(name=f"{self.number}"), "b": Part(name="shared")}

        class All(luigi.WrapperTask):
            def requires(self):
                yield Some(1)
                yield Some(2)

        return All()

    seen = same(pipeline, tmp_path)
    assert len(seen.ran) == 3


@pytest.mark.parametrize("times", [1, 2])
def test_a_ladder_of_wrappers_is_walked_once(tmp_path, times):
    asked: Counter[str] = Counter()

    def pipeline(ran):
        class Rung(luigi.WrapperTask):
            level = luigi.IntParameter()
            side = luigi.IntParameter()

            def requires(self):
                asked[self.task_id] += 1
                if self.level == 300:
                    return File(name=f"end{self.side}")
                return [Rung(self.level + 1, 0), Rung(self.level + 1, 1)]

        return Rung(0, 0)

    seen = watch(by_d6tpipe, pipeline, tmp_path / "d6tpipe", times)
    assert seen.ok
    assert len(asked) == 601
    # A body that has run is asked whether it is complete now; a wrapper answers by asking what it requires.
    assert max(asked.values()) <= 2 * times, asked.most_common(3)


def test_a_deep_chain_needs_no_deep_stack(tmp_path):
    def pipeline(ran):
        class Link(luigi.Task):
            n = luigi.IntParameter()

            def requires(self):
                return [] if self.n == 0 else Link(self.n - 1)

            def output(self):
                return MockTarget(f"link{self.n}")

            def run(self):
                self.output().open("w").close()

        return Link(3000)

    seen = watch(by_d6tpipe, pipeline, tmp_path / "d6tpipe")
    assert seen.ok and len(seen.files) == 3001


def test_custom_complete_decides(tmp_path):
    def pipeline(ran):
        class Marker(luigi.Task):
            name = luigi.Parameter()

            def complete(self):
                return Path(f"{self.name}.done").exists()

            def run(self):
                ran.append(self)
                Path(f"{self.name}.done").touch()

        class Already(Marker):
            def complete(self):
                return True

        class Top(Marker):
            def requires(self):
                return [Marker("a"), Already("b")]

        return Top("top")

    assert len(same(pipeline, tmp_path).ran) == 2
    assert len(same(pipeline, tmp_path / "again", times=2).ran) == 0 if (tmp_path / "again").mkdir() is None else None


def test_a_task_without_output_runs_each_time(tmp_path):
    def pipeline(ran):
        class Check(luigi.Task):
            def run(self):
                ran.append(self)

        return Check()

    assert len(same(pipeline, tmp_path, times=2).ran) == 1


def test_a_task_without_output_is_no_output_in_the_result(tmp_path):
    class Check(luigi.Task):
        def run(self):
            pass

    result = by_d6tpipe([Check()])
    assert result.ok
    assert [str(state) for state in result.states.values()] == ["no_output"]


def test_who_requires_a_task_that_never_gets_complete_does_not_run(tmp_path):
    def pipeline(ran):
        class Check(luigi.Task):
            def run(self):
                ran.append(self)

        class Use(File):
            def requires(self):
                return Check()

            def run(self):
                ran.append(self)

        return Use(name="use")

    # luigi blames the task above, we blame the one that made nothing
    seen = same(pipeline, tmp_path, events=False)
    assert not seen.ok
    assert [str(task) for task in seen.ran] == ["Check()"]
    assert seen.result.failures[0].task.task_family == "Check"


def test_memory_targets(tmp_path):
    def pipeline(ran):
        class Write(luigi.Task):
            def output(self):
                return MockTarget("written")

            def run(self):
                ran.append(self)
                with self.output().open("w") as stream:
                    stream.write("in memory")

        class Copy(luigi.Task):
            def requires(self):
                return Write()

            def output(self):
                return MockTarget("copied")

            def run(self):
                ran.append(self)
                with self.input().open() as source, self.output().open("w") as stream:
                    stream.write(source.read())

        return Copy()

    seen = same(pipeline, tmp_path)
    assert seen.files["memory:copied"] == b"in memory"


def test_a_write_that_fails_leaves_no_output(tmp_path):
    def pipeline(ran):
        class Whole(File):
            def run(self):
                ran.append(self)
                with self.output().temporary_path() as path:
                    Path(path).write_text("half")
                    raise ValueError("stop")

        return Whole(name="whole")

    seen = watch(by_d6tpipe, pipeline, tmp_path / "d6tpipe")
    assert not seen.ok
    assert "out/whole.txt" not in seen.files


def test_a_failure_stops_only_what_needs_it(tmp_path):
    def pipeline(ran):
        class Step(File):
            def run(self):
                ran.append(self)
                if self.name == "bad":
                    raise RuntimeError("bad step")
                super().run()

        class Use(Step):
            needs = luigi.Parameter()

            def requires(self):
                return Step(name=self.needs)

        class All(luigi.WrapperTask):
            def requires(self):
                return [Use(name="one", needs="bad"), Use(name="two", needs="good")]

        return All()

    seen = same(pipeline, tmp_path)
    assert not seen.ok
    assert sorted(task.name for task in seen.ran) == ["bad", "good", "two"]


def test_what_failed_runs_again_and_nothing_else(tmp_path):
    def pipeline(ran):
        class Step(File):
            def run(self):
                ran.append(self)
                if self.name == "bad" and not Path("mended").exists():
                    Path("mended").touch()
                    raise RuntimeError("bad step")
                super().run()

        return [Step(name="good"), Step(name="bad")]

    seen = same(pipeline, tmp_path, times=2)
    assert seen.ok and [task.name for task in seen.ran] == ["bad"]


def test_a_body_that_exits_fails_and_the_run_goes_on(tmp_path):
    def pipeline(ran):
        class Step(File):
            def run(self):
                ran.append(self)
                if self.name == "bad":
                    raise SystemExit(3)
                super().run()

        return [Step(name="bad"), Step(name="good")]

    seen = same(pipeline, tmp_path)
    assert not seen.ok and "out/good.txt" in seen.files


def test_deps_of_its_own(tmp_path):
    def pipeline(ran):
        class Plain(File):
            def run(self):
                ran.append(self)
                super().run()

        class Odd(Plain):
            def deps(self):
                return [Plain(name="from deps")]

        return Odd(name="odd")

    assert len(same(pipeline, tmp_path).ran) == 2


def test_requires_may_be_a_generator(tmp_path):
    def pipeline(ran):
        class Part(File):
            def run(self):
                ran.append(self)
                super().run()

        class Use(Part):
            def requires(self):
                for number in range(3):
                    yield Part(name=str(number))

            def run(self):
                ran.append(len(list(self.input())))
                super().run()

        return Use(name="use")

    seen = same(pipeline, tmp_path)
    assert len(seen.ran) == 5 and 3 in seen.ran


def test_priority_is_kept(tmp_path):
    def pipeline(ran):
        class Step(File):
            level = luigi.IntParameter()

            @property
            def priority(self):
                return self.level

            def run(self):
                ran.append(self.level)
                super().run()

        return [Step(name=f"s{level}", level=level) for level in (3, 10, 1, 7)]

    theirs = watch(by_luigi, pipeline, tmp_path / "luigi")
    ours = watch(by_d6tpipe, pipeline, tmp_path / "d6tpipe")
    assert ours.ran == theirs.ran == [10, 7, 3, 1]


def test_a_disabled_task_does_not_run_and_what_it_needs_does(tmp_path):
    def pipeline(ran):
        class Step(File):
            def run(self):
                ran.append(self)
                super().run()

        class Off(Step):
            disabled = True

            def requires(self):
                return Step(name="needed")

        class Above(Step):
            def requires(self):
                return Off(name="off")

        return [Above(name="above"), Step(name="other")]

    theirs = watch(by_luigi, pipeline, tmp_path / "luigi")
    ours = watch(by_d6tpipe, pipeline, tmp_path / "d6tpipe")
    assert sorted(map(str, ours.ran)) == sorted(map(str, theirs.ran))
    assert not ours.ok


def test_attributes_for_retries_and_resources_are_accepted(tmp_path):
    def pipeline(ran):
        class Step(File):
            retry_count = 3
            disable_hard_timeout = 10
            disable_window = 5
            resources = {"db": 1}
            worker_timeout = None
            owner_email = "nobody@example.com"
            accepts_messages = True

            def run(self):
                ran.append(self)
                super().run()

        return Step(name="step")

    assert same(pipeline, tmp_path).ok


def test_status_calls_exist_while_a_body_runs(tmp_path):
    def pipeline(ran):
        class Step(File):
            resources = {"db": 1}
            accepts_messages = True

            def run(self):
                self.set_status_message("half way")
                self.set_progress_percentage(50)
                self.set_tracking_url("http://localhost/step")
                self.decrease_running_resources({"db": 1})
                if self.scheduler_messages is not None and not self.scheduler_messages.empty():
                    self.scheduler_messages.get()
                ran.append(self)
                super().run()

        return Step(name="step")

    assert same(pipeline, tmp_path).ok


def test_status_calls_are_gone_after_the_run(tmp_path):
    def pipeline(ran):
        class Step(File):
            pass

        ran.append(Step(name="step"))
        return ran[0]

    (task,) = watch(by_d6tpipe, pipeline, tmp_path / "d6tpipe").ran
    assert task.set_status_message is None
    assert task.set_progress_percentage is None
    assert task.set_tracking_url is None


def test_namespaces(tmp_path):
    def pipeline(ran):
        luigi.namespace("outer")
        try:

            class Inner(File):
                def run(self):
                    ran.append(self.task_id)
                    super().run()

        finally:
            luigi.namespace()

        class Named(Inner):
            task_namespace = "other"

            def requires(self):
                return Inner(name="inner")

        return Named(name="named")

    seen = same(pipeline, tmp_path)
    assert [task_id.split("_")[0] for task_id in seen.ran] == ["outer.Inner", "other.Named"]


def test_two_luigi_classes_of_one_family_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(text):
        class Twin(luigi.Task):
            def output(self):
                return luigi.LocalTarget(text)

            def run(self):
                raise AssertionError("nothing must run")

        return Twin()

    with fresh_registry(), pytest.raises(GraphError, match="Twin"):
        d6tpipe.run([make("a"), make("b")])


def test_a_circle_of_luigi_tasks_is_named(tmp_path):
    class Round(luigi.Task):
        n = luigi.IntParameter()

        def requires(self):
            return Round((self.n + 1) % 3)

    with pytest.raises(CycleError, match=r"Round\(n=1\)"):
        d6tpipe.run(Round(0))


def test_values_from_a_luigi_configuration(tmp_path):
    config = luigi.configuration.get_config()

    def pipeline(ran):
        class FromConfig(luigi.Task):
            number = luigi.IntParameter()
            word = luigi.Parameter(default="default")

            def output(self):
                return luigi.LocalTarget(f"{self.word}.txt")

            def run(self):
                ran.append(self)
                with self.output().open("w") as stream:
                    stream.write(str(self.number + 1))

        return FromConfig()

    config.set("FromConfig", "number", "41")
    config.set("FromConfig", "word", "configured")
    try:
        seen = same(pipeline, tmp_path)
    finally:
        config.remove_section("FromConfig")
    assert seen.files == {"configured.txt": b"42"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_luigi_util_decorators(tmp_path):
    def pipeline(ran):
        class Base(luigi.Task):
            day = luigi.IntParameter(default=3)
            word = luigi.Parameter(default="w")

            def output(self):
                return luigi.LocalTarget(f"{type(self).__name__}-{self.day}-{self.word}.txt")

            def run(self):
                ran.append(self)
                with self.output().open("w") as stream:
                    stream.write(str(self))

        @luigi.util.inherits(Base)
        class Inherits(Base):
            def requires(self):
                return self.clone_parent()

        @luigi.util.requires(Base)
        class Requires(luigi.Task):
            extra = luigi.Parameter(default="e")

            def output(self):
                return luigi.LocalTarget(f"requires-{self.day}-{self.extra}.txt")

            def run(self):
                ran.append(self)
                with self.input().open() as source, self.output().open("w") as stream:
                    stream.write(source.read())

        @luigi.util.requires(named=Requires)
        class Named(luigi.Task):
            def output(self):
                return luigi.LocalTarget("named.txt")

            def run(self):
                ran.append(self)
                with self.input()["named"].open() as source, self.output().open("w") as stream:
                    stream.write(source.read())

        @luigi.util.copies(Requires)
        class Copies(luigi.Task):
            def output(self):
                return luigi.LocalTarget("copied.txt")

        class Sub(Base):
            def helper(self):
                return f"helped with {self.day}"

        @luigi.util.delegates
        class Delegates(luigi.Task):
            def subtasks(self):
                return [Sub(day=8)]

            def output(self):
                return luigi.LocalTarget("delegated.txt")

            def run(self):
                ran.append(self)
                with self.output().open("w") as stream:
                    stream.write(self.subtasks()[0].helper())

        return [Inherits(day=5), Named(day=6), Copies(day=7), Delegates()]

    seen = same(pipeline, tmp_path)
    assert seen.ok
    assert seen.files["delegated.txt"] == b"helped with 8"
    gc.collect()  # luigi's `copies` leaves its input open


def test_parameters_with_a_batch_method_run_one_by_one(tmp_path):
    """luigi may join such tasks into one; without its scheduler every task that was asked for runs."""

    def pipeline(ran):
        class Day(luigi.Task):
            day = luigi.IntParameter(batch_method=max)

            def output(self):
                return luigi.LocalTarget(f"{self.day}.txt")

            def run(self):
                ran.append(self.day)
                self.output().open("w").close()

        return [Day(1), Day(2), Day(3)]

    seen = watch(by_d6tpipe, pipeline, tmp_path / "d6tpipe")
    assert seen.ok and sorted(seen.ran) == [1, 2, 3]


def test_equal_luigi_tasks_are_one_node(tmp_path):
    def pipeline(ran):
        class Part(luigi.Task):
            n = luigi.IntParameter()
            threads = luigi.IntParameter(default=1, significant=False)

            def output(self):
                return luigi.LocalTarget(f"{self.n}.txt")

            def run(self):
                ran.append(self)
                self.output().open("w").close()

        return [Part(n=1, threads=2), Part(n=1, threads=4), Part(n=1)]

    # str() leaves insignificant values out: both sides ran one of the three
    assert len(same(pipeline, tmp_path, events=False).ran) == 1


# ------------------------------------------------------------------------------------------ bulk_complete


def bulk_pipeline(ran, answer):
    class Day(luigi.Task):
        day = luigi.IntParameter()

        @classmethod
        def bulk_complete(cls, values):
            values = list(values)
            ran.append(("bulk", tuple(values)))
            return answer(values)

        def output(self):
            return luigi.LocalTarget(f"{self.day}.txt")

        def complete(self):
            ran.append(("single", self.day))
            return super().complete()

        def run(self):
            ran.append(("run", self.day))
            self.output().open("w").close()

    class Week(luigi.WrapperTask):
        def requires(self):
            return [Day(day) for day in range(7)]

    return Week()


def test_bulk_complete_is_asked_once_and_believed(tmp_path):
    seen = watch(by_d6tpipe, lambda ran: bulk_pipeline(ran, lambda days: [d for d in days if d < 5]), tmp_path / "one")
    assert seen.ran[0] == ("bulk", (0, 1, 2, 3, 4, 5, 6))
    assert [one for one in seen.ran if one[0] == "bulk"] == seen.ran[:1]
    assert [day for kind, day in seen.ran if kind == "run"] == [5, 6]
    assert not [one for one in seen.ran[: seen.ran.index(("run", 5))] if one[0] == "single"]


def test_bulk_complete_may_answer_with_a_generator(tmp_path):
    seen = watch(by_d6tpipe, lambda ran: bulk_pipeline(ran, lambda days: (d for d in days if d < 6)), tmp_path / "one")
    assert [day for kind, day in seen.ran if kind == "run"] == [6]


def test_bulk_complete_is_asked_about_roots_too(tmp_path):
    def pipeline(ran):
        return list(bulk_pipeline(ran, lambda days: days).requires())

    seen = watch(by_d6tpipe, pipeline, tmp_path / "one")
    assert seen.ran == [("bulk", (0, 1, 2, 3, 4, 5, 6))]


@pytest.mark.parametrize(
    "answer",
    [
        lambda days: [str(day) for day in days],  # in another form
        lambda days: [99],
        lambda days: 1 / 0,
        lambda days: None,
        lambda days: NotImplementedError,
    ],
    ids=["texts", "foreign", "raises", "none", "class"],
)
@pytest.mark.filterwarnings("ignore:Day.bulk_complete failed")
def test_a_useless_bulk_answer_falls_back_to_asking_each(tmp_path, answer):
    seen = watch(by_d6tpipe, lambda ran: bulk_pipeline(ran, answer), tmp_path / "one")
    assert seen.ok
    assert sorted(day for kind, day in seen.ran if kind == "run") == list(range(7))


def test_bulk_complete_of_tasks_with_several_parameters(tmp_path):
    def pipeline(ran):
        class Cell(luigi.Task):
            row = luigi.IntParameter()
            column = luigi.Parameter(default="c")

            @classmethod
            def bulk_complete(cls, values):
                ran.append(sorted(values))
                return [value for value in values if value[0] == 1]

            def output(self):
                return luigi.LocalTarget(f"{self.row}{self.column}.txt")

            def run(self):
                ran.append(self)
                self.output().open("w").close()

        return [Cell(row=1), Cell(row=2)]

    seen = watch(by_d6tpipe, pipeline, tmp_path / "one")
    assert seen.ran[0] == [(1, "c"), (2, "c")]
    assert [str(task) for task in seen.ran[1:]] == ["Cell(row=2, column=c)"]


# ------------------------------------------------------------------------------------- yields inside run()


def asking(ran, wishes):
    """Return a pipeline part whose body yields what `wishes` returns, one after the other."""

    class Part(File):
        def run(self):
            ran.append(self)
            super().run()

    class Ask(luigi.Task):
        def output(self):
            return luigi.LocalTarget("asked.txt")

        def run(self):
            got = []
            for wish in wishes(Part):
                targets = yield wish
                got.append(describe(targets))
            ran.append(self)
            with self.output().open("w") as stream:
                stream.write(repr(got))

    return Ask


def describe(targets: Any) -> Any:
    if isinstance(targets, dict):
        return {key: describe(value) for key, value in sorted(targets.items())}
    if isinstance(targets, (list, tuple)):
        return [describe(value) for value in targets]
    return targets.path


WISHES = {
    "single": lambda Part: [Part(name="a"), Part(name="b")],
    "list": lambda Part: [[Part(name="a"), Part(name="b")]],
    "tuple": lambda Part: [(Part(name="a"), Part(name="b"))],
    "dict": lambda Part: [{"x": Part(name="a"), "y": Part(name="b")}],
    "nested": lambda Part: [{"x": [Part(name="a"), {"z": Part(name="b")}]}],
    "empty": lambda Part: [[], Part(name="a")],
    "dynamic": lambda Part: [luigi.DynamicRequirements([Part(name="a"), Part(name="b")])],
    "same twice": lambda Part: [Part(name="a"), Part(name="a"), [Part(name="a"), Part(name="a")]],
    "nothing": lambda Part: [],
}


def starts_once(events: Counter[Any]) -> Counter[Any]:
    """What is left when it does not count that luigi starts a body again after each yield."""
    return Counter(
        {key: 1 if key[0] in (luigi.Event.START, luigi.Event.DEPENDENCY_PRESENT) else n for key, n in events.items()}
    )


@pytest.mark.parametrize("wishes", WISHES.values(), ids=list(WISHES))
def test_yielded_tasks_are_built_and_the_body_resumes_where_luigi_restarts_it(tmp_path, wishes):
    def pipeline(ran):
        return asking(ran, wishes)()

    theirs = watch(by_luigi, pipeline, tmp_path / "luigi")
    ours = watch(by_d6tpipe, pipeline, tmp_path / "d6tpipe")
    assert ours.ok and theirs.ok
    assert ours.files == theirs.files
    assert sorted(map(str, ours.ran)) == sorted(map(str, theirs.ran))
    # luigi checks yielded tasks as if each were asked for alone, so it also reports those that are there already
    assert set(starts_once(ours.events)) == set(starts_once(theirs.events))
    assert ours.fired(luigi.Event.START)["Ask()",] == 1


def test_a_body_that_yields_runs_once_where_luigi_runs_it_once_per_yield(tmp_path):
    def pipeline(ran):
        class Ask(File):
            def run(self):
                ran.append("begin")
                yield File(name="a")
                ran.append("after a")
                yield File(name="b")
                ran.append("after b")
                super().run()

        return Ask(name="ask")

    theirs = watch(by_luigi, pipeline, tmp_path / "luigi")
    ours = watch(by_d6tpipe, pipeline, tmp_path / "d6tpipe")
    assert ours.ran == ["begin", "after a", "after b"]
    assert theirs.ran == ["begin", "begin", "after a", "begin", "after a", "after b"]
    assert ours.files == theirs.files


def test_yielded_tasks_that_are_complete_do_not_run(tmp_path):
    def pipeline(ran):
        Path("out").mkdir(exist_ok=True)
        Path("out/a.txt").write_text("a")
        Path("out/b.txt").write_text("b")
        return asking(ran, WISHES["single"])()

    assert [str(task) for task in same(pipeline, tmp_path, events=False).ran] == ["Ask()"]


def test_yielded_tasks_may_require_and_yield_others(tmp_path):
    def pipeline(ran):
        class Low(File):
            def run(self):
                ran.append(self)
                super().run()

        class Middle(File):
            def requires(self):
                return Low(name=f"low of {self.name}")

            def run(self):
                yield Low(name="shared")
                ran.append(self)
                super().run()

        class Top(File):
            def requires(self):
                return Low(name="static")

            def run(self):
                first = yield [Middle(name="m1"), Middle(name="m2")]
                second = yield Low(name=f"after{len(first)}")
                ran.append(self)
                with self.output().open("w") as stream:
                    stream.write(Path(second.path).read_text())

        return Top(name="top")

    theirs = watch(by_luigi, pipeline, tmp_path / "luigi")
    seen = watch(by_d6tpipe, pipeline, tmp_path / "d6tpipe")
    assert seen.files == theirs.files
    assert len(seen.ran) == 8
    assert seen.files["out/top.txt"] == b"after2"
    told = (luigi.Event.START, luigi.Event.SUCCESS, luigi.Event.DEPENDENCY_DISCOVERED)
    for event in told:
        assert set(seen.fired(event)) == set(theirs.fired(event))


def test_custom_complete_of_dynamic_requirements_is_asked(tmp_path):
    def pipeline(ran):
        class Part(File):
            def run(self):
                ran.append(self)
                super().run()

        class Ask(File):
            def run(self):
                def enough(complete):
                    ran.append("asked")
                    return Path("out/a.txt").exists()

                targets = yield luigi.DynamicRequirements([Part(name="a"), Part(name="b")], custom_complete=enough)
                ran.append(len(list(targets)))
                super().run()

        if Path("out/a.txt").exists():
            Path("out/ask.txt").unlink()
            Path("out/b.txt").unlink()
        return Ask(name="ask")

    theirs = watch(by_luigi, pipeline, tmp_path / "luigi", times=2)
    ours = watch(by_d6tpipe, pipeline, tmp_path / "d6tpipe", times=2)
    assert ours.ok and ours.files == theirs.files
    # the second time "a" is there: nothing runs although "b" is missing
    assert ours.ran == theirs.ran == ["asked", 2]


def test_custom_complete_gets_a_function_that_answers(tmp_path):
    def pipeline(ran):
        class Ask(File):
            def run(self):
                part = File(name="part")
                yield luigi.DynamicRequirements(part, custom_complete=lambda complete: complete(part))
                super().run()

        return Ask(name="ask")

    assert set(same(pipeline, tmp_path, events=False).files) == {"out/part.txt", "out/ask.txt"}


def test_a_yielded_task_that_fails_leaves_the_asking_body_unfinished(tmp_path):
    def pipeline(ran):
        class Bad(File):
            def run(self):
                ran.append(self)
                raise RuntimeError("bad")

        class Ask(File):
            def run(self):
                try:
                    yield [Bad(name="bad"), File(name="good")]
                finally:
                    ran.append("closed")
                ran.append("never")
                super().run()

        return [Ask(name="ask"), File(name="other")]

    theirs = watch(by_luigi, pipeline, tmp_path / "luigi")
    ours = watch(by_d6tpipe, pipeline, tmp_path / "d6tpipe")
    assert not ours.ok and not theirs.ok
    assert ours.files == theirs.files
    assert "never" not in ours.ran and ours.ran.count("closed") == 1
    assert [str(failure.task) for failure in ours.result.failures] == ["Bad(name=bad)"]
    assert {str(task): str(state) for task, state in ours.result.states.items()} == {
        "Ask(name=ask)": "upstream_failed",
        "Bad(name=bad)": "failed",
        "File(name=good)": "built",
        "File(name=other)": "built",
    }


def test_a_body_that_fails_after_a_yield_fails_once(tmp_path):
    def pipeline(ran):
        class Ask(File):
            def on_failure(self, exception):
                ran.append(type(exception).__name__)

            def run(self):
                yield File(name="a")
                raise ValueError("after the yield")

        return Ask(name="ask")

    seen = same(pipeline, tmp_path, events=False)
    assert seen.ran == ["ValueError"]
    assert sum(seen.fired(luigi.Event.FAILURE).values()) == 1


def test_two_bodies_may_ask_for_the_same_task(tmp_path):
    def pipeline(ran):
        class Part(File):
            def run(self):
                ran.append(self)
                super().run()

        class Ask(Part):
            def run(self):
                yield Part(name="shared")
                yield from super().run() or ()

        return [Ask(name="one"), Ask(name="two")]

    seen = same(pipeline, tmp_path, events=False)
    assert sorted(task.name for task in seen.ran) == ["one", "shared", "two"]


def test_yielding_something_else_than_a_task_fails_that_task(tmp_path):
    def pipeline(ran):
        class Ask(File):
            def run(self):
                yield "no task"
                super().run()

        return [Ask(name="ask"), File(name="other")]

    ours = watch(by_d6tpipe, pipeline, tmp_path / "d6tpipe")
    assert not ours.ok and list(ours.files) == ["out/other.txt"]
    assert "no task" in str(ours.result.failures[0].error)


def test_bodies_that_ask_for_each_other_are_a_failure_not_a_hang(tmp_path):
    def pipeline(ran):
        class Ask(File):
            other = luigi.Parameter()

            def run(self):
                yield Ask(name=self.other, other=self.name)
                super().run()

        return Ask(name="a", other="b")

    ours = watch(by_d6tpipe, pipeline, tmp_path / "d6tpipe")
    assert not ours.ok and ours.files == {}


# --------------------------------------------------------------------------------------------------- events


def test_events_of_a_failing_pipeline(tmp_path):
    def pipeline(ran):
        class Data(luigi.ExternalTask):
            def output(self):
                return luigi.LocalTarget("nowhere.txt")

        class Bad(File):
            def run(self):
                raise KeyError("bad")

        class Done(File):
            def complete(self):
                return True

        class Top(File):
            def requires(self):
                return [Bad(name="bad"), Done(name="done"), File(name="good")]

        class NeedsData(File):
            def requires(self):
                return Data()

        return [Top(name="top"), NeedsData(name="needs")]

    seen = same(pipeline, tmp_path)
    assert seen.fired(luigi.Event.FAILURE) == Counter({("Bad(name=bad)", "KeyError"): 1})
    assert seen.fired(luigi.Event.DEPENDENCY_MISSING) == Counter({("Data()",): 1})
    assert seen.fired(luigi.Event.DEPENDENCY_PRESENT) == Counter({("Done(name=done)",): 1})


@pytest.mark.parametrize("times", [1, 2])
def test_events_below_a_complete_wrapper(tmp_path, times):
    def pipeline(ran):
        class Both(luigi.WrapperTask):
            def requires(self):
                return [File(name="a"), File(name="b")]

        class Top(luigi.WrapperTask):
            def requires(self):
                return Both()

        return Top()

    same(pipeline, tmp_path, times)


def test_handlers_of_a_class_fire_once_for_it_and_its_subclasses_only(tmp_path):
    def pipeline(ran):
        class Watched(File):
            pass

        class Sub(Watched):
            def requires(self):
                return [Watched(name="base"), File(name="other")]

        @Watched.event_handler(luigi.Event.SUCCESS)
        def on_base(task):
            ran.append(("base", str(task)))

        @Sub.event_handler(luigi.Event.SUCCESS)
        def on_sub(task):
            ran.append(("sub", str(task)))

        @Watched.event_handler(luigi.Event.PROCESSING_TIME)
        def on_time(task, seconds):
            ran.append(("time", str(task), isinstance(seconds, float) and seconds >= 0))

        return Sub(name="sub")

    seen = same(pipeline, tmp_path)
    assert Counter(seen.ran) == Counter(
        [
            ("base", "Watched(name=base)"),
            ("base", "Sub(name=sub)"),
            ("sub", "Sub(name=sub)"),
            ("time", "Watched(name=base)", True),
            ("time", "Sub(name=sub)", True),
        ]
    )


@pytest.mark.parametrize("event", [luigi.Event.START, luigi.Event.SUCCESS, luigi.Event.DEPENDENCY_DISCOVERED])
def test_a_handler_that_raises_hurts_nobody(tmp_path, event):
    def pipeline(ran):
        class Watched(File):
            def requires(self):
                return File(name="base")

        @Watched.event_handler(event)
        def broken(task, *more):
            ran.append(event)
            raise RuntimeError("in the handler")

        return Watched(name="top")

    seen = same(pipeline, tmp_path)
    assert seen.ok and seen.ran == [event]


def test_an_event_of_ones_own(tmp_path):
    def pipeline(ran):
        class Step(File):
            def run(self):
                self.trigger_event("event.own", self, 42)
                super().run()

        @Step.event_handler("event.own")
        def note(task, number):
            ran.append((str(task), number))

        return Step(name="step")

    assert same(pipeline, tmp_path).ran == [("Step(name=step)", 42)]


def test_on_success_and_on_failure_are_called_where_luigi_calls_them(tmp_path):
    def pipeline(ran):
        class Step(File):
            bad = luigi.BoolParameter()

            def run(self):
                ran.append(("run", self.name))
                if self.bad:
                    raise ValueError(self.name)
                super().run()

            def on_success(self):
                ran.append(("on_success", self.name, self.output().exists()))
                return "some text"

            def on_failure(self, exception):
                ran.append(("on_failure", self.name, repr(exception)))
                return "more text"

        class Outside(luigi.ExternalTask):
            def output(self):
                return luigi.LocalTarget("nowhere")

            def on_failure(self, exception):
                ran.append("external failed")

        return [Step(name="good"), Step(name="bad", bad=True), Outside()]

    seen = same(pipeline, tmp_path)
    assert "external failed" not in seen.ran


def test_on_success_that_raises_fails_the_task(tmp_path):
    def pipeline(ran):
        class Step(File):
            def on_success(self):
                raise RuntimeError("in on_success")

            def on_failure(self, exception):
                ran.append(repr(exception))

        class Above(File):
            def requires(self):
                return Step(name="step")

            def run(self):
                ran.append(self)
                super().run()

        return Above(name="above")

    # luigi has told PROCESSING_TIME before it calls on_success; we tell it of tasks that succeed
    seen = same(pipeline, tmp_path, events=False)
    assert not seen.ok and seen.ran == ["RuntimeError('in on_success')"]
    assert seen.fired(luigi.Event.FAILURE) == Counter({("Step(name=step)", "RuntimeError"): 1})
    assert not seen.fired(luigi.Event.SUCCESS)


def test_on_failure_that_raises_does_not_end_the_run_as_in_luigi(tmp_path):
    def pipeline(ran):
        class Step(File):
            def run(self):
                raise ValueError("body")

            def on_failure(self, exception):
                raise RuntimeError("in on_failure")

        return [Step(name="step"), File(name="other")]

    with pytest.warns(UserWarning, match=r"on_failure of Step.*in on_failure"):
        seen = watch(by_d6tpipe, pipeline, tmp_path / "d6tpipe")
    assert not seen.ok and list(seen.files) == ["out/other.txt"]
    assert isinstance(seen.result.failures[0].error, ValueError)


def test_an_interrupt_ends_the_run_and_keeps_what_was_built(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = []

    class Step(File):
        def run(self):
            ran.append(self.name)
            if self.name == "b":
                raise KeyboardInterrupt
            super().run()

    with pytest.raises(KeyboardInterrupt):
        by_d6tpipe([Step(name="a"), Step(name="b"), Step(name="c")])
    assert ran == ["a", "b"]
    assert Path("out/a.txt").exists()


# --------------------------------------------------------------------------------- mistakes in declarations


def test_requires_that_raises_names_the_task_and_runs_nothing(tmp_path):
    """luigi goes on with the other tasks; we refuse a graph that cannot be known."""

    class Broken(File):
        def requires(self):
            raise ZeroDivisionError("in requires")

    class Never(File):
        def run(self):
            raise AssertionError

    with pytest.raises(GraphError, match=r"Broken(.|\n)*ZeroDivisionError: in requires"):
        d6tpipe.run([Never(name="never"), Broken(name="broken")])


def test_complete_that_raises_names_the_task_and_runs_nothing(tmp_path):
    class Broken(File):
        def complete(self):
            raise ZeroDivisionError("in complete")

    with pytest.raises(GraphError, match=r"Broken(.|\n)*ZeroDivisionError: in complete"):
        d6tpipe.run(Broken(name="broken"))


@pytest.mark.parametrize(
    "wrong", [luigi.LocalTarget("x"), File, "text", 3, ["text"]], ids=["target", "class", "text", "number", "list"]
)
def test_requires_that_returns_no_task_says_so(wrong):
    class Odd(luigi.Task):
        def requires(self):
            return wrong

    with pytest.raises(GraphError, match="not a task"):
        d6tpipe.run(Odd())


def test_none_among_requirements_means_nothing(tmp_path):
    def pipeline(ran):
        class Use(File):
            def requires(self):
                return {"a": None, "b": [File(name="b"), None]}

            def run(self):
                ran.append(self)
                super().run()

        return Use(name="use")

    assert same(pipeline, tmp_path).ok


# ------------------------------------------------------------------------------------------- mixed graphs


def test_d6tpipe_tasks_above_and_below_luigi_tasks(tmp_path):
    def pipeline(ran):
        class Numbers(d6tpipe.tasks.TaskPickle):
            upto = d6tpipe.IntParameter()

            def run(self):
                ran.append(type(self).__name__)
                self.save(list(range(self.upto)))

        class Text(luigi.Task):
            upto = luigi.IntParameter()

            def requires(self):
                return Numbers(upto=self.upto)

            def output(self):
                return luigi.LocalTarget(f"text{self.upto}.txt")

            def run(self):
                ran.append(type(self).__name__)
                with self.output().open("w") as stream:
                    stream.write(",".join(map(str, self.input().load())))

        class Length(d6tpipe.tasks.TaskJson):
            upto = d6tpipe.IntParameter(default=12)

            def requires(self):
                return {"text": Text(upto=self.upto), "numbers": Numbers(upto=self.upto)}

            def run(self):
                ran.append(type(self).__name__)
                with self.input()["text"].open() as stream:
                    text = stream.read()
                self.save({"length": len(text), "numbers": self.inputLoad(task="numbers")})

        d6tpipe.set_dir("data")
        return Length()

    seen = same(pipeline, tmp_path)
    assert seen.ran == ["Numbers", "Text", "Length"]
    assert len(seen.files) == 3


@pytest.mark.parametrize("times", [1, 2])
def test_d6tpipe_requires_on_luigi_tasks_and_luigi_requires_on_d6tpipe_tasks(tmp_path, times):
    def pipeline(ran):
        class Low(luigi.Task):
            number = luigi.IntParameter(default=2)

            def output(self):
                return luigi.LocalTarget(f"low{self.number}.txt")

            def run(self):
                ran.append(self)
                with self.output().open("w") as stream:
                    stream.write("x" * self.number)

        @d6tpipe.requires(Low)
        class Middle(d6tpipe.tasks.TaskPickle):
            factor = d6tpipe.IntParameter(default=3)

            def run(self):
                ran.append(self)
                with self.input().open() as stream:
                    self.save(len(stream.read()) * self.factor)

        @luigi.util.requires(Middle)
        class High(luigi.Task):
            def output(self):
                return luigi.LocalTarget(f"high{self.number}{self.factor}.txt")

            def run(self):
                ran.append(self)
                with self.output().open("w") as stream:
                    stream.write(str(self.input().load()))

        d6tpipe.set_dir("data")
        return High(number=5)

    seen = same(pipeline, tmp_path, times, events=False)
    assert seen.files["high53.txt"] == b"15"
    # luigi asks a complete task nothing more; of ours it is also asked whether what it requires is there
    assert len(seen.ran) == (3 if times == 1 else 0)


def test_a_luigi_body_may_yield_d6tpipe_tasks_and_the_other_way_round(tmp_path):
    def pipeline(ran):
        class Ours(d6tpipe.tasks.TaskPickle):
            n = d6tpipe.IntParameter()

            def run(self):
                target = yield Theirs(self.n + 1)
                with target.open() as stream:
                    self.save([self.n, stream.read()])

        class Theirs(luigi.Task):
            n = luigi.IntParameter()

            def output(self):
                return luigi.LocalTarget(f"theirs{self.n}.txt")

            def run(self):
                got = None
                if self.n < 3:
                    target = yield Ours(n=self.n + 1)
                    got = target.load()
                ran.append(self.n)
                with self.output().open("w") as stream:
                    stream.write(repr(got))

        d6tpipe.set_dir("data")
        return Theirs(1)

    seen = same(pipeline, tmp_path, events=False)
    assert seen.files["theirs1.txt"] == b"[2, 'None']"


def test_a_wrapper_over_both_kinds(tmp_path):
    def pipeline(ran):
        class Ours(d6tpipe.tasks.TaskJson):
            n = d6tpipe.IntParameter()

            def run(self):
                ran.append(self)
                self.save({"n": self.n})

        class Many(d6tpipe.tasks.TaskAggregator):
            def run(self):
                yield Ours(n=1)
                yield [Ours(n=2), File(name="in the aggregator")]

        class All(luigi.WrapperTask):
            def requires(self):
                return [Ours(n=0), Many(), File(name="plain")]

        d6tpipe.set_dir("data")
        return All()

    seen = same(pipeline, tmp_path, events=False)
    assert len(seen.ran) == 3 and len(seen.files) == 5


# --------------------------------------------------------------------------------------- options and results


def test_options_of_luigi_build_are_accepted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = d6tpipe.run(
        File(name="a"),
        execution_summary=False,
        local_scheduler=True,
        detailed_summary=True,
        no_lock=True,
        log_level="ERROR",
        scheduler_host="localhost",
        scheduler_port=8082,
        keep_alive=False,
        wait_interval=1,
        max_reschedules=3,
        parallel_scheduling=False,
        no_configure_logging=True,
        assistant=False,
        take_lock=False,
    )
    assert result.ok and Path("out/a.txt").exists()


def test_a_misspelt_option_is_an_error_with_the_nearest_name():
    with pytest.raises(TypeError, match="local_scheduler"):
        d6tpipe.run(File(name="a"), local_shceduler=True)


def test_every_keyword_of_luigi_core_configuration_is_accepted(tmp_path, monkeypatch):
    """luigi.build takes any option of its configuration class `core`, with underscores."""
    from luigi.interface import core

    monkeypatch.chdir(tmp_path)
    names = {name: None for name, _ in core.get_params() if name not in ("help", "help_all", "workers")}
    assert d6tpipe.run(File(name="a"), execution_summary=False, **names).ok


def test_the_result_has_what_luigi_users_ask_a_result_for(tmp_path):
    def pipeline(ran):
        class Bad(File):
            def run(self):
                raise ValueError("bad")

        return [File(name="good"), Bad(name="bad")]

    seen = watch(by_d6tpipe, pipeline, tmp_path / "bad")
    result = seen.result
    assert result.status is luigi.LuigiStatusCode.FAILED
    assert result.scheduling_succeeded is False or result.scheduling_succeeded is True
    assert "1 failed" in result.summary_text and "Bad" in result.summary_text
    assert not result

    good = watch(by_d6tpipe, lambda ran: File(name="good"), tmp_path / "good").result
    assert good.status is luigi.LuigiStatusCode.SUCCESS
    assert good.scheduling_succeeded is True
    assert good


def test_a_failure_raises_an_error_with_the_users_traceback(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    class Bad(File):
        def run(self):
            return self.helper()

        def helper(self):
            raise ValueError("deep inside")

    with pytest.raises(BuildError, match="deep inside") as caught:
        d6tpipe.run([Bad(name="bad"), File(name="good")], execution_summary=False)
    (failure,) = caught.value.failures
    assert isinstance(failure.error, ValueError)
    assert "in helper" in failure.traceback and "d6tpipe/bodies.py" not in failure.traceback
    assert Path("out/good.txt").exists()


def test_the_summary_is_printed_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    d6tpipe.run(File(name="a"), execution_summary=True)
    assert capsys.readouterr().out.count("built") == 1


def test_a_preview_of_luigi_tasks_builds_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with fresh_registry():
        d6tpipe.preview(text_files([]))
    assert list(tmp_path.iterdir()) == []
    assert "Counted" in capsys.readouterr().out


def test_taskflow_upstream_of_luigi_tasks():
    with fresh_registry():
        found = d6tpipe.taskflow_upstream(text_files([]))
    assert [type(task).__name__ for task in found] == ["Counted", "Packed", "Source", "Source", "Source"]


def test_forced_luigi_tasks_run_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = []
    with fresh_registry():
        root = text_files(ran)
        by_d6tpipe([root])
        ran.clear()
        by_d6tpipe([root], forced_all=True)
        assert [type(task).__name__ for task in ran] == ["Counted"]
        ran.clear()
        by_d6tpipe([root], forced_all_upstream=True)
        assert len(ran) == 5


def test_luigi_is_left_as_it_was():
    code = (
        "import luigi, luigi.task, luigi.parameter\n"
        "def facts():\n"
        "    return {m.__name__ + '.' + n: id(v) for m in (luigi, luigi.task, luigi.parameter)"
        " for n, v in vars(m).items() if not n.startswith('__') and type(v) is not type(luigi)} | "
        "{f'{c.__name__}.{n}': id(v) for c in (luigi.Task, luigi.Parameter, luigi.LocalTarget, luigi.WrapperTask)"
        " for n, v in vars(c).items() if not n.startswith('_')}\n"
        "before = facts()\n"
        "import d6tpipe\n"
        "class T(d6tpipe.tasks.TaskCache):\n"
        "    def run(self): self.save(1)\n"
        "d6tpipe.settings.set_parameter_len(3, 5)\n"
        "d6tpipe.run(T(), execution_summary=False)\n"
        "assert facts() == before\n"
    )
    import subprocess
    import sys

    root = str(Path(d6tpipe.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": root}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
