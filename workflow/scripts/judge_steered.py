"""Trait and coherence of steered answers, by the judge."""

from pathlib import Path

import polars as pl

from tells.jobs import job
from tells.judge.experiment import judge_is_asked, judge_of
from tells.tables import make_metadata, read_metadata, read_table, write_table
from tells.traits.files import note_unanswered, read_rubric
from tells.traits.judging import judge_answers

settings, wildcards = snakemake.params.settings, snakemake.wildcards

with job(snakemake.log[0], snakemake.output) as report:
    part = Path(snakemake.input.answers).stem
    judge = judge_of(
        wildcards.experiment,
        snakemake.config,
        writer=f"{wildcards.experiment}/{wildcards.collection}/{part}",
        embedding=snakemake.input.embedding,
    )
    report.follow(lambda: vars(judge.usage))
    facts = read_metadata(snakemake.input.answers)
    references = read_table(snakemake.input.references, "search").filter(pl.col("kind") == "reference")
    scores = judge_answers(
        judge,
        read_rubric(Path.cwd(), wildcards.collection),
        read_table(snakemake.input.answers, part),
        references,
    )
    metadata = make_metadata(
        "judge_steered",
        params={**settings, "rubric": snakemake.params.rubric},
        inputs=[snakemake.input.answers, snakemake.input.references],
        experiment=wildcards.experiment,
        model=facts["model"],
        seed=facts["seed"],
        judge=judge.facts(),
    )
    write_table(snakemake.output.scores, scores, f"{part}_scores", metadata)
    unanswered = note_unanswered(snakemake.output.scores, scores) if judge_is_asked(judge) else 0
    report.add(items=2 * scores.height, unanswered=unanswered)
