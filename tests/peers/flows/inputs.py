"""Loading the inputs: one or several requirements, as list or dictionary, of one or several outputs."""

from observe import attempt, main, observation, plain, ran, taken

import d6tflow


class One(d6tflow.tasks.TaskPickle):
    def run(self):
        self.save("one")


class Uno(d6tflow.tasks.TaskCache):
    def run(self):
        self.save("uno")


class Pair(d6tflow.tasks.TaskPickle):
    persist = ["x", "y"]

    def run(self):
        self.save({"x": "px", "y": "py"})


class Trio(d6tflow.tasks.TaskPickle):
    persist = ["c", "a", "b"]

    def run(self):
        self.save({"a": "ta", "b": "tb", "c": "tc"})


class Reader(d6tflow.tasks.TaskPickle):
    """Calls inputLoad in all the given ways and saves what came back."""

    calls = [{}]

    def run(self):
        ran(self)
        self.save([plain(attempt(self.inputLoad, **call)) for call in self.calls])


EVERY_WAY = [
    {},
    {"as_dict": True},
    {"cached": True},
    {"keys": "x"},
    {"keys": ["y", "x"]},
    {"keys": ["x"], "as_dict": True},
]


@d6tflow.requires(One)
class FromOne(Reader):
    calls = EVERY_WAY


@d6tflow.requires(Pair)
class FromPair(Reader):
    calls = EVERY_WAY


@d6tflow.requires(One, Uno)
class FromList(Reader):
    calls = [{}, {"as_dict": True}, {"cached": True}, {"task": 0}, {"task": 1}]


@d6tflow.requires(One, Pair, Trio)
class FromMixedList(Reader):
    calls = [{}, {"as_dict": True}, {"task": 1}, {"task": 2, "keys": ["a"]}, {"task": 2, "as_dict": True}]


@d6tflow.requires({"first": One, "second": Uno})
class FromDict(Reader):
    calls = [
        {},
        {"as_dict": True},
        {"keys": "first"},
        {"keys": ["second"]},
        {"keys": ["second", "first"]},
        {"task": "second"},
        {"cached": True},
    ]


@d6tflow.requires({"pair": Pair, "trio": Trio, "one": One})
class FromMixedDict(Reader):
    calls = [
        {},
        {"as_dict": True},
        {"keys": "pair"},
        {"keys": ["trio"], "as_dict": True},
        {"task": "trio"},
        {"task": "trio", "as_dict": True},
        {"task": "trio", "keys": "a"},
        {"task": "trio", "keys": ["b", "a"]},
        {"task": "one"},
    ]


class FromMethodList(Reader):
    calls = [{}]

    def requires(self):
        return [One(), Pair()]


class FromMethodDict(Reader):
    calls = [{}, {"as_dict": True}, {"task": "a", "keys": "x"}]

    def requires(self):
        return {"b": One(), "a": Pair()}


class FromDictOfOne(Reader):
    calls = [{}, {"task": "only"}, {"keys": "only"}]

    def requires(self):
        return {"only": One()}


class FromMethodSingle(Reader):
    calls = [{}]

    def requires(self):
        return Pair()


class FromListOfOne(Reader):
    calls = [{}]

    def requires(self):
        return [One()]


class FromNothing(Reader):
    calls = [{}]


class FromTuple(Reader):
    calls = [{}]

    def requires(self):
        return One(), Uno()


class FromGenerator(Reader):
    calls = [{}]

    def requires(self):
        yield One()
        yield Pair()


class FromDictOfLists(Reader):
    calls = [{}]

    def requires(self):
        return {"group": [One(), Uno()]}


@d6tflow.requires(Trio)
class PrefixKeys(Reader):
    calls = [{"keys": "ab"}, {"keys": "zz"}, {"keys": ["zz"]}]


def loaded(task_class):
    d6tflow.run(task_class())
    taken()
    return dict(zip(map(repr, task_class.calls), task_class().outputLoad(), strict=True))


@observation
def from_one_task():
    return loaded(FromOne)


@observation
def from_one_task_with_several_outputs():
    return loaded(FromPair) | {"method": loaded(FromMethodSingle)}


@observation
def from_a_list_of_tasks():
    return loaded(FromList)


@observation
def from_a_list_of_tasks_with_several_outputs():
    return loaded(FromMixedList) | {"method": loaded(FromMethodList)}


@observation
def from_a_dict_of_tasks():
    return loaded(FromDict)


@observation
def from_a_dict_of_tasks_with_several_outputs():
    return loaded(FromMixedDict) | {"method": loaded(FromMethodDict)}


@observation
def from_one_task_in_a_dict_or_list():
    return {"dict": loaded(FromDictOfOne), "list": loaded(FromListOfOne)}


@observation
def from_nothing():
    return loaded(FromNothing)


@observation
def from_a_generator():
    return loaded(FromGenerator)


@observation
def from_a_tuple():
    return loaded(FromTuple)


@observation
def from_a_dict_of_lists():
    return loaded(FromDictOfLists)


@observation
def with_keys_that_do_not_exist():
    return loaded(PrefixKeys)


@observation
def outside_a_run():
    """A notebook looks at the inputs of a task before the task itself has run."""
    d6tflow.run([One(), Uno()])
    task = FromDict()
    return {
        "inputLoad": task.inputLoad(),
        "input": {name: type(target).__name__ for name, target in task.input().items()},
        "loaded": task.input()["first"].load(),
        "pair": attempt(FromPair().inputLoad),
        "complete": task.complete(),
    }


if __name__ == "__main__":
    main()
