"""Confidence of every trace and every token of a benchmark."""

from tells.jobs import job
from tells.safety.traces import confidence_table
from tells.tables import make_metadata, read_metadata, read_table, write_table

settings = snakemake.params.settings

with job(snakemake.log[0], snakemake.output) as report:
    from tells.models.prompts import load_tokenizer

    samples = read_table(snakemake.input.samples, "samples")
    facts = read_metadata(snakemake.input.samples)
    table = confidence_table(
        samples,
        load_tokenizer(snakemake.input.model),
        opened=facts["opened"],
        think_end=facts["think_end"],
        window=settings["window"],
        fraction=settings["fraction"],
    )
    metadata = make_metadata(
        "measure_confidence",
        params=settings,
        inputs=snakemake.input,
        experiment=snakemake.wildcards.experiment,
        model=facts["model"],
        seed=facts["seed"],
        thinking=facts.get("thinking"),
        **settings,
    )
    write_table(snakemake.output.confidence, table, "confidence", metadata)
    report.add(runs=table.height, empty=int(table["empty"].sum()), truncated=int(table["truncated"].sum()))
