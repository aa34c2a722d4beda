"""Write the prompts table of a collection and its shards."""

import os

from tells.jobs import job
from tells.shards import write_shards
from tells.tables import make_metadata, write_table
from tells.uncertainty.questions import build_prompts, load_question_set, read_questions, read_samples

os.environ.pop("HF_HUB_OFFLINE", None)
settings, wildcards = snakemake.params.settings, snakemake.wildcards

with job(snakemake.log[0], snakemake.output) as report:
    question_set = load_question_set(settings["questions"])
    if settings["samples"]:
        questions, _ = read_samples(settings["samples"])
    else:
        questions = read_questions(question_set, path=settings["path"])
    prompts = build_prompts(
        questions,
        question_set,
        prompt=settings["prompt"],
        system_prompt=settings["system_prompt"],
        limit=settings["limit"],
    )
    metadata = make_metadata(
        "prompts",
        params={key: value for key, value in settings.items() if key != "shard_size"},
        inputs=[settings["questions"]],
        experiment=wildcards.experiment,
        data={"sha256": questions.file_digest, "revision": questions.revision},
    )
    shards = write_shards(snakemake.output.prompts, prompts, settings["shard_size"], metadata)
    write_table(snakemake.output.prompts, prompts, "prompts", {**metadata, "shards": shards})
    report.add(questions=prompts.height, shards=shards)
