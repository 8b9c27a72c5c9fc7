"""Fuzz every target for a while, several side by side, and say what was found.

    python tests/fuzz/run.py [--seconds 60] [--jobs 2] [--keep] [--blind] [--work .fuzz] [TARGET ...]

With atheris (requirements-fuzz.txt) the mutations follow the code they reach; without it they are blind. What is new
stays in .fuzz/TARGET, a text a file, and is built on the next time; texts that raise are in .fuzz/findings until they
raise no more. `--keep` writes few short texts that reach all the same code to tests/fuzz/corpus, for the tests to run.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from random import Random
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

try:
    import atheris
except ImportError:
    atheris = None
else:
    if "--child" in sys.argv:
        with atheris.instrument_imports(include=["hostfw"], enable_loader_override=False):
            import tests.fuzz.targets  # noqa: F401 -- imported here first, so that what it imports is instrumented

# ruff: noqa: E402 -- the package of a script is found, and instrumented, only from here on
from tests.fuzz.corpus import load, save, to_bytes, to_text
from tests.fuzz.mutations import mutated
from tests.fuzz.targets import TARGETS, Target, check

HANG_SECONDS = 30
MEMORY_MB = 2048


def main() -> int:
    """Parse the arguments and run; 1 when something was found."""
    parser = argparse.ArgumentParser(description="fuzz what reads texts")
    parser.add_argument("targets", nargs="*", metavar="TARGET", choices=[[], *TARGETS], help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="how long each target runs; 0: not at all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many run side by side")
    parser.add_argument("--keep", action="store_true", help="then write the corpus that the tests run")
    parser.add_argument("--work", type=Path, default=ROOT / ".fuzz", help="where what is found is kept")
    parser.add_argument("--blind", action="store_true", help="mutate blindly, as where atheris is missing")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    chosen = [TARGETS[name] for name in arguments.targets or TARGETS]
    if arguments.child:
        _fuzz(chosen[0], arguments.work, arguments.seconds, blind=arguments.blind or atheris is None)
        return 0
    work: Path = arguments.work.resolve()
    (work / "findings").mkdir(parents=True, exist_ok=True)
    _forget_what_holds(work)
    if atheris is None:
        print("atheris is not installed here, so mutations are blind: pip install -r requirements-fuzz.txt")
    print(f"{'':12}{'executions':>12}{'corpus':>9}{'findings':>10}")
    options = ["--work", str(work), "--seconds", str(arguments.seconds), *(["--blind"] if arguments.blind else [])]
    names = [target.name for target in chosen] if arguments.seconds else []
    ended_well = _side_by_side(names, work, options, arguments.jobs)
    if arguments.keep:
        for target in chosen:
            _keep(target, work)
    findings = sorted((work / "findings").glob("*.txt"))
    for finding in findings:
        print(f"{finding}:\n{finding.read_text()}")
    return 0 if ended_well and not findings else 1


def _forget_what_holds(work: Path) -> None:
    """Remove the findings of earlier runs that have been fixed since."""
    for path in (work / "findings").glob("*.json"):
        try:
            check(TARGETS[path.name.partition("-")[0]], json.loads(path.read_text()))
        except Exception:  # noqa: BLE001 -- still a finding, and shown at the end
            continue
        path.unlink()
        path.with_suffix(".txt").unlink()


def _side_by_side(names: list[str], work: Path, options: list[str], jobs: int) -> bool:
    """Run each target in a process of its own; whether all of them ended as they should."""
    waiting, running, ended_well = list(names), dict[str, subprocess.Popen[bytes]](), True
    while waiting or running:
        while waiting and len(running) < jobs:
            name = waiting.pop(0)
            (work / name).mkdir(exist_ok=True)
            command = [sys.executable, __file__, "--child", *options, name]
            with (work / f"{name}.log").open("wb") as log:
                running[name] = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
        time.sleep(0.2)
        for name, process in list(running.items()):
            if process.poll() is not None:
                del running[name]
                ended_well &= _tell(name, work, process.returncode)
    return ended_well


def _tell(name: str, work: Path, returncode: int) -> bool:
    log = (work / f"{name}.log").read_text(errors="replace")
    counted = re.findall(r"number_of_executed_units: *(\d+)", log) or re.findall(r"^#(\d+)", log, re.MULTILINE) or ["?"]
    corpus = sum(1 for _ in (work / name).iterdir())
    findings = sum(1 for _ in (work / "findings").glob(f"{name}-*.txt"))
    print(f"{name:12}{counted[-1]:>12}{corpus:>9}{findings:>10}", flush=True)
    if returncode:
        print(f"{name} ended with {returncode}: see {work}/{name}.log, and {work}/{name}-* for the text")
    return returncode == 0


def _fuzz(target: Target, work: Path, seconds: int, *, blind: bool) -> None:
    """Begin with the corpus and the seeds, and go on until the time is up."""
    seeds = [*target.seeds(), *load(target.name)]
    folder, findings = work / target.name, work / "findings"
    for text in seeds:
        _write(folder, text[: target.longest])
    # What other texts give to a splice: lines and tokens of the real ones, not of what fuzzing made of them.
    others = list(target.seeds())
    if blind:
        _blindly(target, findings, seeds, others, seconds)
        return

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        random = Random(seed)
        if random.random() < 0.3:
            native: bytes = atheris.Mutate(data, max_size)
            return native
        return to_bytes(mutated(to_text(data), others, target.words, random))[:max_size]

    options = [
        f"-max_total_time={seconds}",
        f"-timeout={HANG_SECONDS}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-max_len={target.longest}",
        f"-artifact_prefix={work}/{target.name}-",
        "-print_final_stats=1",
        str(folder),
    ]
    atheris.Setup([sys.argv[0], *options], lambda data: _try(target, findings, to_text(data)), custom_mutator=mutate)
    atheris.Fuzz()


def _blindly(target: Target, findings: Path, seeds: Sequence[str], others: Sequence[str], seconds: int) -> None:
    random, count, end = Random(), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        _try(target, findings, mutated(random.choice(seeds), others, target.words, random)[: target.longest])
        count += 1
    print(f"number_of_executed_units: {count}")


def _try(target: Target, findings: Path, text: str) -> None:
    """Run one text; keep the first that raises at a place, and the shorter ones after it."""
    try:
        check(target, text)
    except Exception as error:  # noqa: BLE001 -- whatever is raised is a finding
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = sha256(f"{type(error).__name__} {last.filename} {last.lineno}".encode()).hexdigest()[:8]
        known = findings / f"{target.name}-{place}.json"
        if known.exists() and len(json.loads(known.read_text())) <= len(text):
            return
        known.write_text(json.dumps(text))
        known.with_suffix(".txt").write_text(
            f"{text!r}\n{''.join(traceback.format_exception(error)[-6:])}", errors="replace"
        )


def _write(folder: Path, text: str) -> None:
    data = to_bytes(text)
    (folder / sha256(data).hexdigest()[:40]).write_bytes(data)


def _keep(target: Target, work: Path) -> None:
    """Write the shortest texts that together reach every step of the code that the working corpus reaches."""
    found = {to_text(path.read_bytes()) for path in (work / target.name).iterdir()}
    found |= set(load(target.name))
    findings = {json.loads(path.read_text()) for path in (work / "findings").glob(f"{target.name}-*.json")}
    seen: set[tuple[CodeType, int, int]] = set()
    kept = set(findings)
    for text in sorted(found, key=lambda text: (len(text), text)):
        steps = _steps(lambda text=text: _quietly(target, text))  # type: ignore[misc]
        if not steps <= seen:
            seen |= steps
            kept.add(text)
    save(target.name, kept)
    print(f"{target.name}: kept {len(kept)} of {len(found)} texts, {len(seen)} steps")


def _quietly(target: Target, text: str) -> None:
    try:
        target.holds(text)
    except Exception:  # noqa: BLE001 -- findings are kept for themselves
        return


def _steps(run: Callable[[], None]) -> set[tuple[CodeType, int, int]]:
    """The pairs of lines of hostfw that follow each other while something runs."""
    steps: set[tuple[CodeType, int, int]] = set()
    ours = f"{ROOT / 'hostfw'}{os.sep}"

    def enter(frame: FrameType, _event: str, _argument: object) -> Callable[..., Any] | None:
        code = frame.f_code
        if not code.co_filename.startswith(ours):
            return None
        before = 0

        def step(frame: FrameType, event: str, _argument: object) -> Callable[..., Any]:
            nonlocal before
            if event == "line":
                steps.add((code, before, frame.f_lineno))
                before = frame.f_lineno
            return step

        return step

    sys.settrace(enter)
    try:
        run()
    finally:
        sys.settrace(None)
    return steps


if __name__ == "__main__":
    sys.exit(main())
