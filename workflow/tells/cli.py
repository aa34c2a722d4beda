"""The command `tells`: what surrounds a run of the workflow."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tells.config import ConfigError, load_workflow, select_experiments
from tells.report.terminal import console_of
from tells.sharing.manifest import SharingError
from tells.tables import TableError, write_atomically
from tells.tables.records import DataFileError


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="tells", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("show", help="print an experiment's results")
    show.add_argument("experiments", nargs="*", help="names; default: those of config/config.yaml")
    show.add_argument("--svg", type=Path, help="also write the tables as a picture")
    doctor = commands.add_parser("doctor", help="check what an experiment needs, before a run")
    doctor.add_argument("experiments", nargs="*", help="names; default: those of config/config.yaml")
    doctor.add_argument("--profile", type=Path, help="also look at the SLURM cluster that this profile speaks to")
    plan = commands.add_parser("plan", help="jobs, hours, judge calls, cost and storage of a run, before it starts")
    plan.add_argument("experiments", nargs="*", help="names; default: those of config/config.yaml")
    check = commands.add_parser("check-traits", help="check the trait data sets in config/traits")
    check.add_argument("traits", nargs="*", help="category/name; default: all")
    project = commands.add_parser("project", help="read any study's samples along traits, token by token")
    project.add_argument("collection", help="EXPERIMENT/STUDY/COLLECTION whose samples are read")
    project.add_argument("--trait", action="append", required=True, help="category/name; may be given more than once")
    project.add_argument("--vectors", metavar="EXPERIMENT", help="whose vectors; default: the collection's experiment")
    project.add_argument("--method", help="default: the vector that is best on validation")
    project.add_argument("--layer", type=int)
    project.add_argument("--batch-size", type=int, default=32)
    sheet = commands.add_parser("label-sheet", help="draw replies of a safety study for people to label")
    sheet.add_argument("collection", help="EXPERIMENT/COLLECTION whose replies are drawn")
    sheet.add_argument("--n", type=int, default=100, help="replies on the sheet")
    sheet.add_argument("--seed", type=int, default=0)
    sheet.add_argument("--out", type=Path, help="default: label_sheet.csv beside the collection's files")
    agreement = commands.add_parser("label-agreement", help="hold the classifiers against people's labels")
    agreement.add_argument("sheets", nargs="+", type=Path, help="filled label sheets, or XSTest's evaluation files")
    agreement.add_argument("--seed", type=int, default=0, help="of the intervals")
    _add_figures(commands)
    _add_dashboard(commands)
    _add_sharing(commands)
    commands.add_parser("resume", help="unlock after a killed run, and go on: give it what you gave to snakemake")
    schemas = commands.add_parser("schemas", help="write the JSON Schemas of all definitions")
    schemas.add_argument("--folder", type=Path, default=Path("config/schemas"))
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["resume"] and given[1:] not in (["-h"], ["--help"]):
        # Snakemake's own options, which argparse would take for unknown ones of ours.
        return _resume(given[1:])
    chosen = parser.parse_args(given)
    try:
        return _COMMANDS[chosen.command](chosen)
    except (ConfigError, TableError, DataFileError, SharingError) as error:
        print(error, file=sys.stderr)
        return 1


def _add_figures(commands: Any) -> None:
    figures = commands.add_parser("figures", help="write an experiment's figures and tables as files for a paper")
    figures.add_argument("experiment", help="name")
    figures.add_argument("--out", type=Path, help="folder; default: experiments/EXPERIMENT/figures")
    figures.add_argument("--format", nargs="+", default=["svg", "pdf"], help="svg, pdf, png; default: svg pdf")


def _add_dashboard(commands: Any) -> None:
    serve = commands.add_parser("dashboard", help="browse the results in a browser, read-only")
    serve.add_argument("folder", nargs="?", type=Path, default=Path("experiments"), help="default: experiments")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=8050)
    serve.add_argument("--public", action="store_true", help="let other machines in; there is no login")
    serve.add_argument("--base-path", default="/", help="address below which it is served, behind a proxy")
    serve.add_argument("--frame-ancestors", nargs="+", default=["'none'"], help="pages that may show it in a frame")
    serve.add_argument("--workers", type=int, default=1, help="processes, by gunicorn")


def _add_sharing(commands: Any) -> None:
    push = commands.add_parser("push", help="bring a finished run to a folder, S3, Google Cloud Storage or the hub")
    push.add_argument("experiment", help="its name")
    push.add_argument("url", help="a folder, or s3://, gs://, hf://; the run goes to URL/EXPERIMENT")
    push.add_argument("--tables-only", action="store_true", help="leave out shards and tensors")
    push.add_argument("--force", action="store_true", help="replace a newer or larger run there, and send all of it")
    pull = commands.add_parser("pull", help="fetch a run that was pushed, so that it counts as done here")
    pull.add_argument("url", help="the folder or address of the run, as push told it")
    pull.add_argument("--tables-only", action="store_true", help="leave out shards and tensors")
    pull.add_argument("--force", action="store_true", help="replace local files that differ")


def _show(chosen: argparse.Namespace) -> int:
    from tells.report.show import study_reports

    _, experiments = load_workflow(Path.cwd(), _override(chosen.experiments))
    console, missing = console_of(record=chosen.svg is not None), []
    for results, report in study_reports(Path(), experiments):
        if report is None:
            missing.append(str(results))
        else:
            console.print(report)
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
    if chosen.profile is not None:
        from tells.cluster import examine_cluster

        findings += examine_cluster(Path.cwd(), chosen.profile)
    print(format_findings(findings) if findings else "everything the experiments need is here")
    return 1 if any(finding.severity == "error" for finding in findings) else 0


def _plan(chosen: argparse.Namespace) -> int:
    from tells.plan import plan, plan_tables, read_statuses

    _, experiments = load_workflow(Path.cwd(), _override(chosen.experiments))
    statuses = read_statuses(Path("logs"))
    for experiment in experiments.values():
        console_of().print(plan_tables(plan(Path.cwd(), experiment, statuses)))
    return 0


def _check_traits(chosen: argparse.Namespace) -> int:
    from tells.traits.checks import check_traits

    report = check_traits(Path.cwd(), chosen.traits or None)
    console_of().print(report)
    return 0 if report.passed else 1


def _project(chosen: argparse.Namespace) -> int:
    from tells.traits.projection import project_collection

    experiment, _, place = chosen.collection.partition("/")
    written = project_collection(
        Path.cwd(),
        experiment,
        place,
        chosen.trait,
        vectors=chosen.vectors or experiment,
        method=chosen.method,
        layer=chosen.layer,
        batch_size=chosen.batch_size,
    )
    print(written.relative_to(Path.cwd()))
    return 0


def _figures(chosen: argparse.Namespace) -> int:
    from tells.report.export import export
    from tells.report.images import DrawingError

    out = chosen.out or Path("experiments") / chosen.experiment / "figures"
    try:
        made = export(Path(), chosen.experiment, out, formats=chosen.format, limits=_steering_limits(chosen.experiment))
    except DrawingError as error:
        print(f"{error}\nthe tables are in {out}", file=sys.stderr)
        return 1
    except (ValueError, LookupError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    counts = Counter(made.contents["status"])
    for row in made.contents.filter(made.contents["status"] != "written").iter_rows(named=True):
        print(f"{row['status']}: {row['file']}: {row['reason']}")
    print(f"{out}: {counts['written']} files of {', '.join(made.studies)}; contents.csv lists them")
    return 1 if counts["broken"] else 0


def _steering_limits(experiment: str) -> dict[str, float] | None:
    """Limits of steering by the experiment's definition; None where there is none, as in a copied run."""
    from tells.config.settings import choose_settings

    try:
        _, experiments = load_workflow(Path.cwd(), {"experiments": (experiment,)})
    except ConfigError:
        return None
    traits = experiments[experiment].traits if experiment in experiments else None
    return choose_settings(experiments[experiment]) if traits and traits.steer else None


def _dashboard(chosen: argparse.Namespace) -> int:
    try:
        from tells.dashboard.server import serve
    except ModuleNotFoundError as error:
        print(f"{error}: the dashboard needs `pip install tells[dashboard]`", file=sys.stderr)
        return 1
    if chosen.workers < 1:
        print("--workers must be 1 or more", file=sys.stderr)
        return 1
    folder = chosen.folder.resolve()
    if not folder.is_dir():
        print(f"{chosen.folder}: no such folder; results are made with `make demo`", file=sys.stderr)
        return 1
    try:
        serve(
            folder.parent,
            host=chosen.host,
            port=chosen.port,
            base_path=chosen.base_path,
            frame_ancestors=chosen.frame_ancestors,
            workers=chosen.workers,
            public=chosen.public,
        )
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _push(chosen: argparse.Namespace) -> int:
    from tells.sharing.push import push
    from tells.sharing.told import told_push

    done = push(Path.cwd(), chosen.experiment, chosen.url, tables_only=chosen.tables_only, force=chosen.force)
    print(told_push(done))
    return 0


def _pull(chosen: argparse.Namespace) -> int:
    from tells.sharing.pull import pull
    from tells.sharing.told import told_pull

    try:
        done = pull(Path.cwd(), chosen.url, tables_only=chosen.tables_only, force=chosen.force)
    except OSError as error:
        print(f"{error}; no file here was changed", file=sys.stderr)
        return 1
    print(told_pull(done))
    return 0


def _label_sheet(chosen: argparse.Namespace) -> int:
    from tells.safety.label_sheet import draw_label_sheet, key_path

    experiment, _, collection = chosen.collection.partition("/")
    if not experiment or not collection or "/" in collection:
        print(f"{chosen.collection}: name it as EXPERIMENT/COLLECTION", file=sys.stderr)
        return 1
    try:
        sheet = draw_label_sheet(Path(), experiment, collection, n=chosen.n, seed=chosen.seed, out=chosen.out)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{sheet}: fill refusal (refusal, partial, compliance, unclear) and harm (harmful, unharmful, unclear)")
    print(f"{key_path(sheet)}: keep it beside the sheet, and from those who label")
    return 0


def _label_agreement(chosen: argparse.Namespace) -> int:
    from tells.report.label_agreement import agreement_table
    from tells.safety.label_agreement import read_agreement

    for sheet in chosen.sheets:
        console_of().print(agreement_table(read_agreement(Path(), sheet, seed=chosen.seed), str(sheet)))
    return 0


def _resume(arguments: Sequence[str]) -> int:
    from tells.heads import end_dead_heads

    arguments = arguments[1:] if arguments[:1] == ["--"] else arguments
    elsewhere = "--elsewhere" in arguments
    arguments = [word for word in arguments if word != "--elsewhere"]
    snakemake = [sys.executable, "-m", "snakemake"]
    try:
        cancelled = end_dead_heads(Path.cwd(), elsewhere=elsewhere)
    except (TimeoutError, RuntimeError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    for run in cancelled:
        print(f"cancelled the jobs of the dead run {run}", file=sys.stderr)
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


_COMMANDS = {
    "show": _show,
    "doctor": _doctor,
    "plan": _plan,
    "check-traits": _check_traits,
    "project": _project,
    "figures": _figures,
    "dashboard": _dashboard,
    "push": _push,
    "pull": _pull,
    "label-sheet": _label_sheet,
    "label-agreement": _label_agreement,
    "schemas": _schemas,
}

if __name__ == "__main__":
    sys.exit(main())
