"""What came of asking questions under steering, one row a question and arm."""

from tells.agreement.steered_outcomes import outcomes_of
from tells.jobs import job
from tells.tables import make_metadata, read_metadata, read_table, write_table

with job(snakemake.log[0], snakemake.output) as report:
    facts = read_metadata(snakemake.input.samples)
    table = outcomes_of(
        read_table(snakemake.input.prompts, "prompts"),
        read_table(snakemake.input.samples, "samples"),
        read_table(snakemake.input.labels, "labels"),
        read_table(snakemake.input.entropy, "entropy"),
    )
    metadata = make_metadata(
        "measure_steered",
        params={},
        inputs=snakemake.input,
        experiment=snakemake.wildcards.experiment,
        model=facts["model"],
        seed=facts["seed"],
        collection=snakemake.wildcards.collection,
        **{key: facts[key] for key in ("direction", "ratio", "norm", "coefficient")},
    )
    write_table(snakemake.output.outcomes, table, "outcomes", metadata)
    report.add(rows=table.height)
