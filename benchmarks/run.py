"""Compare d6tpipe with luigi, d6tflow and the floor, side by side in one run, and print one table.

::

    python benchmarks/run.py                      # everything, about a quarter of an hour
    python benchmarks/run.py --only construct cold --sizes 301
    python benchmarks/run.py --only noop --rounds 5

Run it with a Python that can import d6tpipe. luigi and d6tflow 0.2.8 get environments of their own below
``.benchmarks/``: d6tpipe's alias and a real d6tflow would be in each other's way. README.rst says more.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CASES = ("construct", "cold", "noop", "exists", "record", "fingerprint")
SYSTEMS = ("floor", "d6tpipe", "luigi", "d6tflow")


@dataclass
class Row:
    """One line of the table: a case, a shape, a number of tasks, and who takes part."""

    case: str
    shape: str
    size: int
    systems: tuple[str, ...]
    results: dict[str, list[dict]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def figures(self, system: str, what: str = "seconds") -> list[float]:
        """Return microseconds (or bytes) per task, one per round."""
        scale = 1 if what == "memory" else 1e6
        return [r[what] / r["tasks"] * scale for r in self.results.get(system, []) if what in r]


def rows() -> list[Row]:
    """Return all rows.

    Peers take part up to the size that they finish in a reasonable time: d6tflow asks a shared task again on
    every path, so its ladder ends at 12 layers (25 tasks). Nothing is extrapolated.
    """
    all_, ours, build = SYSTEMS, ("d6tpipe",), ("floor", "d6tpipe", "luigi")
    everybody = ("d6tpipe", "luigi", "d6tflow")
    table = [Row("construct", "", 5_000, everybody)]
    for shape, small in (("fan", 300), ("chain", 300), ("ladder", 25)):
        table.append(Row("cold", shape, small, all_))
        table.append(Row("cold", shape, 2_001 if shape == "ladder" else 3_000, build))
    for shape, small in (("fan", 300), ("chain", 300), ("ladder", 25)):
        table.append(Row("noop", shape, small, everybody))
        for size in (1_000, 3_000):
            table.append(Row("noop", shape, size + (shape == "ladder"), ("d6tpipe", "luigi")))
        for size in (10_000, 100_000):
            table.append(Row("noop", shape, size + (shape == "ladder"), ours))
        table.append(Row("exists", shape, 100_000 + (shape == "ladder"), ours))
    table += [Row("record", "fan", 3_000, ours), Row("fingerprint", "", 200, ours)]
    return table


# ------------------------------------------------------------------------------------------- environments


def environment(name: str, requirements: list[str], folder: Path) -> str:
    """Return the Python of an environment that holds `requirements`, made when it is not there yet."""
    home = folder / name
    python, stamp = home / "bin" / "python", home / "requirements.txt"
    wanted = "\n".join(requirements)
    if not (stamp.exists() and stamp.read_text() == wanted):
        print(f"making an environment for {' '.join(requirements)} ...", file=sys.stderr)
        shutil.rmtree(home, ignore_errors=True)
        venv.create(home, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *requirements], check=True)
        stamp.write_text(wanted)
    return str(python)


def pythons(systems: set[str], folder: Path) -> dict[str, str]:
    """Return {system: its Python}."""
    found = {"floor": sys.executable, "d6tpipe": sys.executable}
    try:
        luigi = f"luigi=={version('luigi')}"  # the same one that d6tpipe stands on
    except PackageNotFoundError:
        luigi = "luigi"
    if "luigi" in systems:
        found["luigi"] = environment("luigi", [luigi], folder)
    if "d6tflow" in systems:
        found["d6tflow"] = environment("d6tflow", ["d6tflow==0.2.8", luigi], folder)
    return found


# ---------------------------------------------------------------------------------------------- measuring


class Bench:
    """Runs workers. Folders are fresh and stay until the end: deleting slows the writes that follow."""

    def __init__(self, python: dict[str, str], scratch: Path, timeout: float) -> None:
        self.python, self.scratch, self.timeout, self.count = python, scratch, timeout, 0

    def fresh(self) -> str:
        self.count += 1
        return str(self.scratch / f"data{self.count:05d}")

    def work(self, system: str, case: str, row: Row, folder: str) -> dict | str:
        """Return a worker's result, or a word for what went wrong."""
        command = [self.python[system], "-W", "ignore", str(HERE / "worker.py"), system, case]
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "D6TPIPE_"))}
        if system == "d6tpipe":
            environ["PYTHONPATH"] = str(ROOT)
        try:
            done = subprocess.run(
                [*command, row.shape or "-", str(row.size), folder],
                capture_output=True, text=True, env=environ, cwd=self.scratch, timeout=self.timeout,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f">{self.timeout:.0f} s"
        if done.returncode:
            log = self.scratch / f"{system}-{case}-{row.shape}-{row.size}.log"
            log.write_text(done.stdout + done.stderr)
            print(done.stderr[-800:], file=sys.stderr)
            last = (done.stderr.strip().splitlines() or ["failed"])[-1]
            word = last.partition(":")[0].rpartition(".")[2]
            return "RecursionError" if "RecursionError" in done.stderr else word
        return json.loads(done.stdout.splitlines()[-1])


def measure(table: list[Row], bench: Bench, rounds: int) -> None:
    """Fill the rows: in each round every system takes its turn at every row, so drift meets all alike."""
    built: dict[tuple[str, str, int], str] = {}
    for row in table:
        if row.case not in ("noop", "exists"):
            continue
        for system in row.systems:  # what the no-op finds, built once
            if (system, row.shape, row.size) in built:
                continue
            folder = built[system, row.shape, row.size] = bench.fresh()
            report("building", row, system)
            outcome = bench.work(system, "cold", row, folder)
            if isinstance(outcome, str):
                row.failed[system] = outcome
    for number in range(rounds):
        for row in table:
            turn = number % len(row.systems)
            for system in row.systems[turn:] + row.systems[:turn]:
                if system in row.failed:
                    continue
                report(f"round {number + 1} of {rounds}", row, system)
                case = row.case
                folder = built[system, row.shape, row.size] if case in ("noop", "exists") else bench.fresh()
                if case == "noop" and system == "luigi" and row.shape == "fan":
                    case = "noop-all"
                outcome = bench.work(system, case, row, folder)
                if isinstance(outcome, str):
                    row.failed[system] = outcome
                else:
                    row.results.setdefault(system, []).append(outcome)
    report("", None, "")


def report(what: str, row: Row | None, system: str) -> None:
    if sys.stderr.isatty():
        text = f"{what}: {row.case} {row.shape} {row.size:,} {system}" if row else ""
        print(f"\r{text:<78}", end="" if row else "\r", file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------------------------ printing


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cell(row: Row, system: str, what: str) -> str:
    figures = row.figures(system, what)
    if system in row.failed:
        return row.failed[system]
    if not figures:
        return "-"
    mark = "*" if system == "luigi" and row.case == "noop" and row.shape != "fan" else ""
    return f"{number(statistics.median(figures))} ({number(min(figures))}){mark}"


def ratio(row: Row, above: str, below: str, what: str) -> float | None:
    """Return how many times slower `above` is than `below`, both at their least disturbed in this run."""
    one, other = row.figures(above, what), row.figures(below, what)
    comparable = not (above == "luigi" and row.case == "noop" and row.shape != "fan")
    if not (one and other and comparable) or {above, below} & set(row.failed):
        return None
    return min(one) / min(other)


def budget(row: Row, what: str) -> str:
    """Return the budget of a row and whether it holds (for the minimum); empty where there is none."""
    claims = []
    ours = row.figures("d6tpipe", what)
    if not ours or row.failed.get("d6tpipe"):
        return ""
    if row.case == "construct" and what == "seconds":
        claims.append(("<= 6 us", min(ours) <= 6))
    if row.case == "cold" and row.shape == "fan" and row.size == 3_000:
        over_floor, faster = ratio(row, "d6tpipe", "floor", what), ratio(row, "luigi", "d6tpipe", what)
        claims += [("<= 3 x floor", over_floor <= 3)] if over_floor else []
        claims += [(">= 60 x luigi", faster >= 60)] if faster else []
    if row.case == "noop" and 100_000 <= row.size <= 100_001:
        if what == "memory":
            claims.append(("<= 1,536 B", min(ours) <= 1_536))
        else:
            claims.append(("<= 1.5 s", min(ours) * row.size <= 1.5e6))
    if row.case == "record":
        claims.append(("<= 25 us", min(ours) <= 25))
    if row.case == "fingerprint" and what == "seconds":
        claims.append(("<= 200 us", min(ours) <= 200))
    return ", ".join(f"{text} {'ok' if holds else 'NO'}" for text, holds in claims)


def lines(table: list[Row]) -> list[list[str]]:
    """Return the cells of the table."""
    found = []
    for row in table:
        kinds = [("seconds", "")]
        if row.case in ("construct", "fingerprint"):
            kinds = [("seconds", ", new"), ("again", ", again")]
        elif row.case == "noop" and row.size >= 3_000:
            kinds.append(("memory", ", memory B"))
        for what, suffix in kinds:
            ratios = [ratio(row, "luigi", "d6tpipe", what), ratio(row, "d6tflow", "d6tpipe", what)]
            ratios.append(ratio(row, "d6tpipe", "floor", what))
            title = f"{row.case} {row.shape}".strip() + suffix
            shown = [f"{value:,.1f}" if value is not None else "-" for value in ratios]
            cells = [cell(row, system, what) for system in SYSTEMS]
            found.append([title, f"{row.size:,}", *cells, *shown, budget(row, what)])
    by_size = {(row.shape, row.size // 1_000): row for row in table if row.case == "noop"}
    for shape in ("fan", "chain", "ladder"):
        small, large = by_size.get((shape, 10)), by_size.get((shape, 100))
        pair = [row.results.get("d6tpipe", []) for row in (small, large) if row]
        if len(pair) == 2 and all(pair):
            times = [min(result["seconds"] for result in results) for results in pair]
            growth = times[1] / times[0]
            held = f"<= 13 x {'ok' if growth <= 13 else 'NO'}"
            found.append([f"noop {shape}, growth", "10k to 100k", "-", f"{growth:.1f} x", *"-----", held])
    return found


def render(table: list[Row], rounds: int) -> str:
    head = ["case", "tasks", *SYSTEMS, "luigi / us", "d6tflow / us", "us / floor", "budget"]
    body = lines(table)
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]

    def text(line: list[str]) -> str:
        first, *middle, last = [f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True)]
        return "  ".join([first.strip().ljust(widths[0]), *middle, last.strip()]).rstrip()

    rule = "  ".join("-" * width for width in widths)
    notes = [
        f"Microseconds per task: median (minimum) of {rounds} interleaved rounds, each in a fresh process.",
        "'-': not measured. Ratios, growth and budgets are of minima of this run; 'us' is d6tpipe.",
        "Floor: open, write, close, os.replace of the same bytes.",
    ]
    if any(row.case == "noop" and row.shape != "fan" and row.results.get("luigi") for row in table):
        notes.append("* luigi looks at the root's output and no further, so its figure is not comparable.")
    return "\n".join([rule, text(head), rule, *map(text, body), rule, *notes])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words = (*CASES, "fan", "chain", "ladder")
    parser.add_argument("--only", nargs="+", choices=words, help="cases or shapes; both: rows that fit both")
    parser.add_argument("--sizes", nargs="+", type=int, help="only rows of these numbers of tasks")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--timeout", type=float, default=300, help="seconds for one measurement")
    parser.add_argument("--environments", type=Path, default=ROOT / ".benchmarks")
    parser.add_argument("--scratch", type=Path, help="where data folders go; kept, if given")
    parser.add_argument("--json", type=Path, help="also write the raw figures here")
    options = parser.parse_args()

    table = [row for row in rows() if wanted(row, options)]
    if not table:
        parser.error("no row fits --only and --sizes")
    python = pythons({system for row in table for system in row.systems}, options.environments.resolve())
    scratch = options.scratch or Path(tempfile.mkdtemp(prefix="d6tpipe-benchmark-"))
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        measure(table, Bench(python, scratch.resolve(), options.timeout), options.rounds)
    finally:
        if options.scratch is None:
            shutil.rmtree(scratch)
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} processors")
    print(render(table, options.rounds))
    if options.json:
        raw = [{k: getattr(row, k) for k in ("case", "shape", "size", "results", "failed")} for row in table]
        options.json.write_text(json.dumps(raw, indent=1))
    return 0


def wanted(row: Row, options: argparse.Namespace) -> bool:
    """Return whether a row is asked for; leave only the systems asked for in it."""
    row.systems = tuple(system for system in row.systems if system in options.systems)
    cases = {word for word in options.only or () if word in CASES}
    shapes = set(options.only or ()) - cases
    return bool(
        row.systems
        and (not cases or row.case in cases)
        and (not shapes or row.shape in shapes or not row.shape)
        and (not options.sizes or row.size in options.sizes)
    )


if __name__ == "__main__":
    sys.exit(main())
