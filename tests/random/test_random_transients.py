"""Random flows with transient tasks, edits and losses, where records count; checked against plain recursion.

``RANDOM_WORLDS=5000 RANDOM_SEED=7 pytest tests/random`` tries 5000 worlds from seed 7 on.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import Any

import pytest

import d6tpipe

COUNT = int(os.environ.get("RANDOM_WORLDS", "150"))
START = int(os.environ.get("RANDOM_SEED", "0"))

now: World


def value_of(task: Any) -> int:
    """Do what all bodies do: note that one runs, and sum what it needs."""
    return now.compute(task)


def declare(n: int, base: type, transient: Any) -> type:
    """Return a class of its own for one task, so that it can be edited by itself."""

    class Numbered(base):  # type: ignore[misc, valid-type]
        def requires(self):
            return now.tasks(self.task_family)

        def run(self):
            return value_of(self)

    Numbered.__name__ = Numbered.__qualname__ = f"N{n}"
    Numbered.task_namespace = ""
    if transient is not None:
        Numbered.transient = transient
    return type(Numbered)(f"N{n}", (Numbered,), {"__module__": __name__})


def declare_group(n: int) -> type:
    class Group(d6tpipe.tasks.TaskAggregator):
        def run(self):
            yield now.tasks(self.task_family)

    return type(Group)(f"N{n}", (Group,), {"__module__": __name__})


class World:
    """A flow of tasks with a class each, and what is known of how each was built."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        size = dice.randint(3, 10)
        self.kind = [dice.choice(["plain", True, True, "remove", "remove", "memory", "group"]) for _ in range(size)]
        self.kind[0] = dice.choice(["plain", True, "remove"])
        self.needs = [dice.sample(range(n), min(n, dice.randint(1, 3))) for n in range(size)]
        self.salt = [dice.randint(0, 9) for _ in range(size)]
        self.cls: list[Any] = []
        for n, kind in enumerate(self.kind):
            if kind == "group":
                self.cls.append(declare_group(n))
            else:
                base = d6tpipe.tasks.TaskCache if kind == "memory" else d6tpipe.tasks.TaskJson
                self.cls.append(declare(n, base, dice.choice([True, "remove"]) if kind == "memory" else _option(kind)))
                self.cls[n].version = str(self.salt[n])
        self.ran: Counter[int] = Counter()
        self.built: dict[int, tuple[int, ...]] = {}  # salt and what it read, when it was built last
        self.kept: set[int] = set()

    def tasks(self, family: str) -> list[Any]:
        return [self.cls[m]() for m in self.needs[int(family[1:])]]

    def compute(self, task: Any) -> int:
        n = int(task.task_family[1:])
        self.ran[n] += 1
        read = tuple(total(self.cls[m]()) for m in self.needs[n])
        self.built[n] = (self.salt[n], *read)
        return self.salt[n] // 2 + sum(read)

    def scratch(self, n: int) -> int:
        below = sum(self.scratch(m) for m in self.needs[n])
        return below if self.kind[n] == "group" else self.salt[n] // 2 + below

    def as_built(self, n: int) -> bool:
        return self.built.get(n) == (self.salt[n], *[self.scratch(m) for m in self.needs[n]])

    def upstream(self, goals: Any) -> set[int]:
        found, todo = set(), list(goals)
        while todo:
            n = todo.pop()
            found.add(n)
            todo += self.needs[n]
        return found

    def asked_for(self, goals: Any) -> set[int]:
        found, todo = set(), list(goals)
        while todo:
            n = todo.pop()
            found.add(n)
            todo += self.needs[n] if self.kind[n] == "group" else []
        return found

    def loaded_by(self, n: int, nodes: set[int]) -> set[int]:
        """Return the tasks that load task n, also through groups."""
        found, todo = set(), [n]
        while todo:
            below = todo.pop()
            for m in nodes:
                if below in self.needs[m]:
                    (todo if self.kind[m] == "group" else found_in(found)).append(m)
        return found

    def is_there(self, n: int) -> bool:
        return self.kind[n] == "group" or bool(self.cls[n]().output().exists())

    def disturb(self) -> None:
        for n, kind in enumerate(self.kind):
            if kind == "group":
                continue
            if self.dice.random() < 0.3 and self.is_there(n):
                self.cls[n]().reset(confirm=False)
                self.kept.discard(n)
            if self.dice.random() < 0.25:
                self.salt[n] += 1  # which changes what comes out every second time
                self.cls[n].version = str(self.salt[n])


class found_in:
    """A set that is appended to."""

    def __init__(self, found: set[int]) -> None:
        self.append = found.add


def _option(kind: Any) -> Any:
    return None if kind == "plain" else kind


def total(task: Any) -> int:
    found = task.outputLoad()
    return sum(_flat(found))


def _flat(found: Any) -> list[int]:
    return [one for part in found for one in _flat(part)] if isinstance(found, list) else [found]


def check(world: World, goals: list[int]) -> None:
    nodes = world.upstream(goals)
    asked = world.asked_for(goals)
    there = {n for n in nodes if world.is_there(n)}
    known = set(world.built)
    unchanged = {n for n in nodes if world.as_built(n)}
    tasks = [world.cls[n]() for n in goals]
    dry = d6tpipe.run(tasks, dry_run=True, stale="rerun", execution_summary=False)
    pending = {int(task.task_family[1:]) for task, state in dry.states.items() if str(state) == "pending"}
    world.ran.clear()
    d6tpipe.run(tasks, stale="rerun", execution_summary=False, progress=False)
    assert {1} >= set(world.ran.values()), "each body once"
    ran = set(world.ran)
    removable = [n for n in nodes if getattr(world.cls[n], "transient", None) == "remove"]
    world.kept |= {n for n in removable if n in asked}
    for n in ran - asked:
        if n not in there:
            world.kept.discard(n)
    for n in goals:
        assert world.scratch(n) == total(world.cls[n]()), f"value of {n}"
    for n in nodes:
        if world.kind[n] != "group" and world.is_there(n):
            assert world.scratch(n) == total(world.cls[n]()), f"value of {n}"
    for n in ran:
        users = world.loaded_by(n, nodes)
        assert n in pending or (n not in there and users & pending), f"a dry run says nothing of {n}"
        if getattr(world.cls[n], "transient", False) and n not in asked and n in unchanged and n in known:
            assert users & ran, f"nobody needed {n}"
        if n in there and n in unchanged:
            raise AssertionError(f"{n} was there and as recorded")
    for n in removable:
        if n not in asked | world.kept:
            assert not world.is_there(n), f"{n} is left"
        elif n in asked:
            assert world.is_there(n), f"{n} was asked for"
    world.ran.clear()
    result = d6tpipe.run(tasks, stale="rerun", execution_summary=False, progress=False)
    assert not world.ran, "a second run executes nothing"
    assert {"fresh"} == {str(state) for state in result.states.values()}


@pytest.mark.parametrize("seed", range(START, START + COUNT))
def test_what_runs_is_needed_and_what_comes_out_is_right(seed):
    global now
    print(f"seed {seed}: RANDOM_WORLDS=1 RANDOM_SEED={seed} repeats this world")
    dice = random.Random(seed)
    now = world = World(dice)
    for n, kind in enumerate(world.kind):
        print(f"{n} {kind} {getattr(world.cls[n], 'transient', '')} needs {world.needs[n]}")
    for turn in range(5):
        goals = dice.sample(range(len(world.kind)), dice.randint(1, 2))
        print(f"turn {turn}: goals {goals}, salt {world.salt}")
        check(world, goals)
        world.disturb()
