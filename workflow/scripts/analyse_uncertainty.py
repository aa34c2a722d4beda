"""The study's results in one JSON and one table."""

from pathlib import Path

from tells.jobs import job
from tells.tables import make_metadata, read_json, read_metadata, read_table, write_json, write_table
from tells.uncertainty.files import read_collections
from tells.uncertainty.probe_files import load_probes
from tells.uncertainty.results import result_rows, summarise
from tells.uncertainty.runs import join_runs

settings = snakemake.params.settings

with job(snakemake.log[0], snakemake.output):
    tables = read_collections(snakemake.input)
    runs = join_runs(tables, read_table(snakemake.input.splits, "splits"))
    summary = summarise(
        runs,
        read_json(snakemake.input.evaluation),
        load_probes(snakemake.input.probes, snakemake.input.record),
        roles=settings["roles"],
        replayed=[name for name, each in tables.items() if each.replay is not None],
    )
    trained = read_metadata(snakemake.input.probes)
    metadata = make_metadata(
        "analyse_uncertainty",
        params=settings,
        inputs=[snakemake.input.evaluation, snakemake.input.scores, snakemake.input.map],
        experiment=snakemake.wildcards.experiment,
        model=trained["model"],
        seed=trained["seed"],
    )
    texts = {Path(path).parent.name: read_table(path, "prompts") for path in snakemake.input.prompts}
    table = result_rows(
        runs, read_table(snakemake.input.scores, "scores"), read_table(snakemake.input.map, "map"), texts
    )
    write_json(snakemake.output.results, summary, metadata=metadata)
    write_table(snakemake.output.table, table, "results", metadata)
