"""Parse and grade every run of a collection."""

from tells.jobs import job
from tells.tables import make_metadata, read_metadata, read_table, write_table
from tells.uncertainty.answers import grade_runs

with job(snakemake.log[0], snakemake.output) as report:
    facts = read_metadata(snakemake.input.samples)
    labels = grade_runs(
        read_table(snakemake.input.prompts, "prompts"),
        read_table(snakemake.input.samples, "samples"),
        think_end=facts["think_end"],
        opened=facts["opened"],
    )
    metadata = make_metadata(
        "grade",
        params={},
        inputs=snakemake.input,
        experiment=snakemake.wildcards.experiment,
        model=facts["model"],
        seed=facts["seed"],
    )
    write_table(snakemake.output.labels, labels, "labels", metadata)
    report.add(runs=labels.height, truncated=int(labels["truncated"].sum()))
