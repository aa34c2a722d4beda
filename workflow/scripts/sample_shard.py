"""Generate every run of one shard."""

from tells.config import EngineConfig, GenerationConfig
from tells.jobs import job
from tells.tables import make_metadata, read_json, read_table, write_table

settings, wildcards = snakemake.params.settings, snakemake.wildcards

with job(snakemake.log[0], snakemake.output) as report:
    from tells.models.engines import open_engine
    from tells.models.runs import sample_prompts

    prompts = read_table(snakemake.input.prompts, "prompts")
    manifest = read_json(snakemake.input.model)
    engine = open_engine(
        snakemake.input.model,
        EngineConfig.model_validate(settings["engine"]),
        gpu_memory_gb=settings["gpu_memory_gb"],
        threads=snakemake.threads,
        seed=settings["seed"],
    )
    samples, facts = sample_prompts(
        prompts,
        engine,
        manifest,
        names=(wildcards.study, wildcards.collection),
        seed=settings["seed"],
        samples=settings["samples"],
        greedy=settings["greedy"],
        settings=GenerationConfig.model_validate(settings["generation"]),
        prompt=settings["prompt"],
        top_logprobs=settings["engine"]["top_logprobs"],
    )
    metadata = make_metadata(
        "sample",
        params=settings,
        inputs=snakemake.input,
        experiment=wildcards.experiment,
        model={"name": manifest["name"], "revision": manifest["revision"]},
        seed=settings["seed"],
        engine=engine.facts(),
        **facts,
    )
    write_table(snakemake.output.samples, samples, "samples", metadata)
    report.add(runs=samples.height, tokens=int(samples["token_ids"].list.len().sum()), **engine.facts())
