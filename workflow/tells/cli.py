"""The command `tells`: what surrounds a run of the workflow."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tells.config import ConfigError, load_workflow, select_experiments
from tells.tables import TableError, write_atomically


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="tells", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("show", help="print an experiment's results")
    show.add_argument("experiments", nargs="*", help="names; default: those of config/config.yaml")
    show.add_argument("--svg", type=Path, help="also write the tables as a picture")
    doctor = commands.add_parser("doctor", help="check what an experiment needs, before a run")
    doctor.add_argument("experiments", nargs="*", help="names; default: those of config/config.yaml")
    commands.add_parser("resume", help="unlock after a killed run, and go on: give it what you gave to snakemake")
    schemas = commands.add_parser("schemas", help="write the JSON Schemas of all definitions")
    schemas.add_argument("--folder", type=Path, default=Path("config/schemas"))
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["resume"] and given[1:] not in (["-h"], ["--help"]):
        # Snakemake's own options, which argparse would take for unknown ones of ours.
        return _resume(given[1:])
    chosen = parser.parse_args(given)
    try:
        return {"show": _show, "doctor": _doctor, "schemas": _schemas}[chosen.command](chosen)
    except (ConfigError, TableError) as error:
        print(error, file=sys.stderr)
        return 1


def _show(chosen: argparse.Namespace) -> int:
    from rich.console import Console

    from tells.report.terminal import uncertainty_report

    _, experiments = load_workflow(Path.cwd(), _override(chosen.experiments))
    console, missing = Console(record=chosen.svg is not None), []
    for name, experiment in experiments.items():
        for study in experiment.studies():
            results = Path("experiments") / name / study / "results.json"
            if results.exists():
                console.print(uncertainty_report(results, Path("logs") / name / study))
            else:
                missing.append(str(results))
    if chosen.svg is not None:
        with write_atomically(chosen.svg) as temporary:
            # Without its web fonts: a picture in a page should fetch nothing.
            picture = re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="tells show"), flags=re.DOTALL)
            temporary.write_text(picture, encoding="utf-8")
    if missing:
        known = ", ".join(select_experiments(Path.cwd()))
        print(f"not there yet: {', '.join(missing)}; make it with `snakemake --profile cpu` (experiments: {known})")
    return 1 if missing else 0


def _doctor(chosen: argparse.Namespace) -> int:
    from tells.doctor import examine, format_findings

    site, experiments = load_workflow(Path.cwd(), _override(chosen.experiments))
    findings = examine(Path.cwd(), experiments, site)
    print(format_findings(findings) if findings else "everything the experiments need is here")
    return 1 if any(finding.severity == "error" for finding in findings) else 0


def _resume(arguments: Sequence[str]) -> int:
    arguments = arguments[1:] if arguments[:1] == ["--"] else arguments
    snakemake = [sys.executable, "-m", "snakemake"]
    unlocked = subprocess.run([*snakemake, "--unlock", *arguments], check=False, capture_output=True, text=True)
    if unlocked.returncode:
        print(unlocked.stderr, file=sys.stderr)
        return unlocked.returncode
    return subprocess.run([*snakemake, "--rerun-incomplete", *arguments], check=False).returncode


def _schemas(chosen: argparse.Namespace) -> int:
    from tells.config.schemas import write_schemas

    write_schemas(chosen.folder)
    return 0


def _override(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    return {"experiments": tuple(names)} if names else {}


if __name__ == "__main__":
    sys.exit(main())
