"""Random flows whose code, inputs, outputs and records are edited; what then has to run is worked out here.

``RANDOM_WORLDS=5000 RANDOM_SEED=7 pytest tests/random/test_random_edits.py`` tries 5000 worlds from seed 7 on; a
failing world is named by its seed, and what was done to it is printed.
"""

from __future__ import annotations

import linecache
import os
import pathlib
import random
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import luigi
import pytest
from luigi.task import flatten
from luigi.task_register import Register

import d6tpipe
from d6tpipe import cache, constructor, definitions, examiner, fingerprint, plugins
from d6tpipe.declared import env
from d6tpipe.examiner import Examiner
from d6tpipe.fingerprint import source
from d6tpipe.graphs import build_graph
from d6tpipe.policy import Policy
from d6tpipe.stores import MEMORY, store_at

COUNT = int(os.environ.get("RANDOM_WORLDS", "300"))
START = int(os.environ.get("RANDOM_SEED", "0"))

MODULE = "flow_of_a_random_world"

now: World  # the world that the bodies below live in

Task = tuple[int, int]  # number of the class, value of its parameter
Need = tuple[int, int | None]  # the same; None: the value that whoever needs it has


# ---- what the generated code calls


def total(targets) -> int:
    """Return the sum of all that some targets hold."""
    found = 0
    for target in flatten(targets):
        if hasattr(target, "load"):
            found += target.load()
        else:
            with target.open() as stream:
                found += int(stream.read())
    return found


def size(structure) -> int:
    """Return how many entries requires() has on top."""
    return 1 if isinstance(structure, luigi.Task) else len(structure)


class Teller:
    """Tells the world what bodies do; an object, so that the world is no part of their code."""

    def __call__(self, what, n, p):
        now.happens(what, (n, p))


# ---- classes as they are written at present

PICKLE, JSON, CACHE, TWO, DYN, PLAIN, WRAP, AGG, GIVEN, OUTSIDE = KINDS = (
    "pickle", "json", "cache", "two", "dyn", "plain", "wrap", "agg", "given", "outside",
)  # fmt: skip
JOINS = (WRAP, AGG)  # no outputs of their own
EXTERNAL = (GIVEN, OUTSIDE)
BASES = {
    PICKLE: "d6tpipe.tasks.TaskPickle", JSON: "d6tpipe.tasks.TaskJson", CACHE: "d6tpipe.tasks.TaskCache",
    TWO: "d6tpipe.tasks.TaskData", DYN: "d6tpipe.tasks.TaskPickle", PLAIN: "luigi.Task", WRAP: "luigi.WrapperTask",
    AGG: "d6tpipe.tasks.TaskAggregator", GIVEN: "d6tpipe.tasks.TaskJson", OUTSIDE: "luigi.ExternalTask",
}  # fmt: skip
OUTPUTS = {  # the names of outputs, as the oracle keeps them
    PICKLE: ("pickle",), JSON: ("json",), CACHE: ("memory",), TWO: ("a", "b"), DYN: ("pickle",), PLAIN: ("text",),
    GIVEN: ("json",), OUTSIDE: ("text",), WRAP: (), AGG: (),
}  # fmt: skip


@dataclass(frozen=True)
class Written:
    """One class, as it is written at present."""

    kind: str
    needs: tuple[Need, ...] = ()
    shape: str = "list"  # of requires(): single, list, dict, nested, twice
    even: tuple[tuple[Need, ...], ...] = ()  # what a dynamic body asks for, one batch after the other, by its input
    odd: tuple[tuple[Need, ...], ...] = ()
    constant: int = 0
    spare: int = 0  # in the code of the helper, but of no effect
    coarse: int = 1  # what the helper divides by: larger numbers hide what changes upstream
    shared: bool = False  # uses what other classes use, too
    raises: bool = False
    version: int = 0
    default: int = 0  # of a parameter with ignore_default
    comment: int = 0
    note: int = 0  # default of an insignificant parameter
    watches: frozenset[str] = frozenset()

    def code(self, shared: int) -> Any:
        """Return what counts as its code."""
        return (
            self.kind, self.even, self.odd, self.constant, self.spare, self.coarse, shared if self.shared else None,
            self.raises,
        )  # fmt: skip

    def source(self, n: int, folder: str) -> list[str]:
        ours = "luigi" if self.kind in (PLAIN, WRAP, OUTSIDE) else "d6tpipe"
        helper = f"shared(x) + V{n}" if self.shared else f"x + V{n}"
        lines = [
            f"V{n} = {self.constant}",
            f"def h{n}(x):",
            f"    # comment {self.comment}",
            f"    return ({helper} + {self.spare} - {self.spare}) // {self.coarse}",
            f"class T{n}({BASES[self.kind]}):",
            f"    '''Comment {self.comment}.'''",
            f"    p = {ours}.IntParameter(default=0)",
        ]
        if ours == "d6tpipe" and self.kind not in JOINS:
            lines.append(f"    d = {ours}.IntParameter(default={self.default}, ignore_default=True)")
        lines.append(f"    note = {ours}.IntParameter(default={self.note}, significant=False)")
        if self.version:
            lines.append(f"    version = {str(self.version)!r}")
        if self.kind == GIVEN:
            lines.append("    external = True")
        if self.watches:
            items = [f"pathlib.Path({folder!r}, 'watched{n}')"] if "file" in self.watches else []
            items += [f"env('WATCHED{n}')"] if "env" in self.watches else []
            lines.append(f"    depends_on = [{', '.join(items)}]")
        if self.kind in (PLAIN, OUTSIDE):
            path = f"f'{folder}/{self.kind}{n}-{{self.p}}.txt'"
            lines += ["    def output(self):", f"        return luigi.LocalTarget({path})"]
        if self.kind == TWO:
            lines.append("    persist = {'a': 'pickle', 'b': 'json'}")
        if self.kind == AGG:
            lines += ["    def run(self):", f"        yield {_structure(self)}"]
            return lines
        if self.kind not in EXTERNAL and (self.needs or self.kind == WRAP):
            lines += ["    def requires(self):", f"        return {_structure(self)}"]
        if self.kind in (*EXTERNAL, WRAP):
            return lines
        lines += [
            "    def run(self):",
            f"        tell('begin', {n}, self.p)",
            "        x = total(self.input()) + 7 * size(self.requires()) + 3 * self.p",
        ]
        if ours == "d6tpipe":
            lines.append("        x += 10 * self.d")
        if "file" in self.watches:
            lines.append(f"        x += int(pathlib.Path({folder!r}, 'watched{n}').read_text())")
        if "env" in self.watches:
            lines.append(f"        x += int(os.environ['WATCHED{n}'])")
        if self.kind == DYN:
            for test, batches in (("if x % 2 == 0", self.even), ("else", self.odd)):
                lines.append(f"        {test}:")
                lines += ["            pass", *[f"            x += total((yield {_list(batch)}))" for batch in batches]]
        if self.raises:
            lines.append("        raise ValueError('as it is written')")
        lines += [f"        y = h{n}(x)", f"        tell('save', {n}, self.p)"]
        if self.kind == TWO:
            lines.append("        self.save({'a': y, 'b': -2 * y})")
        elif self.kind == PLAIN:
            lines += ["        with self.output().open('w') as stream:", "            stream.write(str(y))"]
        else:
            lines.append("        self.save(y)")
        lines.append(f"        tell('end', {n}, self.p)")
        return lines


def _call(need: Need) -> str:
    return f"T{need[0]}(p={'self.p' if need[1] is None else need[1]})"


def _list(needs) -> str:
    return f"[{', '.join(map(_call, needs))}]"


def _structure(written: Written) -> str:
    needs, shape = written.needs, written.shape
    if shape == "single" and len(needs) == 1:
        return _call(needs[0])
    if shape == "dict":
        return f"{{{', '.join(f'{chr(97 + m)!r}: {_call(need)}' for m, need in enumerate(needs))}}}"
    if shape == "nested":
        return f"[{_list(needs[:1])}, {_list(needs[1:])}]"
    if shape == "twice":
        return _list((*needs, *needs[:1]))
    return _list(needs)


_IMPORTS = "import os, pathlib\nimport luigi, d6tpipe\n"


# ---- what the oracle remembers

FINISHED, FAILED, INTERRUPTED = "finished", "failed", "interrupted"


@dataclass
class Record:
    """What is recorded of a task."""

    stage: str
    code: Any = None
    version: int = 0
    default: int = 0
    facts: Any = None
    outline: Any = None
    inputs: list[tuple[Task, Any]] = field(default_factory=list)
    asked: list[tuple[Task, Any]] = field(default_factory=list)
    outputs: Any = None
    digest: Any = None


@dataclass
class Verdict:
    """What is known of a task before anything runs."""

    kinds: set[str]
    complete: bool
    needs: list[Task]
    murky: bool = False  # something directly upstream is missing or lost: whether its data differ is anybody's guess
    kept: bool = True  # what its body asked for last time counts as needed


class World:
    """A random flow, what happens to it, and a simulation of what runs have to do to it.

    The rules, once more and on their own. An output without a record is trusted. A record says: code, version,
    defaults, watched facts, requirements with the content they had, what the body asked for with the content it had,
    and the content of the outputs. A task is

    * in all modes to be built when an output is missing;
    * but in mode "ignore" also when the last attempt failed or was interrupted;
    * in mode "rerun" also when anything recorded is otherwise now;
    * and when something that it needs has to be built ("rerun", or ``check_dependencies``; what bodies asked for last
      time counts as needed, except in "ignore"): then it is looked at again afterwards, and not built if nothing
      recorded is otherwise by then.
    """

    def __init__(self, dice: random.Random, folder: str) -> None:
        self.dice, self.folder = dice, folder
        kinds = dice.sample(KINDS, dice.randint(2, len(KINDS)))
        self.written: list[Written] = []
        for n in range(dice.randint(2, 12)):
            self.written.append(self.invent(n, kinds))
        self.size = len(self.written)
        self.history = [[written] for written in self.written]
        self.shared = 1
        self.watched = {(n, what): dice.randint(0, 9) for n in range(self.size) for what in ("file", "env")}
        self.cascade = dice.random() < 0.75
        self.mode = "rerun"
        self.disk: dict[tuple[Task, str], Any] = {}
        self.bin: dict[Task, int] = {}  # external files that were deleted
        self.records: dict[Task, Record] = {}
        self.broken: dict[Task, str] = {}
        self.kills: dict[Task, str] = {}
        self.trace: list[tuple[str, Task]] = []
        self.ticks = 0
        self.module: Any = None
        self.cells: dict[int, str] = {}
        self.found: dict[Task, dict[str, Any]] = {}  # targets
        self.touched: set[Task] = set()
        self.texts = 0

    # -- inventing and editing classes

    def invent(self, n: int, kinds) -> Written:
        dice = self.dice
        kind = dice.choice(kinds)
        if n == 0 and kind in JOINS:
            kind = PICKLE
        few = 1 if kind in JOINS else 0
        needs = () if kind in EXTERNAL else self.some(n, few, 3)
        watches = [what for what in ("file", "env") if dice.random() < 0.07 and kind not in (*JOINS, *EXTERNAL)]
        return Written(
            kind=kind, needs=needs, shape=self.some_shape(kind),
            even=self.batches(n) if kind == DYN else (), odd=self.batches(n) if kind == DYN else (),
            constant=dice.randint(0, 9), coarse=dice.choice([1, 1, 1, 4]), shared=dice.random() < 0.2,
            watches=frozenset(watches),
        )  # fmt: skip

    def some(self, n: int, least: int, most: int) -> tuple[Need, ...]:
        found = self.dice.sample(range(n), min(n, self.dice.randint(least, most)))
        return tuple((m, self.dice.choice([0, 0, 1, None])) for m in found)

    def some_shape(self, kind: str) -> str:
        return "list" if kind in JOINS else self.dice.choice(["single", "list", "list", "dict", "nested", "twice"])

    def batches(self, n: int) -> tuple[tuple[Need, ...], ...]:
        return tuple(self.some(n, 1, 2) for _ in range(self.dice.randint(0, 2) if n else 0))

    def edit(self, n: int) -> str:
        """Change the text of one class; return what was changed."""
        dice, old = self.dice, self.written[n]
        what = dice.choice([
            "constant", "constant", "spare", "spare", "coarse", "comment", "needs", "needs", "shape", "order",
            "version", "default", "note", "format", "raises", "asks", "undo", "undo", "shared",
        ])  # fmt: skip
        new = old
        if what in ("constant", "spare", "comment", "version", "default", "note"):
            new = replace(old, **{what: getattr(old, what) + dice.randint(1, 3)})
        elif what == "coarse":
            new = replace(old, coarse=5 - old.coarse)
        elif what == "needs" and old.kind not in EXTERNAL:
            new = replace(old, needs=self.some(n, 1 if old.kind in JOINS else 0, 3))
        elif what == "shape":
            new = replace(old, shape=self.some_shape(old.kind))
        elif what == "order":
            new = replace(old, needs=tuple(dice.sample(old.needs, len(old.needs))))
        elif what == "format" and old.kind in (PICKLE, JSON):
            new = replace(old, kind=JSON if old.kind == PICKLE else PICKLE)
        elif what == "raises":
            new = replace(old, raises=not old.raises)
        elif what == "asks" and old.kind == DYN:
            new = replace(old, even=self.batches(n), odd=self.batches(n))
        elif what == "undo":
            new = dice.choice(self.history[n])
        elif what == "shared":
            self.shared += 1
        self.written[n] = new
        self.history[n].append(new)
        return f"{what}: {new}"

    def define(self, fresh: bool = True) -> None:
        """Have Python read the classes as they are written now: a new file, or the changed cells of a notebook."""
        fresh = fresh or self.module is None
        if fresh:
            self.module, self.cells = ModuleType(MODULE), {}
            self.module.__dict__.update(total=total, size=size, env=env, tell=Teller())
            sys.modules[MODULE] = self.module
        cells = {-1: f"{_IMPORTS}SHARED = {self.shared}\ndef shared(x):\n    return x + SHARED\n"}
        cells.update((n, "\n".join([*written.source(n, self.folder), ""])) for n, written in enumerate(self.written))
        changed = [text for n, text in cells.items() if self.cells.get(n) != text]
        self.cells = cells
        self.found = {}
        for text in ["".join(changed)] if fresh else changed:
            self.texts += 1
            name = f"<world {self.texts}>"
            if self.texts % 4 == 0:  # as notebooks do
                linecache.cache[name] = (len(text), None, text.splitlines(True), name)
            exec(compile(text, name, "exec"), self.module.__dict__)

    def task(self, t: Task):
        return getattr(self.module, f"T{t[0]}")(p=t[1])

    def all_tasks(self) -> list[Task]:
        return [(n, p) for n in range(self.size) for p in (0, 1)]

    def of_kind(self, t: Task) -> str:
        return self.written[t[0]].kind

    def resolve(self, t: Task, needs) -> list[Task]:
        return [(m, t[1] if q is None else q) for m, q in needs]

    def reads(self, t: Task) -> list[Task]:
        """Return what a task requires, as often as it is there."""
        written = self.written[t[0]]
        found = [] if written.kind in EXTERNAL else self.resolve(t, written.needs)
        return found + found[:1] if written.shape == "twice" else found

    def needs(self, t: Task) -> list[Task]:
        return list(dict.fromkeys(self.reads(t)))

    def entries(self, t: Task) -> int:
        written = self.written[t[0]]
        return 2 if written.shape == "nested" and written.needs else len(self.reads(t))

    def outline(self, t: Task) -> Any:
        """Return the requirements with their names and structure; one alone is the same as a list of one."""
        written, found = self.written[t[0]], self.reads(t)
        if written.shape == "dict":
            return [(chr(97 + m), need) for m, need in enumerate(found)]
        if written.shape == "nested" and found:
            return [found[:1], found[1:]]
        return found

    def facts(self, t: Task) -> dict[str, int]:
        return {what: self.watched[t[0], what] for what in self.written[t[0]].watches}

    # -- contents

    def present(self, t: Task) -> bool:
        return all((t, name) in self.disk for name in OUTPUTS[self.of_kind(t)])

    def held(self, t: Task) -> Any:
        return [(name, self.disk.get((t, name))) for name in OUTPUTS[self.of_kind(t)]]

    def digest(self, t: Task) -> Any:
        """Return what stands for the data of a task, for those that need it."""
        kind = self.of_kind(t)
        if kind in JOINS:
            parts = self.reads(t) if kind == AGG else self.needs(t)
            return [self.digest(m) for m in parts]
        if self.present(t):
            return (t, self.held(t))
        return self.records[t].digest if t in self.records else None

    def part(self, t: Task) -> int:
        """Return what a task contributes to those who load it."""
        kind = self.of_kind(t)
        if kind == WRAP:
            return 0
        if kind == AGG:
            return sum(self.part(m) for m in self.reads(t))
        return sum(_value(content) for _, content in self.held(t))

    def compute(self, t: Task, part) -> tuple[int, list[Task]]:
        """Return what the body of a task comes to, and what it asks for, given what others contribute."""
        written = self.written[t[0]]
        x = sum(part(m) for m in self.reads(t)) + 7 * self.entries(t) + 3 * t[1]
        x += 10 * written.default if written.kind != PLAIN else 0
        x += sum(self.facts(t).values())
        asked: list[Task] = []
        if written.kind == DYN:
            for batch in written.odd if x % 2 else written.even:
                asked += self.resolve(t, batch)
                x += sum(part(m) for m in self.resolve(t, batch))
        return (x + written.constant + (self.shared if written.shared else 0)) // written.coarse, asked

    def from_scratch(self, t: Task, known: dict[Task, int]) -> int:
        if t not in known:
            kind = self.of_kind(t)
            if kind in EXTERNAL:
                known[t] = self.part(t)
            elif kind in JOINS:
                parts = sum(self.from_scratch(m, known) for m in self.reads(t))
                known[t] = parts if kind == AGG else 0
            else:
                value, _ = self.compute(t, lambda m: self.from_scratch(m, known))
                known[t] = -value if kind == TWO else value
        return known[t]

    # -- judging

    def differences(self, t: Task) -> tuple[set[str], set[Task]]:
        """Return what has changed since a task was built, and what upstream holds something else."""
        record, written = self.records[t], self.written[t[0]]
        found = set()
        if record.code != written.code(self.shared):
            found.add("code")
        if record.version != written.version:
            found.add("version")
        if record.default != written.default and written.kind != PLAIN:
            found.add("default_parameter")
        found |= {what for what, value in self.facts(t).items() if record.facts.get(what) != value}
        others = set()
        if record.outline != self.outline(t):
            found.add("input_set")
        else:
            others = {m for m, digest in record.inputs if digest != self.digest(m)}
        others |= {m for m, digest in record.asked if digest != self.digest(m)}
        if others:
            found.add("input_data")
        if record.outputs != self.held(t):
            found.add("output_modified")
        return found, others

    def judge(self, t: Task, known: dict[Task, Verdict]) -> Verdict:
        if t in known:
            return known[t]
        kind, record, needs = self.of_kind(t), self.records.get(t), self.needs(t)
        for m in needs:
            self.judge(m, known)
        if kind in JOINS:
            murky = any(known[m].murky or self.is_lost(m, known) for m in needs)
            known[t] = Verdict(set(), all(known[m].complete for m in needs), needs, murky)
            return known[t]
        if kind in EXTERNAL:
            known[t] = Verdict(set(), self.present(t), [], murky=not self.present(t))
            return known[t]
        if self.mode == "ignore":
            done = self.present(t)
            below = all(known[m].complete for m in needs) or not self.cascade or kind == PLAIN
            known[t] = Verdict(set(), done and below, needs)
            return known[t]
        recalled = []
        if kind == DYN and record is not None and record.stage == FINISHED:
            recalled = [m for m, _ in record.asked if m not in needs]
            for m in recalled:
                self.judge(m, known)
        kinds: set[str] = set()
        others: set[Task] = set()
        if not self.present(t):
            kinds = {"missing"} | ({record.stage} - {FINISHED} if record is not None else set())
        elif record is None:
            kinds = {"untracked"}
        elif record.stage != FINISHED:
            kinds = {record.stage}
        else:
            kinds, others = self.differences(t)
        lost = bool(kinds & {"missing", "failed", "interrupted"})
        stale = bool(kinds) and not lost and kinds != {"untracked"}
        rerun = self.mode == "rerun"
        done = not lost and not (stale and rerun)
        cascades = rerun if kind == PLAIN else self.cascade or rerun
        if cascades and not all(known[m].complete for m in needs + recalled):
            done = False
        # Does what it has asked for still count? Not if it is sure to run, and may ask for something else.
        waiting = {m for m in others if m in recalled or not known[m].complete}
        kept = done or not (lost or kinds == {"untracked"} or kinds - {"input_data"} or others - waiting)
        murky = any(known[m].murky or self.is_lost(m, known) for m in needs + recalled)
        known[t] = Verdict(kinds, done, needs + (recalled if kept else []), murky, kept or not recalled)
        return known[t]

    def is_lost(self, t: Task, known: dict[Task, Verdict]) -> bool:
        return bool(known[t].kinds & {"missing", "failed", "interrupted"})

    # -- running

    def simulate(self, goals: list[Task], forced: set[Task]) -> Expected:
        """Run the goals by recursion: what ran, and the state of all tasks that a run concerns."""
        known: dict[Task, Verdict] = {}
        for t in goals:
            self.judge(t, known)
        again: set[Task] = set()
        if forced:
            reached, todo = set(), list(goals)
            while todo:
                t = todo.pop()
                if t not in reached:
                    reached.add(t)
                    todo += known[t].needs
            again = forced & reached
            for t in sorted(reached):
                if any(m in again for m in known[t].needs):
                    again.add(t)
            again = {t for t in again if self.of_kind(t) not in EXTERNAL}
        found = Expected(known, set(known))

        def good(t):
            if t not in found.states:
                found.states[t] = settle(t)
            return found.states[t] in ("built", "kept", "cached")

        def all_good(tasks):
            return all([good(m) for m in tasks])  # each of them, also after a failure

        def settle(t):
            verdict = known[t]
            if t not in again and verdict.complete:
                return "kept"
            if self.of_kind(t) in EXTERNAL:
                return "failed"
            if not all_good(verdict.needs):
                return "upstream_failed"
            if self.of_kind(t) in JOINS:
                return "built"
            if t not in again and verdict.kept and self.unchanged(t):
                return "cached"
            found.ran[t] += 1
            return self.run_body(t, lambda batch: ask(batch))

        def ask(batch):
            for m in batch:
                self.judge(m, known)
            return all_good(batch)

        all_good([*goals, *sorted(again)])
        return found

    def unchanged(self, t: Task) -> bool:
        if self.mode == "ignore" or not self.present(t) or t not in self.records:
            return False
        return self.records[t].stage == FINISHED and not self.differences(t)[0]

    def run_body(self, t: Task, ask) -> str:
        """Do to the world what the body of a task does; return the state of the task."""
        written = self.written[t[0]]
        if written.kind == DYN:
            x = sum(self.part(m) for m in self.reads(t)) + 7 * self.entries(t) + 3 * t[1]
            x += 10 * written.default + sum(self.facts(t).values())
            for batch in written.odd if x % 2 else written.even:
                if not ask(self.resolve(t, batch)):
                    self.interrupt(t)
                    return "upstream_failed"
        if written.raises or self.broken.get(t) == "save":
            self.fail(t)
            return "failed"
        self.save(t)
        if self.broken.get(t) == "end":
            self.fail(t)
            return "failed"
        return "built"

    def fail(self, t: Task) -> None:
        self.records[t] = Record(FAILED)

    def interrupt(self, t: Task) -> None:
        before = self.records.get(t)
        self.records[t] = Record(INTERRUPTED, digest=before.digest if before else None)

    def save(self, t: Task) -> None:
        """Put what the body of a task comes to in its outputs, and write the record."""
        written = self.written[t[0]]
        value, asked = self.compute(t, self.part)
        for name in OUTPUTS[written.kind]:
            self.disk[t, name] = -2 * value if name == "b" else value
        self.record(t, asked)

    def record(self, t: Task, asked: list[Task]) -> None:
        written, needs = self.written[t[0]], self.needs(t)
        self.records[t] = Record(
            FINISHED, written.code(self.shared), written.version, written.default, self.facts(t), self.outline(t),
            [(m, self.digest(m)) for m in needs],
            [(m, self.digest(m)) for m in dict.fromkeys(asked) if m not in needs],
            self.held(t), (t, self.held(t)),
        )  # fmt: skip

    # -- what happens while bodies run

    def happens(self, what: str, t: Task) -> None:
        self.trace.append((what, t))
        if self.kills.get(t) == what:
            raise KeyboardInterrupt
        if self.broken.get(t) == what:
            raise ValueError(f"{t} is broken")

    # -- what happens between runs

    def tick(self) -> int:
        self.ticks += 1
        return 1_500_000_000_000_000_000 + self.ticks * 1_000_000_007

    def targets(self, t: Task) -> dict[str, Any]:
        if t not in self.found:
            found, names = self.task(t).output(), OUTPUTS[self.of_kind(t)]
            self.found[t] = found if isinstance(found, dict) else dict.fromkeys(names, found)
        return self.found[t]

    def put(self, t: Task, name: str, value: int) -> None:
        """Write an output by hand."""
        target = self.targets(t)[name]
        if name == "memory":
            cache.data[target.path] = value
            self.disk[t, name] = ("by hand", self.tick(), value)
            return
        if name == "text":
            pathlib.Path(target.path).write_text(str(value))
        else:
            target.save(value)
        self.disk[t, name] = value
        os.utime(target.path, ns=(self.tick(), self.ticks_now()))

    def ticks_now(self) -> int:
        return 1_500_000_000_000_000_000 + self.ticks * 1_000_000_007

    def lose(self, t: Task, name: str) -> None:
        target = self.targets(t)[name]
        if name == "memory":
            del cache.data[target.path]
        else:
            os.unlink(target.path)
        del self.disk[t, name]

    def supply(self) -> None:
        """Make the external files, what is watched, and what the environment holds."""
        for t in self.all_tasks():
            if self.of_kind(t) in EXTERNAL:
                name = OUTPUTS[self.of_kind(t)][0]
                os.makedirs(os.path.dirname(self.targets(t)[name].path), exist_ok=True)
                self.put(t, name, self.dice.randint(0, 20))
        for n, what in self.watched:
            self.watch(n, what, self.watched[n, what])

    def watch(self, n: int, what: str, value: int) -> None:
        self.watched[n, what] = value
        if what == "env":
            os.environ[f"WATCHED{n}"] = str(value)
        else:
            pathlib.Path(self.folder, f"watched{n}").write_text(str(value))

    def disturb(self) -> str:
        """Do one thing to the outputs, the inputs or the records."""
        dice = self.dice
        what = dice.choice([
            "lose", "lose", "modify", "modify", "touch", "forget", "hand", "external", "external", "watch",
            "all records",
        ])  # fmt: skip
        if what == "all records" and dice.random() < 0.7:
            what = "lose"
        ours = [t for t in self.all_tasks() if self.of_kind(t) not in EXTERNAL]
        there = [t for t in ours if any((t, name) in self.disk for name in OUTPUTS[self.of_kind(t)])]
        t: Any = None
        if what in ("lose", "modify", "touch", "hand", "forget") and not there:
            return "nothing"
        if what in ("lose", "modify", "touch"):
            t = dice.choice(there)
            name = dice.choice([name for name in OUTPUTS[self.of_kind(t)] if (t, name) in self.disk])
            if what == "lose":
                self.lose(t, name)
            elif what == "modify":
                self.put(t, name, _value(self.disk[t, name]) + dice.randint(1, 3))
            elif name != "memory":
                os.utime(self.targets(t)[name].path, ns=(self.tick(), self.ticks_now()))
        elif what == "forget":
            t = dice.choice(there)
            root = MEMORY if self.of_kind(t) == CACHE else str(d6tpipe.settings.dirpath)
            store = store_at(root)
            store.records.forget([self.task(t).task_id])
            store.records.close()
            self.records.pop(t, None)
        elif what == "hand":
            able = [t for t in self.all_tasks() if self.of_kind(t) not in (*EXTERNAL, *JOINS, DYN)]
            able = [t for t in able if all(self.loadable(m) for m in self.needs(t)) and not self.written[t[0]].raises]
            if not able:
                return "nothing"
            t = dice.choice(able)
            before = self.records.get(t)
            self.task(t).run()
            self.save(t)
            self.touched.add(t)
            if self.of_kind(t) == PLAIN:  # nobody can know of that
                self.records.pop(t)
                if before is not None:
                    self.records[t] = before
        elif what == "external":
            outside = [t for t in self.all_tasks() if self.of_kind(t) in EXTERNAL]
            if not outside:
                return "nothing"
            t = dice.choice(outside)
            name = OUTPUTS[self.of_kind(t)][0]
            self.touched.add(t)
            if (t, name) not in self.disk:
                what = "restore external"
                self.put(t, name, self.bin.pop(t))
            elif dice.random() < 0.3:
                what = "lose external"
                self.bin[t] = self.disk[t, name]
                self.lose(t, name)
            else:
                self.put(t, name, self.disk[t, name] + dice.choice([0, 1, 2, 10]))
        elif what == "watch":
            t = dice.choice(sorted(self.watched))
            self.watch(t[0], t[1], dice.randint(0, 9))
        else:
            store_at(str(d6tpipe.settings.dirpath)).records.close()  # a body that was run by hand leaves it open
            path = pathlib.Path(d6tpipe.settings.dirpath, ".d6tpipe", "records.db")
            if path.exists():
                if dice.random() < 0.5:
                    path.unlink()
                else:
                    path.write_bytes(path.read_bytes()[: dice.choice([0, 50, 5000])] + b"rubbish")
            self.records = {t: record for t, record in self.records.items() if self.of_kind(t) == CACHE}
        return f"{what} {t}"

    def loadable(self, t: Task) -> bool:
        return all(self.loadable(m) for m in self.needs(t)) if self.of_kind(t) in JOINS else self.present(t)

    def make_definite(self, goals: list[Task]) -> None:
        """Lose outputs whose completeness would depend on when a body asks for them.

        A task that only bodies ask for is judged when they do. If something that it needs was missing and has been
        built by then, it is complete, otherwise it is not: without a record, or where records do not count, both are
        right.
        """
        if DYN not in [written.kind for written in self.written]:
            return
        known: dict[Task, Verdict] = {}
        for t in goals:
            self.judge(t, known)
        early = set(known)
        for t in self.all_tasks():
            if t in early or self.of_kind(t) in (*JOINS, *EXTERNAL) or not self.present(t):
                continue
            verdict = self.judge(t, known)
            if verdict.complete or (self.mode == "rerun" and t in self.records) or self.is_lost(t, known):
                continue
            print(f"  {t} is made definite")
            for name in OUTPUTS[self.of_kind(t)]:
                self.lose(t, name)
            known = {m: known[m] for m in early}

    # -- comparing

    def check_stored(self) -> None:
        for t in self.touched:
            if self.of_kind(t) in JOINS:
                continue
            for name, target in self.targets(t).items():
                assert target.exists() == ((t, name) in self.disk), f"{name} of {t} exists"
                if (t, name) in self.disk:
                    assert total(target) == _value(self.disk[t, name]), f"{name} of {t}"

    def stamps(self) -> dict[tuple[Task, str], Any]:
        found: dict[tuple[Task, str], Any] = {}
        for t in self.touched:
            if self.of_kind(t) not in JOINS:
                for name, target in self.targets(t).items():
                    if name == "memory":
                        found[t, name] = cache.stamp(target.path)
                    elif target.exists():
                        facts = os.stat(target.path)
                        found[t, name] = facts.st_mtime_ns, facts.st_size, facts.st_ino
        return found


@dataclass
class Expected:
    """What a run has to come to."""

    known: dict[Task, Verdict]
    early: set[Task]  # what was judged before anything ran
    states: dict[Task, str] = field(default_factory=dict)
    ran: Counter[Task] = field(default_factory=Counter)


def _value(content: Any) -> int:
    return content[2] if isinstance(content, tuple) else content


def number(task) -> Task:
    return int(type(task).__name__[1:]), task.p


# ---- comparing with d6tpipe


def ask_and_compare(world: World, goals: list[Task]) -> None:
    """Compare what questions say with what the oracle says; they change nothing."""
    known: dict[Task, Verdict] = {}
    for t in goals:
        world.judge(t, known)
    before = world.stamps(), _records_stamp()
    tasks = [world.task(t) for t in goals]
    graph, _, _ = build_graph(tasks, examiner=Examiner(Policy(world.mode)))
    nodes = {number(node.task): node for node in graph.order}
    for t, verdict in known.items():
        node = nodes[t]
        assert node.complete == verdict.complete, f"{t} is complete: {node.complete} for {node.reasons}"
        if world.mode != "ignore" and world.of_kind(t) not in (*JOINS, *EXTERNAL):
            kinds = {str(reason.kind) for reason in node.reasons}
            passed = {"input_data"} if verdict.murky else set()
            assert kinds - passed == verdict.kinds - passed, f"reasons of {t}: {kinds}, not {verdict.kinds}"
    dry = d6tpipe.run(tasks, stale=world.mode, dry_run=True, execution_summary=False, progress=False)
    pending = {number(task) for task, state in dry.states.items() if str(state) == "pending"}
    wanted, todo = set(), list(goals)
    while todo:
        t = todo.pop()
        if t not in wanted and not known[t].complete:
            wanted.add(t)
            todo += known[t].needs
    assert pending == wanted, f"what a dry run would do: {pending}, not {wanted}"
    assert before == (world.stamps(), _records_stamp()), "a question writes nothing"


def _records_stamp() -> Any:
    try:
        facts = os.stat(os.path.join(d6tpipe.settings.dirpath, ".d6tpipe", "records.db"))
    except FileNotFoundError:
        return None
    return facts.st_mtime_ns, facts.st_size, facts.st_ino


def run_and_compare(world: World, goals: list[Task], forced: frozenset[Task] = frozenset(), tasks=None) -> Expected:
    """Run; compare bodies, states and contents with what the oracle says, and let it go on from there."""
    print(f"  run {goals} {world.mode}, forced {sorted(forced)}, broken {world.broken}, kills {world.kills}")
    before = dict(world.disk), dict(world.records)
    expected = world.simulate(goals, set(forced))
    world.touched.update(expected.known)
    outputs = world.stamps()
    print(f"    comes to {expected.states}")
    world.trace.clear()
    killed = {t for t in expected.ran if expected.states[t] == "built"} & set(world.kills)
    try:
        result = d6tpipe.run(
            tasks or [world.task(t) for t in goals], stale=world.mode, forced=[world.task(t) for t in forced] or None,
            abort=False, execution_summary=False, progress=False,
        )  # fmt: skip
        print(f"    bodies {world.trace}")
    except KeyboardInterrupt:
        assert killed, "an interrupt"
        world.disk, world.records = before
        replay(world, expected)
    else:
        assert not killed, "no interrupt"
        assert Counter(t for what, t in world.trace if what == "begin") == +expected.ran, "which bodies ran"
        compare_states(world, expected, result)
    after = world.stamps()
    ran = {t for what, t in world.trace if what == "begin"}
    changed = {t for t, name in {*outputs, *after} if outputs.get((t, name)) != after.get((t, name))}
    assert changed <= ran, "outputs of tasks that did not run are as they were"
    world.check_stored()
    return expected


def replay(world: World, expected: Expected) -> None:
    """Let the oracle go on from where a run was interrupted: it cannot know in which order bodies ran."""
    begun = [t for what, t in world.trace if what == "begin"]
    assert not Counter(begun) - expected.ran, "bodies that should not have run"
    settled = set()
    for what, t in world.trace:
        if what == world.kills.get(t):
            if what == "end":
                world.save(t)
            world.interrupt(t)
            settled.add(t)
        elif what == "end" or what == world.broken.get(t):
            world.save(t) if what == "end" else None
            if world.broken.get(t) == what:
                world.fail(t)
            settled.add(t)
    for t in begun:
        if t not in settled:
            world.fail(t) if world.written[t[0]].raises and expected.states[t] == "failed" else world.interrupt(t)


def compare_states(world: World, expected: Expected, result) -> None:
    seen = {number(task): str(state) for task, state in result.states.items()}
    for state in ("built", "failed", "upstream_failed", "cached"):
        theirs = {t for t, found in seen.items() if found == state and world.of_kind(t) not in JOINS}
        ours = {t for t, found in expected.states.items() if found == state and world.of_kind(t) not in JOINS}
        if state == "cached":  # what bodies ask for is this or "fresh", depending on when they do
            theirs, ours = theirs & expected.early, ours & expected.early
        assert theirs == ours, f"{state}: {theirs}, not {ours}"
    bad = {"failed", "upstream_failed"} & set(expected.states.values())
    assert result.ok == (not bad)
    failed = {t for t, state in expected.states.items() if state == "failed"}
    assert failed == {number(failure.task) for failure in result.failures}
    for t, verdict in expected.known.items():
        if verdict.murky or world.of_kind(t) in (*JOINS, *EXTERNAL, PLAIN):
            continue
        if seen.get(t) in ("fresh", "stale"):
            assert (seen[t] == "stale") == bool(verdict.kinds - {"untracked"}), f"{t} is named as stale"


def is_certain(world: World, goals: list[Task]) -> bool:
    """Return whether everything upstream has a record, so that nothing is taken on trust."""
    seen, todo = set(), list(goals)
    while todo:
        t = todo.pop()
        if t in seen:
            continue
        seen.add(t)
        if world.of_kind(t) in EXTERNAL and not world.present(t):
            return False
        if world.of_kind(t) not in (*EXTERNAL, *JOINS):
            record = world.records.get(t)
            if record is None or record.stage != FINISHED:
                return False
            todo += [m for m, _ in record.asked]
        todo += world.needs(t)
    return True


@pytest.mark.filterwarnings("ignore:The records")  # cannot be read; was damaged and has been moved aside
@pytest.mark.parametrize("seed", range(START, START + COUNT))
def test_a_random_world_is_rebuilt_as_the_oracle_says(seed, isolated, monkeypatch):
    print(f"seed {seed}: RANDOM_WORLDS=1 RANDOM_SEED={seed} repeats this world")
    monkeypatch.setitem(sys.modules, MODULE, ModuleType(MODULE))
    store_at(MEMORY).records = plugins.load("records", "memory")(MEMORY)  # none of an earlier world
    try:
        live(World(random.Random(seed), str(isolated)))
    finally:
        forget_classes()


def forget_classes() -> None:
    """Let go of the classes of a world: what looks through all classes there are would take longer with each world."""
    Register.clear_instance_cache()
    for table, module_of in (
        (constructor.BLUEPRINTS, lambda cls: cls.__module__),
        (definitions._known, lambda key: (key[0] if isinstance(key, tuple) else key).__module__),
        (fingerprint._memo, lambda key: key[1]),
        (examiner._shelves, lambda key: key[0].__module__),
    ):
        for key in [key for key in table if module_of(key) == MODULE]:
            del table[key]
    for texts in (source._files, linecache.cache):
        for name in [name for name in texts if name.startswith("<world")]:
            del texts[name]


def live(world: World) -> None:
    """Let a world go through some rounds of edits and runs."""
    global now
    now, dice = world, world.dice
    d6tpipe.settings.check_dependencies = world.cascade
    print(f"check_dependencies {world.cascade}")
    for n, written in enumerate(world.written):
        print(f"{n} {written}")
    world.define()
    world.supply()
    goals = dice.sample(world.all_tasks(), dice.randint(1, 2))
    for number_of_round in range(dice.randint(2, 4)):
        if number_of_round == 0 or dice.random() < 0.3:
            goals = dice.sample(world.all_tasks()[-8:], dice.randint(1, 2))
        tasks = [world.task(t) for t in goals] if dice.random() < 0.3 else None  # of classes that are edited below
        if number_of_round:
            for _ in range(dice.randint(0, 2)):
                n = dice.randrange(world.size)
                print(f"  edit {n} {world.edit(n)}")
            world.define(dice.random() < 0.7)
            if tasks and [task.to_str_params() for task in tasks] != [world.task(t).to_str_params() for t in goals]:
                tasks = None  # with the defaults of then they are other tasks
            for _ in range(dice.randint(0, 2)):
                print(f"  {world.disturb()}")
        world.mode = dice.choice(["ignore", "warn", "rerun", "rerun"])
        chance = dice.choice([0, 0, 0.2])
        world.broken = {t: dice.choice(["save", "end", "end"]) for t in world.all_tasks() if dice.random() < chance}
        chance = dice.choice([0, 0, 0, 0.2])
        able = [t for t in world.all_tasks() if t not in world.broken]
        world.kills = {t: dice.choice(["save", "end"]) for t in able if dice.random() < chance}
        world.make_definite(goals)
        if dice.random() < 0.5:
            ask_and_compare(world, goals)
        run_and_compare(world, goals, tasks=tasks)
        if world.broken or world.kills:
            world.broken, world.kills = {}, {}
            world.make_definite(goals)
            run_and_compare(world, goals)
        certain = is_certain(world, goals)
        if world.mode == "rerun" and certain:
            values: dict[Task, int] = {}
            for t in goals:
                world.from_scratch(t, values)
            assert values == {t: world.part(t) for t in values}, "as if built from scratch"
        if dice.random() < 0.6:
            world.make_definite(goals)
            second = run_and_compare(world, goals)
            if not {"failed", "upstream_failed"} & set(second.states.values()):
                assert not second.ran, "a second run executes nothing"
        if dice.random() < 0.15:
            known: dict[Task, Verdict] = {}
            for t in goals:
                world.judge(t, known)
            run_and_compare(world, goals, forced=frozenset([dice.choice(sorted(known))]))


def test_the_worlds_hold_every_kind_and_every_edit():
    """They are only worth something if they hold what they are meant to try."""
    seen: Counter[str] = Counter()
    for seed in range(250):
        world = World(random.Random(seed), "")
        seen.update({written.kind for written in world.written})
        seen.update(["no cascade"] if not world.cascade else [])
        for n in range(world.size):
            seen.update({world.edit(n).partition(":")[0]})
    assert set(KINDS) <= set(seen)
    assert len(seen) == len(KINDS) + 15 + 1, seen  # edits, and "no cascade"
    assert all(count > 20 for count in seen.values()), seen
