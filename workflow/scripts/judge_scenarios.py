"""What each scenario of a trait will draw out, by the judge."""

from pathlib import Path

from tells.jobs import job
from tells.judge.experiment import judge_is_asked, judge_of
from tells.tables import make_metadata, read_table, write_table
from tells.traits.files import note_unanswered, read_rubric
from tells.traits.judging import judge_texts

settings, wildcards = snakemake.params.settings, snakemake.wildcards

with job(snakemake.log[0], snakemake.output) as report:
    judge = judge_of(
        wildcards.experiment,
        snakemake.config,
        writer=f"{wildcards.experiment}/{wildcards.collection}/scenarios",
        embedding=snakemake.input.embedding,
    )
    report.follow(lambda: vars(judge.usage))
    prompts = read_table(snakemake.input.prompts, "prompts")
    rubric = read_rubric(Path.cwd(), wildcards.collection)
    texts = {(row["prompt_id"],): row["text"] for row in prompts.iter_rows(named=True)}
    scores = judge_texts(judge, rubric, texts, "scenario", "scenario_scores")
    metadata = make_metadata(
        "judge_scenarios",
        params={**settings, "rubric": snakemake.params.rubric},
        inputs=[snakemake.input.prompts],
        experiment=wildcards.experiment,
        judge=judge.facts(),
    )
    write_table(snakemake.output.scores, scores, "scenario_scores", metadata)
    unanswered = note_unanswered(snakemake.output.scores, scores) if judge_is_asked(judge) else 0
    report.add(items=scores.height, unanswered=unanswered)
