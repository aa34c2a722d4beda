"""Why responses failed, and what they were mistaken for."""

from functools import partial
from pathlib import Path

from tells.jobs import job
from tells.judge.experiment import judge_of
from tells.models.prompts import load_tokenizer
from tells.tables import make_metadata, read_metadata, read_table, write_json
from tells.traits.files import read_rubric
from tells.traits.judging import explain_failures, window_texts
from tells.traits.vetting import Thresholds

settings, wildcards = snakemake.params.settings, snakemake.wildcards

with job(snakemake.log[0], snakemake.output) as report:
    judge = judge_of(
        wildcards.experiment,
        snakemake.config,
        writer=f"{wildcards.experiment}/{wildcards.collection}/explanations",
    )
    report.follow(lambda: vars(judge.usage))
    samples = read_table(snakemake.input.samples, "samples")
    facts = read_metadata(snakemake.input.samples)
    explanations = explain_failures(
        judge,
        read_rubric(Path.cwd(), wildcards.collection),
        read_table(snakemake.input.vetting, "vetting"),
        window_texts(partial(load_tokenizer, snakemake.input.model), samples, settings["window"]),
        Thresholds(settings["positive_min"], settings["negative_max"]),
    )
    metadata = make_metadata(
        "explain_failures",
        params={**settings, "rubric": snakemake.params.rubric},
        inputs=[snakemake.input.vetting, snakemake.input.samples],
        experiment=wildcards.experiment,
        model=facts["model"],
        seed=facts["seed"],
        judge=judge.facts(),
    )
    write_json(snakemake.output.explanations, {"explanations": explanations}, metadata=metadata)
    report.add(items=len(explanations))
