"""How strongly the window of each response shows its trait, by the judge."""

from functools import partial
from pathlib import Path

from tells.jobs import job
from tells.judge.experiment import judge_is_asked, judge_of
from tells.models.prompts import load_tokenizer
from tells.tables import make_metadata, read_metadata, read_table, write_table
from tells.traits.files import note_unanswered, read_rubric
from tells.traits.judging import judge_texts, window_texts

settings, wildcards = snakemake.params.settings, snakemake.wildcards

with job(snakemake.log[0], snakemake.output) as report:
    judge = judge_of(
        wildcards.experiment,
        snakemake.config,
        writer=f"{wildcards.experiment}/{wildcards.collection}/responses",
        embedding=snakemake.input.embedding,
    )
    report.follow(lambda: vars(judge.usage))
    samples = read_table(snakemake.input.samples, "samples")
    facts = read_metadata(snakemake.input.samples)
    rubric = read_rubric(Path.cwd(), wildcards.collection)
    texts = window_texts(partial(load_tokenizer, snakemake.input.model), samples, settings["window"])
    scores = judge_texts(judge, rubric, texts, "trait", "response_scores")
    metadata = make_metadata(
        "judge_responses",
        params={**settings, "rubric": snakemake.params.rubric},
        inputs=[snakemake.input.samples],
        experiment=wildcards.experiment,
        model=facts["model"],
        seed=facts["seed"],
        judge=judge.facts(),
        window=settings["window"],
    )
    write_table(snakemake.output.scores, scores, "response_scores", metadata)
    unanswered = note_unanswered(snakemake.output.scores, scores) if judge_is_asked(judge) else 0
    report.add(items=scores.height, unanswered=unanswered)
