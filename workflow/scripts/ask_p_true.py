"""P(True) of every answer of one shard."""

from tells.jobs import job
from tells.startup import starting_up
from tells.tables import make_metadata, read_metadata, read_table, write_table
from tells.uncertainty.p_true import ask_p_true
from tells.uncertainty.questions import load_question_set

settings = snakemake.params.settings

with job(snakemake.log[0], snakemake.output, gpus=snakemake.resources.get("gpu", 0)) as report:
    with starting_up():
        from tells.models.loading import load_as

    facts = read_metadata(snakemake.input.samples)
    samples = read_table(snakemake.input.samples, "samples")
    loaded = load_as(snakemake.input.model, settings, threads=snakemake.threads)
    p_true = ask_p_true(
        read_table(snakemake.input.prompts, "prompts"),
        samples,
        loaded,
        load_question_set(snakemake.input.questions).examples,
        prompt=facts["prompt"],
        opened=facts["opened"],
        think_end=facts["think_end"],
        batch_size=settings["batch_size"],
    )
    metadata = make_metadata(
        "p_true",
        params=settings,
        inputs=[snakemake.input.samples, snakemake.input.questions, snakemake.input.model],
        experiment=snakemake.wildcards.experiment,
        model=facts["model"],
        seed=facts["seed"],
        **loaded.facts(),
    )
    write_table(snakemake.output.p_true, p_true, "p_true", metadata)
    report.add(runs=p_true.height)
