"""Write the prompts table of a collection and its shards."""

import os
from pathlib import Path

from tells.jobs import job
from tells.safety import benchmarks
from tells.shards import write_shards
from tells.tables import make_metadata, write_table
from tells.traits import scenarios
from tells.uncertainty import questions

os.environ.pop("HF_HUB_OFFLINE", None)
settings, wildcards = snakemake.params.settings, snakemake.wildcards

with job(snakemake.log[0], snakemake.output) as report:
    if wildcards.study == "traits":
        trait = scenarios.load_trait(Path(snakemake.input[0]).parent)
        prompts, data = scenarios.build_prompts(trait, limit=settings["limit"]), None
    elif wildcards.study == "safety":
        prompts, data = benchmarks.prompts_of(settings)
    else:
        prompts, data = questions.prompts_of(settings)
    metadata = make_metadata(
        "prompts",
        params={key: value for key, value in settings.items() if key != "shard_size"},
        inputs=snakemake.input if data is None else snakemake.input[:1],
        experiment=wildcards.experiment,
        data=data,
    )
    shards = write_shards(snakemake.output.prompts, prompts, settings["shard_size"], metadata)
    write_table(snakemake.output.prompts, prompts, "prompts", {**metadata, "shards": shards})
    report.add(prompts=prompts.height, shards=shards)
