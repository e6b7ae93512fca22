"""`python -m bench [FAMILY…] [--full] [--keep] [--json FILE]`: measure, print one table, write it as JSON.

Exit code 0 also if a target is missed, as the table says so; 1 if something could not be measured.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

from msgspec.structs import replace

from bench import history
from bench.conditions import observed
from bench.families import FAMILIES
from bench.figure import Figure, Trouble
from bench.picture import drawn, lines_of
from bench.programs import engine_url
from bench.raw_engine import CLUSTER, RawEngine, on_engine, sweep
from bench.report import Report, table, write
from bench.run import Run
from bench.throughput import CURVE_FAMILY
from longshore.model.errors import Failure

STATE = Path(__file__).resolve().parent.parent / ".state" / "bench"


def main() -> int:
    asked = _arguments()
    signal.signal(signal.SIGTERM, _stop)  # so that whatever was started is stopped too
    STATE.mkdir(parents=True, exist_ok=True)
    engine, about = _engine()
    conditions = observed(about)
    figures: list[Figure] = []
    troubles: dict[str, str] = {}
    broken = False
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=STATE))
    try:
        for name in asked.families or [one for one, family in FAMILIES.items() if not family.by_name_only]:
            family = FAMILIES[name]
            if family.needs_engine and not engine:
                troubles[name] = f"skipped, {about}"
                continue
            run = Run(folder / name, engine, asked.full)
            run.say(f"{name} …")
            try:
                figures.extend(family.measure(run))  # keeps those that came before a trouble
            except (Trouble, Failure, subprocess.TimeoutExpired) as trouble:
                troubles[name] = f"{trouble} (logs in {run.folder})"
                broken = True
    finally:
        if not broken:
            shutil.rmtree(folder, ignore_errors=True)
        if engine:
            on_engine(engine, lambda raw: sweep(raw, CLUSTER))
    done = replace(conditions, load_after=os.getloadavg()[0], took_s=time.monotonic() - began)
    report = Report(conditions=done, figures=figures, troubles=troubles)
    write(report, asked.json)
    if lines := lines_of(figures, CURVE_FAMILY):
        asked.json.with_suffix(".svg").write_text(drawn("CPU time for one task, from request to bind", "µs", lines))
    if asked.keep:
        history.add(report)
    print(table(report))
    print(f"also in {asked.json}")
    return 1 if broken else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Figures of Longshore on this machine.")
    parser.add_argument("families", nargs="*", type=_family, metavar="FAMILY", help=", ".join(FAMILIES))
    parser.add_argument("--full", action="store_true", help="the published sizes, where a family has smaller ones too")
    parser.add_argument("--keep", action="store_true", help="add the figures to bench/history.jsonl")
    parser.add_argument("--json", type=Path, default=STATE / "latest.json", metavar="FILE")
    return parser.parse_args()


def _family(name: str) -> str:
    if name not in FAMILIES:
        raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(FAMILIES)}")
    return name


def _stop(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


def _engine() -> tuple[str, str]:
    """The engine's address, empty if there is none; and what it is, or why there is none."""
    why = os.environ.get("LONGSHORE_NO_ENGINE", "")
    if why:
        return "", f"no engine: {why}"
    try:
        return engine_url(), on_engine(engine_url(), RawEngine.describe)
    except Trouble as trouble:
        return "", f"no engine at {engine_url()} (scripts/engine up): {trouble}"


if __name__ == "__main__":
    sys.exit(main())
