"""Plain luigi tasks in d6tflow flows, d6tflow tasks in luigi, and users' own targets and formats."""

import json
from pathlib import Path

import luigi
import pandas as pd
from observe import attempt, files, main, observation, plain, ran, states, taken, taken_any_order

import d6tflow


class RawText(luigi.Task):
    name = luigi.Parameter(default="raw")

    def output(self):
        return luigi.LocalTarget(f"luigi/{self.name}.txt")

    def run(self):
        ran(self)
        with self.output().open("w") as out:
            out.write("1 2 3")


class There(luigi.ExternalTask):
    def output(self):
        return luigi.LocalTarget("there.txt")


class Parsed(d6tflow.tasks.TaskPickle):
    def requires(self):
        return RawText()

    def run(self):
        ran(self)
        with self.input().open() as raw:
            self.save([int(word) for word in raw.read().split()])


@d6tflow.requires(Parsed)
class Totals(luigi.Task):
    """A luigi task that requires one of ours."""

    def output(self):
        return luigi.LocalTarget("luigi/total.txt")

    def run(self):
        ran(self)
        with self.output().open("w") as out:
            out.write(str(sum(self.input().load())))


class NeedsThere(d6tflow.tasks.TaskPickle):
    def requires(self):
        return There()

    def run(self):
        ran(self)
        self.save(Path(self.input().path).read_text())


class Wrapper(luigi.WrapperTask):
    def requires(self):
        return [Parsed(), Totals()]


@observation
def a_luigi_task_upstream():
    d6tflow.run(Parsed())
    seen = {"ran": taken(), "loaded": Parsed().outputLoad(), "files": files("data", "luigi")}
    seen["states"] = states(d6tflow.preview, Parsed())
    d6tflow.run(Parsed())
    seen["second run"] = taken()
    Path("luigi/raw.txt").unlink()
    seen["complete without it"] = Parsed().complete()
    return seen


@observation
def a_luigi_task_downstream():
    d6tflow.run(Totals())
    return {"ran": taken(), "text": Path("luigi/total.txt").read_text(), "complete": Totals().complete()}


@observation
def a_wrapper():
    seen = {"complete": Wrapper().complete()}
    d6tflow.run(Wrapper())
    seen["ran"] = taken()
    seen["complete then"] = Wrapper().complete()
    return seen


@observation
def an_external_luigi_task():
    seen = {"missing": attempt(lambda: d6tflow.run(NeedsThere())), "ran": taken()}
    Path("there.txt").write_text("here now")
    d6tflow.run(NeedsThere())
    seen["there"] = [taken(), NeedsThere().outputLoad()]
    return seen


@observation
def built_by_luigi():
    result = luigi.build([Totals()], local_scheduler=True, log_level="WARNING")
    seen = {"result": bool(result), "ran": taken(), "text": Path("luigi/total.txt").read_text()}
    d6tflow.run(Totals())
    seen["run after"] = taken()
    return seen


# -- events and hooks ----------------------------------------------------------------------------------------

HEARD = []


class Hooked(d6tflow.tasks.TaskPickle):
    works = d6tflow.BoolParameter(default=True)

    def run(self):
        if not self.works:
            raise ValueError("told to fail")
        self.save(1)

    def on_success(self):
        HEARD.append("on_success")
        return "fine"

    def on_failure(self, exception):
        HEARD.append(f"on_failure {type(exception).__name__}")
        return "bad"


@Hooked.event_handler(luigi.Event.SUCCESS)
def heard_success(task):
    HEARD.append(f"success of {type(task).__name__}")


@Hooked.event_handler(luigi.Event.FAILURE)
def heard_failure(task, exception):
    HEARD.append(f"failure of {type(task).__name__}: {exception}")


@observation
def events():
    HEARD.clear()
    d6tflow.run(Hooked())
    seen = {"success": sorted(HEARD)}
    HEARD.clear()
    attempt(lambda: d6tflow.run(Hooked(works=False)))
    seen["failure"] = sorted(HEARD)
    return seen


class Judges(d6tflow.tasks.TaskPickle):
    """Decides by itself whether it is complete."""

    done = False

    def complete(self, cascade=True):
        return Judges.done

    def run(self):
        ran(self)
        Judges.done = True


@observation
def a_task_with_its_own_complete():
    d6tflow.run(Judges())
    d6tflow.run(Judges())
    return {"ran": taken()}


# -- targets and formats of one's own ------------------------------------------------------------------------


class UpperTarget(d6tflow.targets.DataTarget):
    """Reads with a function, writes with a method of the value: the two ways of DataTarget."""

    def load(self, cached=False, **kwargs):
        return super().load(lambda path, **options: Path(path).read_text().upper(), cached, **kwargs)

    def save(self, text, **kwargs):
        return super().save(Text(text), "write", **kwargs)


class Text(str):
    def write(self, path, end=""):
        Path(path).write_text(self + end)


class TaskUpper(d6tflow.tasks.TaskData):
    target_class = UpperTarget
    target_ext = "txt"


class Shout(TaskUpper):
    persist = ["a", "b"]

    def run(self):
        ran(self)
        self.save({"a": "hello", "b": "you"}, end="!")


@d6tflow.requires(Shout)
class Louder(TaskUpper):
    def run(self):
        ran(self)
        self.save(" ".join(self.inputLoad()))


class JsonLinesTarget(d6tflow.targets.DataTarget):
    def load(self, cached=False, **kwargs):
        return super().load(lambda path, **_: [json.loads(line) for line in open(path)], cached, **kwargs)

    def save(self, rows, **kwargs):
        with open(self.path, "w") as out:  # straight to the final name, as users' targets do
            out.writelines(json.dumps(row) + "\n" for row in rows)
        return self.path


class Lines(d6tflow.tasks.TaskData):
    target_class = JsonLinesTarget
    target_ext = "jsonl"

    def run(self):
        self.save([{"a": 1}, {"a": 2}])


@observation
def a_target_of_ones_own():
    d6tflow.run(Louder())
    seen = {
        "ran": taken(),
        "files": files(),
        "loaded": Louder().outputLoad(),
        "pair": Shout().outputLoad(as_dict=True),
    }
    seen["text"] = Path(Louder().output().path).read_text()
    d6tflow.run(Lines())
    seen["lines"] = Lines().outputLoad()
    d6tflow.run([Louder(), Lines()])
    seen["second run"] = taken()
    return seen


class OwnOutput(d6tflow.tasks.TaskCSVPandas):
    """Says itself where its output is."""

    def output(self):
        return d6tflow.targets.CSVPandasTarget("chosen/file.csv")

    def run(self):
        ran(self)
        self.save(pd.DataFrame({"a": [1, 2]}))


@observation
def an_output_of_ones_own():
    d6tflow.run(OwnOutput())
    seen = {"ran": taken(), "complete": OwnOutput().complete(), "loaded": OwnOutput().outputLoad()}
    seen["files"] = files("data", "chosen") if Path("data").exists() else files("chosen")
    return seen


class LuigiOutput(d6tflow.tasks.TaskPickle):
    """A plain luigi target as the output of a d6tflow task."""

    def output(self):
        return luigi.LocalTarget("plain/out.txt")

    def run(self):
        ran(self)
        with self.output().open("w") as out:
            out.write("text")


@observation
def a_luigi_target_as_output():
    d6tflow.run(LuigiOutput())
    d6tflow.run(LuigiOutput())
    return {"ran": taken(), "complete": LuigiOutput().complete(), "files": files("plain")}


class BaseWithRequires(d6tflow.tasks.TaskPickle):
    def run(self):
        ran(self)
        self.save([type(self).__name__, plain(self.inputLoad())])


@observation
def a_class_hierarchy():
    class Child(BaseWithRequires):
        def requires(self):
            return Shout()

    class GrandChild(Child):
        extra = d6tflow.IntParameter(default=1)

    d6tflow.run([Child(), GrandChild(extra=2)])
    return {"ran": taken_any_order(), "loaded": [Child().outputLoad(), GrandChild(extra=2).outputLoad()]}


if __name__ == "__main__":
    main()
