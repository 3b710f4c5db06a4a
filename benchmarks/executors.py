"""Compare d6tpipe's executors and its mirror with what else runs bodies elsewhere, in one run, and print one table.

::

    python benchmarks/executors.py                       # everything, about ten minutes
    python benchmarks/executors.py --only tiny --rounds 5
    python benchmarks/executors.py --peers OTHER/bin/python

Run it with a Python that can import d6tpipe; Dask, Ray and luigid are those of its environment, since the executors
stand on them. luigi, joblib and pytask get an environment of their own, unless ``--peers`` names one. What is not
installed is left out, and the table says so. README.rst says more.
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
from dataclasses import dataclass, field
from pathlib import Path

from run import HERE, ROOT, environment, number

CASES = {
    "overlap": ("d6tpipe", "luigi", "joblib", "pytask", "dask"),
    "tiny": ("d6tpipe", "pool", "futures", "joblib", "dask", "luigi"),
    "engines": ("dask", "ray"),
    "mirror": ("d6tpipe",),
}
PEERS = ("luigi", "joblib", "pytask")


@dataclass
class Line:
    """One line of the table: a figure, what it is compared with, and its budget.

    Attributes
    ----------
    system : str
        Whose worker measures it.
    name : str
        Of the figure.
    below : str
        The figure that it is divided by; `minus` instead: that is taken away.
    most : float
        The budget, of milliseconds or of the ratio (`times`); 0: there is none.
    """

    case: str
    system: str
    name: str
    below: str = ""
    minus: str = ""
    most: float = 0.0
    times: bool = False


def lines() -> list[Line]:
    """Return the lines of the table."""
    pool, run = "pool", "d6tpipe run"
    found = [Line("overlap", "d6tpipe", "d6tpipe", most=600.0)]
    found += [Line("overlap", peer, peer, "d6tpipe") for peer in CASES["overlap"][1:]]
    found += [
        Line("tiny", "pool", pool, most=0.1),
        Line("tiny", "pool", "pool, assigned", pool),
        Line("tiny", "futures", "concurrent.futures", pool),
        Line("tiny", "joblib", "joblib", pool),
        Line("tiny", "dask", "dask", pool),
        Line("tiny", "pool", "pool, one by one", pool, most=0.4),
        Line("tiny", "futures", "concurrent.futures, one by one", "pool, one by one"),
        Line("tiny", "d6tpipe", run, f"{run}, serial", most=0.1),
        Line("tiny", "d6tpipe", f"{run}, serial"),
        Line("tiny", "d6tpipe", f"{run}, no output", f"{run}, no output, serial", most=0.1),
        Line("tiny", "d6tpipe", f"{run}, no output, serial"),
        Line("tiny", "d6tpipe", f"{run}, chain", f"{run}, chain, serial", most=0.4),
        Line("tiny", "d6tpipe", f"{run}, chain, serial"),
        Line("tiny", "luigi", "luigi", run),
    ]
    for engine in CASES["engines"]:
        submit, each = f"{engine} submit", f"{engine} submit, each result"
        found += [
            Line("engines", engine, submit),
            Line("engines", engine, each, submit),
            Line("engines", engine, f"{engine} adapter.submit", submit, most=1.15, times=True),
            Line("engines", engine, f"{engine} adapter.request", submit, most=1.15, times=True),
            Line("engines", engine, f"{engine} d6tpipe run", submit, most=1.15, times=True),
            Line("engines", engine, f"{engine} d6tpipe run, serial"),
        ]
    for executor in ("serial", "processes"):
        mirrored = f"{executor}, mirrored"
        found.append(Line("mirror", "d6tpipe", executor))
        found.append(Line("mirror", "d6tpipe", mirrored, minus=executor, most=0.2))
        found.append(Line("mirror", "d6tpipe", f"{mirrored}, before the drain", minus=executor, most=0.2))
    return found


@dataclass
class Found:
    """What was measured in one case: of each figure tasks and seconds, and why there is none from a system."""

    figures: dict[str, list[list[float]]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def each(self, name: str) -> list[float]:
        """Return milliseconds per task, one per measurement."""
        return [seconds / tasks * 1e3 for tasks, seconds in self.figures.get(name, [])]


# ---------------------------------------------------------------------------------------------- measuring


def peers_python(folder: Path) -> str | None:
    """Return the Python of an environment with all peers; None if it cannot be made."""
    try:
        return environment("executors", ["luigi", "joblib", "pytask", "pytask-parallel"], folder)
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"no environment for the peers: {error}", file=sys.stderr)
        return None


def work(python: str | None, case: str, system: str, turn: int, folder: Path, timeout: float) -> dict | str:
    """Return a worker's figures, or a word for what went wrong."""
    if python is None:
        return "not installed"
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "D6TPIPE_", "RAY_", "DASK_"))}
    own = [] if system in PEERS else [str(ROOT)]
    environ["PYTHONPATH"] = os.pathsep.join([*own, str(HERE)])
    command = [python, "-W", "ignore", str(HERE / "executors_worker.py"), case, system, str(turn), str(folder)]
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environ, cwd=folder.parent, timeout=timeout
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f">{timeout:.0f} s"
    if done.returncode:
        print(done.stderr[-800:], file=sys.stderr)
        last = (done.stderr.strip().splitlines() or ["failed"])[-1]
        return last.partition(":")[0].rpartition(".")[2]
    figures = json.loads(done.stdout.splitlines()[-1])
    print(figures.pop("note", ""), end="", file=sys.stderr)
    return f"{figures['missing']} is not installed" if "missing" in figures else figures


def measure(cases: dict[str, Found], options: argparse.Namespace, scratch: Path) -> None:
    """Fill the cases: in each round every system takes its turn, so drift meets all alike."""
    needs_peers = any(system in PEERS for case in cases for system in CASES[case])
    peers = options.peers or (peers_python(options.environments.resolve()) if needs_peers else None)
    for turn in range(options.rounds):
        for case, found in cases.items():
            systems = CASES[case]
            first = turn % len(systems)
            for system in systems[first:] + systems[:first]:
                if system in found.failed:
                    continue
                if sys.stderr.isatty():
                    print(f"\r{f'round {turn + 1}: {case} {system}':<60}", end="\r", file=sys.stderr, flush=True)
                python = peers if system in PEERS else sys.executable
                folder = scratch / f"{case}-{system}-{turn}"
                outcome = work(python, case, system, turn, folder, options.timeout)
                if isinstance(outcome, str):
                    found.failed[system] = outcome
                    continue
                for name, measured in outcome.items():
                    found.figures.setdefault(name, []).extend(measured)


# ------------------------------------------------------------------------------------------------ printing


def cells(line: Line, found: Found) -> list[str]:
    """Return what the table says of one line."""
    own = found.each(line.name)
    if line.system in found.failed or not own:
        return [line.case, line.name, "-", "-", "-", found.failed.get(line.system, "-"), ""]
    size = int(found.figures[line.name][0][0])
    compared, verdict = "-", ""
    value = min(own)
    other = found.each(line.below or line.minus)
    if other and line.minus:
        value = min(own) - min(other)
        compared = f"{value:+.3f} ms"
    elif other:
        compared = f"{min(own) / min(other):.2f} x {line.below}"
        value = min(own) / min(other) if line.times else value
    if line.most and (other or not (line.times or line.minus)):
        unit = "x" if line.times else "ms"
        verdict = f"<= {line.most:g} {unit} {'ok' if value <= line.most else 'NO'}"
    return [line.case, line.name, f"{size:,}", number(statistics.median(own) * 1e3), number(min(own) * 1e3),
            compared, verdict]  # fmt: skip


def render(cases: dict[str, Found], rounds: int) -> str:
    head = ["case", "what", "tasks", "median", "minimum", "compared", "budget"]
    body = [cells(line, cases[line.case]) for line in lines() if line.case in cases]
    widths = [max(len(row[i]) for row in [head, *body]) for i in range(len(head))]
    sides = "<<>>><<"
    rule = "  ".join("-" * width for width in widths)
    text = ["  ".join([f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)]).rstrip()
            for row in [head, *body]]  # fmt: skip
    notes = [
        f"Microseconds per task, of {rounds} interleaved rounds; comparisons and budgets are of minima.",
        "'-': not measured. Pools and clusters are warm, except luigi's and pytask's, which have none that lasts.",
    ]
    return "\n".join([rule, text[0], rule, *text[1:], rule, *notes])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--timeout", type=float, default=300, help="seconds for one measurement")
    parser.add_argument("--peers", help="a Python that has luigi, joblib, pytask and pytask-parallel")
    parser.add_argument("--environments", type=Path, default=ROOT / ".benchmarks")
    parser.add_argument("--scratch", type=Path, help="where data folders go; kept, if given")
    parser.add_argument("--json", type=Path, help="also write the raw figures here")
    options = parser.parse_args()
    cases = {case: Found() for case in CASES if case in options.only}
    scratch = options.scratch or Path(tempfile.mkdtemp(prefix="d6tpipe-benchmark-"))
    before = load()
    try:
        measure(cases, options, scratch.resolve())
    finally:
        if options.scratch is None:
            shutil.rmtree(scratch, ignore_errors=True)
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} processors, load {before} before and {load()} after")
    print(render(cases, options.rounds))
    if options.json:
        raw = {case: {"figures": found.figures, "failed": found.failed} for case, found in cases.items()}
        options.json.write_text(json.dumps(raw, indent=1))
    return 0


def load() -> str:
    """Return how busy the machine is."""
    try:
        return f"{os.getloadavg()[0]:.1f}"
    except OSError:
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())
