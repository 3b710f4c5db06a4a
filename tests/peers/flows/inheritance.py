"""Parameters that travel: requires, inherits, clone, clone_parent(s), clone_parents_dict."""

import luigi
from observe import attempt, flat, main, named, observation, ran, taken_any_order

import d6tflow

# Code that says ``import luigi`` and ``luigi.util.requires`` works because d6tflow imports the submodule.
LUIGI_UTIL_IS_THERE = hasattr(luigi, "util")

from luigi.util import inherits as luigi_inherits  # noqa: E402
from luigi.util import requires as luigi_requires  # noqa: E402


class A(d6tflow.tasks.TaskPickle):
    a = d6tflow.IntParameter(default=1)
    shared = d6tflow.Parameter(default="s")

    def run(self):
        ran(self)
        self.save([type(self).__name__, self.a, self.shared])


class B(d6tflow.tasks.TaskPickle):
    b = d6tflow.BoolParameter(default=False)
    shared = d6tflow.Parameter(default="other")

    def run(self):
        ran(self)
        self.save([type(self).__name__, self.b, self.shared])


class Needs(d6tflow.tasks.TaskPickle):
    must = d6tflow.Parameter()

    def run(self):
        self.save(self.must)


class Collect(d6tflow.tasks.TaskPickle):
    def run(self):
        ran(self)
        self.save(self.inputLoad())


@d6tflow.requires(A)
class RequiresOne(Collect):
    pass


@d6tflow.requires(A, B)
class RequiresList(Collect):
    own = d6tflow.IntParameter(default=7)


@d6tflow.requires({"left": A, "right": B})
class RequiresDict(Collect):
    pass


@d6tflow.requires({"only": A})
class RequiresDictOfOne(Collect):
    pass


@d6tflow.requires(A)
class OwnDefaultWins(Collect):
    a = d6tflow.IntParameter(default=5)


@d6tflow.requires(RequiresOne)
class TwoLevels(Collect):
    pass


@d6tflow.requires(Needs)
class RequiresNeeds(Collect):
    pass


@d6tflow.inherits(A)
class InheritsOne(Collect):
    def requires(self):
        return self.clone_parent()


@d6tflow.inherits(A, B)
class InheritsList(Collect):
    def requires(self):
        return self.clone_parents()


@d6tflow.inherits({"x": A, "y": B})
class InheritsDict(Collect):
    def requires(self):
        return self.clone_parents_dict()


@d6tflow.inherits(A)
class InheritsAndChanges(Collect):
    def requires(self):
        return {"low": self.clone(A, a=0), "high": self.clone(A, a=self.a + 100), "b": self.clone(B)}


@luigi_requires(A)
class LuigiRequires(Collect):
    pass


@luigi_inherits(A, B)
class LuigiInherits(Collect):
    def requires(self):
        return [self.clone(A), self.clone(B)]


@d6tflow.clone_parent
@d6tflow.inherits(A)
class OldDecorator(Collect):
    pass


def facts(task):
    d6tflow.run(task)
    return {
        "parameters": task.to_str_params(),
        "requires": [named(each) for each in flat(task.requires())],
        "kind": type(task.requires()).__name__ if not isinstance(task.requires(), luigi.Task) else "task",
        "loaded": task.outputLoad(),
        "ran": taken_any_order(),
    }


@observation
def requires_one():
    return {
        "default": facts(RequiresOne()),
        "set": facts(RequiresOne(a=2, shared="t")),
        "own default": facts(OwnDefaultWins()),
        "two levels": facts(TwoLevels(a=3)),
    }


@observation
def requires_a_list():
    return {"default": facts(RequiresList()), "set": facts(RequiresList(a=2, b=True, shared="t", own=1))}


@observation
def requires_a_dict():
    return {
        "default": facts(RequiresDict()),
        "set": facts(RequiresDict(a=2, b=True, shared="t")),
        "one": facts(RequiresDictOfOne(a=9)),
        "clone_parents_dict": {name: named(task) for name, task in RequiresDict(a=4).clone_parents_dict().items()},
    }


@observation
def inherits():
    return {
        "one": facts(InheritsOne(a=2)),
        "list": facts(InheritsList(a=2, b=True)),
        "dict": facts(InheritsDict(a=2, b=True)),
        "changed": facts(InheritsAndChanges(a=2)),
        "clone_parent takes more": named(InheritsOne(a=2).clone_parent(a=8)),
        "clone_parents takes more": [named(task) for task in InheritsList().clone_parents(shared="z")],
    }


@observation
def decorators_of_luigi():
    return {
        "requires": facts(LuigiRequires(a=6)),
        "inherits": facts(LuigiInherits(a=6, b=True)),
        "luigi.util": LUIGI_UTIL_IS_THERE,
    }


@observation
def the_old_decorator():
    return {"facts": facts(OldDecorator(a=3))}


@observation
def clone():
    task = RequiresList(a=2, b=True)
    return {
        "itself": task.clone() == task,
        "changed": named(task.clone(a=3)),
        "another class": named(task.clone(A)),
        "another class, changed": named(task.clone(B, shared="q")),
        "a class with more parameters": attempt(task.clone, Needs),
        "what it lacks is given": named(task.clone(Needs, must="m")),
        "same object": task.clone() is task,
    }


@observation
def a_parameter_without_default():
    return {
        "missing": attempt(RequiresNeeds),
        "missing upstream": attempt(Needs),
        "given": facts_of_needs(),
        "positional": [named(A(4)), named(A(4, "p"))],
        "too many": attempt(A, 1, "s", 3),
        "twice": attempt(A, 1, a=2),
    }


def facts_of_needs():
    task = RequiresNeeds(must="x")
    d6tflow.run(task)
    return [task.outputLoad(), task.to_str_params()]


@observation
def a_misspelt_parameter():
    return {
        "constructor": attempt(lambda: named(RequiresList(shraed="t"))),
        "clone": attempt(lambda: named(A().clone(zz=1))),
    }


@observation
def nothing_to_inherit():
    return {
        "inherits": attempt(lambda: d6tflow.inherits()),
        "requires": attempt(lambda: d6tflow.requires()),
    }


if __name__ == "__main__":
    main()
