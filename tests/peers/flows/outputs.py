"""Several outputs of one task, and every way to load them."""

import pandas as pd
from observe import attempt, files, main, observation, plain, ran, taken

import d6tflow


class Split(d6tflow.tasks.TaskPqPandas):
    persist = ["x", "y"]

    def run(self):
        ran(self)
        self.save({"y": pd.DataFrame({"v": [2]}), "x": pd.DataFrame({"v": [1]})})


class Numbers(d6tflow.tasks.TaskPickle):
    persists = ["b", "a", "c"]  # the other spelling

    def run(self):
        ran(self)
        self.save({"a": 1, "b": 2, "c": 3})


class NamedOne(d6tflow.tasks.TaskPickle):
    persist = ["only"]

    def run(self):
        self.save({"only": "one"})


class Default(d6tflow.tasks.TaskPickle):
    def run(self):
        self.save([1, 2, 3])


class PrefixNames(d6tflow.tasks.TaskPickle):
    persist = ["a", "ab"]

    def run(self):
        self.save({"a": "short", "ab": "long"})


class InMemory(d6tflow.tasks.TaskCache):
    persist = ["left", "right"]

    def run(self):
        self.save({"left": "l", "right": "r"})


class NeverRun(InMemory):
    pass


class MissingKey(d6tflow.tasks.TaskPickle):
    persist = ["x", "y"]

    def run(self):
        self.save({"x": 1})


class ExtraKey(d6tflow.tasks.TaskPickle):
    persist = ["x", "y"]

    def run(self):
        self.save({"x": 1, "y": 2, "z": 3})


class NotADict(d6tflow.tasks.TaskPickle):
    persist = ["x", "y"]

    def run(self):
        self.save([1, 2])


@observation
def names_become_files():
    d6tflow.run([Split(), Numbers(), NamedOne(), Default()])
    return {
        "files": files(),
        "bodies": taken(),
        "persist": [Split().persist, Numbers().persist, NamedOne().persist, Default().persist],
        "output": {key: target.path for key, target in Numbers().output().items()},
        "output of one named": {key: target.path for key, target in NamedOne().output().items()},
        "output of one": Default().output().path,
    }


@observation
def load_what_was_saved():
    d6tflow.run([Split(), Numbers(), NamedOne(), Default(), InMemory()])
    return {
        "list": Numbers().outputLoad(),
        "as_dict": Numbers().outputLoad(as_dict=True),
        "one key": Numbers().outputLoad(keys="a"),
        "list of one key": Numbers().outputLoad(keys=["a"]),
        "keys in another order": Numbers().outputLoad(keys=["c", "a", "b"]),
        "keys as dict": Numbers().outputLoad(keys=["c", "a"], as_dict=True),
        "no keys": Numbers().outputLoad(keys=[]),
        "frames": Split().outputLoad(),
        "frame by key": Split().outputLoad(keys="y"),
        "one named": NamedOne().outputLoad(),
        "one named as dict": NamedOne().outputLoad(as_dict=True),
        "one named by key": NamedOne().outputLoad(keys="only"),
        "single": Default().outputLoad(),
        "single as dict": Default().outputLoad(as_dict=True),
        "single by key": Default().outputLoad(keys="data"),
        "single by list": Default().outputLoad(keys=["data"]),
        "memory": InMemory().outputLoad(),
        "memory as dict": InMemory().outputLoad(as_dict=True),
        "cached": Numbers().outputLoad(cached=True),
    }


@observation
def one_key_as_dict():
    d6tflow.run(Numbers())
    return {"as_dict": attempt(Numbers().outputLoad, keys="a", as_dict=True)}


@observation
def one_key_that_begins_another():
    d6tflow.run(PrefixNames())
    return {"ab": PrefixNames().outputLoad(keys="ab"), "a": PrefixNames().outputLoad(keys="a")}


@observation
def wrong_keys():
    d6tflow.run([Numbers(), Default()])
    return {
        "unknown": attempt(Numbers().outputLoad, keys="zz"),
        "unknown in list": attempt(Numbers().outputLoad, keys=["a", "zz"]),
        "part of a name": attempt(Split().outputLoad, keys=""),
        "single unknown": attempt(Default().outputLoad, keys="dat"),
    }


@observation
def keys_as_tuple():
    d6tflow.run(Numbers())
    return {"tuple": attempt(Numbers().outputLoad, keys=("a", "b"))}


@observation
def load_before_run():
    return {
        "outputLoad": attempt(Numbers().outputLoad),
        "target": attempt(Default().output().load),
        "memory": attempt(NeverRun().output()["left"].load),
    }


@observation
def save_with_wrong_keys():
    seen = {}
    for task in (MissingKey(), ExtraKey(), NotADict()):
        name = type(task).__name__
        seen[name] = {
            "save": attempt(task.run),
            "run": attempt(lambda task=task: bool(d6tflow.run(task))),
            "complete": task.complete(),
        }
    seen["files"] = files()
    return seen


@observation
def one_of_two_outputs_is_lost():
    d6tflow.run(Numbers())
    taken()
    Numbers().output()["a"].invalidate()
    seen = {
        "complete": Numbers().complete(),
        "exists": {k: t.exists() for k, t in Numbers().output().items()},
    }
    seen["load"] = attempt(Numbers().outputLoad)
    d6tflow.run(Numbers())
    seen["bodies"] = taken()
    seen["loaded"] = Numbers().outputLoad()
    seen["reset"] = Numbers().reset(confirm=False)
    seen["files"] = files()
    return seen


@observation
def a_target_by_itself():
    target = d6tflow.targets.PickleTarget("some/folder/file.pkl")
    seen = {"exists": target.exists(), "save": attempt(target.save, {"a": 1})}
    seen["exists after"] = target.exists()
    seen["load"] = attempt(target.load)
    seen["invalidate"] = target.invalidate()
    seen["invalidate again"] = attempt(target.invalidate)
    seen["load after"] = attempt(target.load)
    frame = d6tflow.targets.CSVPandasTarget("some/frame.csv")
    seen["frame saved to"] = frame.save(pd.DataFrame({"a": [1]}))
    seen["frame"] = frame.load()
    memory = d6tflow.targets.CacheTarget("any key")
    seen["memory"] = [memory.exists(), memory.save(5), memory.load(), memory.exists(), memory.invalidate()]
    seen["memory after"] = [memory.exists(), attempt(memory.load)]
    seen["kinds"] = {
        name: plain(getattr(d6tflow.targets, name)("k/f.x").path)
        for name in (
            "JsonTarget",
            "PqPandasTarget",
            "ExcelPandasTarget",
            "CSVGZPandasTarget",
            "PdCacheTarget",
        )
    }
    seen["files"] = files("some")
    return seen


@observation
def a_target_as_text():
    return {"str": attempt(lambda: str(Default().output()))}


@observation
def cached_loads():
    d6tflow.settings.cached = True
    d6tflow.run(Split())
    first = Split().output()["x"].load(cached=True)
    seen = {"same object": first is Split().output()["x"].load(cached=True)}
    d6tflow.settings.cached = False
    seen["same object when switched off"] = first is Split().output()["x"].load(cached=True)
    return seen


if __name__ == "__main__":
    main()
