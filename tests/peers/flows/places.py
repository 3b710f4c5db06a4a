"""Where outputs are: folders, endings, external tasks, and the settings that change them."""

from pathlib import Path

import pandas as pd
from observe import (
    attempt,
    files,
    folders,
    main,
    named,
    observation,
    plain,
    ran,
    states,
    taken,
    taken_any_order,
)

import d6tflow


class Simple(d6tflow.tasks.TaskPickle):
    n = d6tflow.IntParameter(default=1)

    def run(self):
        ran(self)
        self.save(self.n)


class OtherDir(Simple):
    target_dir = "own_folder"


class DeepDir(Simple):
    target_dir = "deep/er"


class OtherExt(Simple):
    target_ext = "model"


class DoubleExt(d6tflow.tasks.TaskPqPandas):
    target_ext = "pq.snappy"

    def run(self):
        self.save(pd.DataFrame({"a": [1]}))


class NoParameters(Simple):
    save_attrib = False


class NoParametersTwo(d6tflow.tasks.TaskPickle):
    save_attrib = False
    persist = ["x", "y"]

    def run(self):
        self.save({"x": 1, "y": 2})


class ClassPath(Simple):
    path = "class_path"


class ClassPathObject(Simple):
    path = Path("class_path_object")


class Together(Simple):
    path = "all"
    target_dir = "of"
    target_ext = "it"
    save_attrib = False


@observation
def class_attributes_choose_the_file():
    tasks = [
        cls(n=2) for cls in (Simple, OtherDir, DeepDir, OtherExt, NoParameters, ClassPath, ClassPathObject, Together)
    ]
    tasks += [DoubleExt(), NoParametersTwo()]
    d6tflow.run(tasks)
    seen = {"files": files(".")}
    seen["loaded"] = {type(task).__name__: task.outputLoad() for task in tasks}
    seen["complete"] = all(task.complete() for task in tasks)
    return seen


@observation
def an_instance_may_set_its_ending():
    task = Simple(n=3)
    task.target_ext = "pq"
    task.target_dir = "later"
    task.run()
    return {"files": files(), "complete": task.complete(), "loaded": task.outputLoad(), "ran": taken()}


@observation
def the_constructor_takes_a_path():
    task = Simple(n=4, path="given")
    d6tflow.run(task)
    return {
        "files": files("given"),
        "default": files(),
        "path": plain(task.path),
        "loaded": task.outputLoad(),
    }


@observation
def two_instances_with_two_paths():
    one, two = Simple(n=5, path="first"), Simple(n=5, path="second")
    d6tflow.run(one)
    d6tflow.run(two)
    return {"files": files("first", "second"), "ran": len(taken())}


class WithClassPath(Simple):
    path = "class_wins"


@observation
def class_path_against_workflow_path():
    flow = d6tflow.Workflow(WithClassPath, path="flow_path")
    before = plain(flow.outputPath())
    flow.run()
    return {"before": before, "after": flow.outputPath(), "files": files("class_wins", "flow_path")}


@observation
def set_dir():
    seen = {"nothing": plain(d6tflow.set_dir()), "folders": folders()}
    seen["text"] = plain(d6tflow.set_dir("new/folder"))
    seen["folders then"] = folders()
    d6tflow.run(Simple(n=6))
    seen["files"] = files("new")
    seen["settings"] = [
        plain(Path(d6tflow.settings.dir)),
        plain(d6tflow.settings.dirpath),
        d6tflow.settings.isinit,
    ]
    seen["complete"] = Simple(n=6).complete()
    d6tflow.set_dir(Path("third"))
    seen["complete elsewhere"] = Simple(n=6).complete()
    d6tflow.set_dir("new/folder")
    seen["complete again"] = Simple(n=6).complete()
    return seen


@observation
def an_absolute_folder():
    d6tflow.set_dir(str(Path("absolute").resolve()))
    d6tflow.run(Simple(n=7))
    return {"files": files("absolute"), "path": Simple(n=7).output().path}


@observation
def task_group_goes_where():
    class Grouped(Simple):
        task_group = "group1"

    task = Grouped()
    # Asking d6tflow for output() would create the folder at the root of the file system.
    path = task.outputPath() if hasattr(task, "outputPath") else task._getpath("data")
    return {"path": path}


@observation
def without_parameters_in_file_names():
    d6tflow.settings.save_with_param = False
    d6tflow.run(Simple(n=8))
    return {
        "files": files(),
        "complete for other values": Simple(n=9).complete(),
        "loaded": Simple(n=9).outputLoad(),
    }


class Wide(d6tflow.tasks.TaskPickle):
    a = d6tflow.Parameter(default="a" * 80)
    b = d6tflow.Parameter(default="b" * 80)
    c = d6tflow.Parameter(default="c" * 80)
    d = d6tflow.Parameter(default="d" * 80)

    def run(self):
        ran(self)
        self.save("wide")


@observation
def a_file_name_that_would_be_too_long():
    seen = {"run": attempt(lambda: bool(d6tflow.run(Wide()))), "complete": attempt(Wide().complete)}
    seen["longest name"] = max((len(Path(name).name.encode()) <= 255 for name in files()), default=None)
    return seen


# -- external tasks ------------------------------------------------------------------------------------------


class Delivered(d6tflow.tasks.TaskCSVPandas):
    external = True
    target_dir = "in"
    save_attrib = False
    persist = ["delivery"]


@d6tflow.requires(Delivered)
class UsesDelivery(d6tflow.tasks.TaskPickle):
    def run(self):
        ran(self)
        (frame,) = self.inputLoad()
        self.save(int(frame["a"].sum()))


@observation
def an_external_task_that_is_there():
    Path("data/in").mkdir(parents=True)
    Path("data/in/delivery.csv").write_text("a\n1\n2\n")
    seen = {"complete": Delivered().complete(), "states": states(d6tflow.preview, UsesDelivery())}
    d6tflow.run(UsesDelivery())
    seen["ran"] = taken()
    seen["loaded"] = UsesDelivery().outputLoad()
    return seen


@observation
def an_external_task_that_is_missing():
    seen = {"complete": Delivered().complete(), "states": states(d6tflow.preview, UsesDelivery())}
    seen["run"] = attempt(lambda: bool(d6tflow.run(UsesDelivery())))
    seen["ran"] = taken()
    seen["load"] = attempt(Delivered().outputLoad)
    seen["complete then"] = UsesDelivery().complete()
    return seen


class Source(Simple):
    pass


@d6tflow.requires(Source)
class ExternalMiddle(Simple):
    external = True


@observation
def an_external_task_does_not_look_upstream():
    d6tflow.run(Source())
    ExternalMiddle().run()
    taken()
    Source().reset(confirm=False)
    return {
        "complete": ExternalMiddle().complete(),
        "states": states(d6tflow.preview, ExternalMiddle()),
        "upstream": [named(task) for task in d6tflow.taskflow_upstream(ExternalMiddle())],
    }


# -- settings ------------------------------------------------------------------------------------------------


class Up(Simple):
    pass


@d6tflow.requires(Up)
class Down(Simple):
    pass


@observation
def requirements_need_not_be_complete():
    d6tflow.run(Down())
    taken()
    Up().reset(confirm=False)
    seen = {"checked": [Down().complete(), Down().complete(cascade=False)]}
    d6tflow.settings.check_dependencies = False
    seen["not checked"] = Down().complete()
    d6tflow.run(Down())
    seen["ran"] = taken()
    d6tflow.settings.check_dependencies = True
    d6tflow.run(Down())
    seen["ran when checked"] = taken_any_order()
    return seen


@observation
def questions_create_nothing():
    class Asked(Simple):
        pass

    @d6tflow.requires(Asked)
    class Asks(Simple):
        pass

    task = Asks()
    task.complete()
    d6tflow.preview(task)
    attempt(task.outputLoad)
    return {"folders": folders()}


@observation
def the_folder_exists_when_the_body_runs():
    class Writes(d6tflow.tasks.TaskPickle):
        def run(self):
            Path(self.output().path).with_name("extra.txt").write_text("beside")
            self.save(1)

    d6tflow.run(Writes())
    return {"files": files()}


@observation
def defaults_of_the_settings():
    names = (
        "cached",
        "save_with_param",
        "check_dependencies",
        "check_crc",
        "log_level",
        "execution_summary",
        "uri",
    )
    names += ("cloud_fs_prefix", "cloud_fs_enabled", "isinitpipe")
    seen = {name: getattr(d6tflow.settings, name) for name in names}
    seen["dir"] = [d6tflow.settings.dir, d6tflow.settings.dirpath, d6tflow.settings.db]
    return seen


if __name__ == "__main__":
    main()
