"""Metadata beside the outputs: saved by a body, loaded by a consumer and from outside."""

import pandas as pd
from observe import attempt, files, main, observation, taken

import d6tflow


class Source(d6tflow.tasks.TaskPqPandas):
    n = d6tflow.IntParameter(default=3)

    def run(self):
        self.save(pd.DataFrame({"v": range(self.n)}))
        self.saveMeta({"rows": self.n})


class Other(d6tflow.tasks.TaskCSVPandas):
    persist = ["p", "q"]

    def run(self):
        self.saveMeta("any object")
        self.save({"p": pd.DataFrame({"v": [1]}), "q": pd.DataFrame({"v": [2]})})


class Memory(d6tflow.tasks.TaskCache):
    def run(self):
        self.save(1)
        self.saveMeta(["kept", "on", "disk"])


class Zipped(d6tflow.tasks.TaskCSVGZPandas):
    def run(self):
        self.saveMeta("beside a csv.gz")


class Nameless(d6tflow.tasks.TaskPickle):
    save_attrib = False

    def run(self):
        self.save(1)
        self.saveMeta("without parameters in the name")


class Silent(d6tflow.tasks.TaskPickle):
    def run(self):
        self.save(0)


class Loader(d6tflow.tasks.TaskPickle):
    def run(self):
        meta = self.metaLoad()
        self.save(meta)
        self.saveMeta({"seen": meta})


@d6tflow.requires(Source)
class FromOne(Loader):
    pass


@d6tflow.requires(Source, Other, Memory)
class FromList(Loader):
    pass


@d6tflow.requires({"s": Source, "o": Other})
class FromDict(Loader):
    pass


@d6tflow.requires(Silent)
class FromSilent(Loader):
    pass


class MiddleSilent(d6tflow.tasks.TaskPickle):
    def requires(self):
        return [Silent(), Source(), Other()]

    def run(self):
        self.save(1)
        self.saveMeta("middle")


@observation
def a_consumer_loads_what_the_producers_noted():
    d6tflow.run([FromOne(), FromList(), FromDict()])
    return {
        "one": FromOne().outputLoad(),
        "list": FromList().outputLoad(),
        "dict": FromDict().outputLoad(),
        "outside": FromDict().metaLoad(),
        "files": files(),
    }


@observation
def the_name_of_the_file():
    Zipped().run()  # by hand: the output of this format is observed elsewhere
    d6tflow.run(Nameless())
    return {"files": files(), "loaded": Nameless().outputLoadMeta()}


@observation
def outside_a_run():
    d6tflow.run(FromDict())
    task = FromDict()
    return {
        "own": task.outputLoadMeta(),
        "of a source": Source().outputLoadMeta(),
        "of another source": attempt(Source(n=9).outputLoadMeta),
        "all": task.outputLoadAllMeta(),
        "workflow": d6tflow.Workflow(FromDict).outputLoadMeta(),
    }


@observation
def none_was_saved():
    d6tflow.run(Silent())
    seen = {"own": attempt(Silent().outputLoadMeta), "consumer": attempt(FromSilent().metaLoad)}
    seen["run"] = attempt(lambda: bool(d6tflow.run(FromSilent())))
    return seen


@observation
def before_the_run():
    return {
        "own": attempt(Source().outputLoadMeta),
        "all": attempt(FromDict().outputLoadAllMeta),
        "inputs": attempt(FromDict().metaLoad),
    }


@observation
def some_tasks_without():
    d6tflow.run(MiddleSilent())
    return {"all": MiddleSilent().outputLoadAllMeta()}


@observation
def reset_keeps_the_note():
    d6tflow.run(Source())
    Source().reset(confirm=False)
    return {"files": files(), "load": attempt(Source().outputLoadMeta)}


@observation
def the_attribute_and_the_other_spelling():
    task = Silent()
    seen = {"before": getattr(task, "metadata", "no attribute")}
    d6tflow.run(task)
    task.metaSave({"late": True})
    seen["after"] = task.metadata
    seen["loaded"] = Silent().outputLoadMeta()
    taken()
    return seen


if __name__ == "__main__":
    main()
