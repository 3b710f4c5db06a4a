"""The text of preview: header, branches, parameters, states; and its options."""

from observe import main, observation, printed, tree

import d6tflow


class A(d6tflow.tasks.TaskPickle):
    p = d6tflow.IntParameter(default=1)
    q = d6tflow.BoolParameter(default=False)
    hidden = d6tflow.Parameter(default="h", significant=False)

    def run(self):
        self.save(1)


class B(d6tflow.tasks.TaskPickle):
    p = d6tflow.IntParameter(default=1)

    def run(self):
        self.save(1)


class Plain(d6tflow.tasks.TaskPickle):
    def requires(self):
        return [A(), B(p=5)]

    def run(self):
        self.save(1)


class Top(d6tflow.tasks.TaskPickle):
    when = d6tflow.DateParameter(default=__import__("datetime").date(2020, 1, 2))
    names = d6tflow.ListParameter(default=["x", "y"])

    def requires(self):
        return {"plain": Plain(), "last": B(p=7)}

    def run(self):
        self.save(1)


@observation
def a_single_task():
    text = printed(d6tflow.preview, A())
    return {
        "tree": tree(d6tflow.preview, A()),
        "first and last line": [line for line in text.splitlines() if "=====" in line],
        "begins": text.startswith("\n ===== Luigi Execution Preview ===== \n"),
        "result": d6tflow.preview(A()),
    }


@observation
def branches_and_states():
    seen = {"pending": [[branch, name, state] for branch, name, _, state in tree(d6tflow.preview, Top())]}
    d6tflow.run(Plain())
    seen["partly"] = [[branch, name, state] for branch, name, _, state in tree(d6tflow.preview, Top())]
    d6tflow.run(Top())
    seen["complete"] = [[branch, name, state] for branch, name, _, state in tree(d6tflow.preview, Top())]
    return seen


@observation
def parameters_of_the_root():
    return {"params": tree(d6tflow.preview, Top())[0][2], "none": tree(d6tflow.preview, Plain())[0][2]}


@observation
def parameters_below_the_root():
    return {"params": [line[2] for line in tree(d6tflow.preview, Top())[1:]]}


@observation
def without_parameters():
    return {"params": [line[2] for line in tree(d6tflow.preview, Top(), show_params=False)]}


@observation
def clipped_parameters_of_the_root():
    return {
        "two": tree(d6tflow.preview, Top(), clip_params=True)[0][2],
        "one": tree(d6tflow.preview, B(), clip_params=True)[0][2],
        "none": tree(d6tflow.preview, Plain(), clip_params=True)[0][2],
    }


@observation
def clipped_parameters_below_the_root():
    return {"params": [line[2] for line in tree(d6tflow.preview, Top(), clip_params=True)[1:]]}


@observation
def a_list_of_tasks():
    text = printed(d6tflow.preview, [A(), B()])
    return {"tree": tree(d6tflow.preview, [A(), B()]), "headers": text.count("=====")}


@observation
def the_other_name():
    return {"same": printed(d6tflow.show, Top()) == printed(d6tflow.preview, Top())}


@observation
def an_indent():
    return {"branch": [line[0] for line in tree(d6tflow.preview, Plain(), indent="   ", last=False)]}


@observation
def of_a_workflow():
    flow = d6tflow.Workflow(Plain, {"p": 9})
    return {
        "default": [line[1] for line in tree(flow.preview)],
        "class": [line[1] for line in tree(flow.preview, Top)],
        "list": [line[1:] for line in tree(flow.preview, [A, B])],
        "without parameters": tree(flow.preview, A, show_params=False)[0][2],
    }


@observation
def a_shared_task_is_shown_at_every_place():
    class Twice(d6tflow.tasks.TaskPickle):
        def requires(self):
            return [Plain(), Top()]

    return {"names": [line[1] for line in tree(d6tflow.preview, Twice())]}


if __name__ == "__main__":
    main()
