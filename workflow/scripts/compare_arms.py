"""Single, fixed and adaptive sampling on many orders of the pool, and online sampling beside them."""

import polars as pl

from tells.config.safety import StoppingConfig
from tells.jobs import job
from tells.safety.arms import simulate_arms
from tells.safety.arms_summary import arms_summary
from tells.safety.online_arm import online_arm
from tells.safety.pools import build_pools
from tells.safety.sweep import any_of_n_table, sweep_pools
from tells.tables import make_metadata, read_metadata, read_table, write_json, write_table

settings = snakemake.params.settings
stopping = StoppingConfig.model_validate(settings["stopping"])
size = {"window": settings["window"], "budget": settings["budget"]}
drawn = {"bootstrap": settings["bootstrap"], "level": settings["level"], "seed": settings["seed"]}

with job(snakemake.log[0], snakemake.output) as report:
    confidence = read_table(snakemake.input.confidence, "confidence")
    labels = read_table(snakemake.input.labels, "reply_labels")
    facts = read_metadata(snakemake.input.labels)
    pools = build_pools(confidence, labels, **size)
    arms = simulate_arms(pools, stopping, seed=settings["seed"])
    if snakemake.input.online:
        online = read_table(snakemake.input.online[0], "online")
        samples = read_table(snakemake.input.samples[0], "samples", ["prompt_id", "sample", "token_ids"])
        arms = pl.concat([arms, online_arm(online, samples, confidence, labels, **size)])
    metadata = make_metadata(
        "compare_arms",
        params=settings,
        inputs=snakemake.input,
        experiment=snakemake.wildcards.experiment,
        model=facts["model"],
        seed=settings["seed"],
        classifiers=facts["classifiers"],
    )
    write_table(snakemake.output.arms, arms, "arms", metadata)
    sweep = sweep_pools(pools, stopping, seed=settings["seed"])
    write_table(snakemake.output.sweep, sweep, "sweep", metadata)
    write_table(snakemake.output.any_of_n, any_of_n_table(labels, **drawn), "any_of_n", metadata)
    summary = {"arms": arms_summary(arms, **drawn), "stopping": {**settings["stopping"], **size}}
    write_json(snakemake.output.summary, summary, metadata=metadata)
    report.add(prompts=len(pools), draws=stopping.draws)
