"""Generate every run of one shard."""

from tells.config import GenerationConfig
from tells.jobs import job
from tells.services import shown_url
from tells.startup import starting_up
from tells.tables import make_metadata, read_json, read_table, write_table

settings, wildcards = snakemake.params.settings, snakemake.wildcards

with job(snakemake.log[0], snakemake.output, gpus=snakemake.resources.get("gpu", 0)) as report:
    with starting_up():
        from tells.models.engines import engine_config, open_engine
        from tells.models.engines.finished_rows import finished_rows_path
        from tells.models.runs import sample_prompts

    prompts = read_table(snakemake.input.prompts, "prompts")
    manifest = read_json(snakemake.input.model)
    config = engine_config(settings["engine"], wildcards.experiment)
    finished = finished_rows_path(snakemake.output.samples)
    engine = open_engine(
        snakemake.input.model,
        config,
        gpu_memory_gb=settings["gpu_memory_gb"],
        threads=snakemake.threads,
        seed=settings["seed"],
        finished=finished,
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
    finished.unlink(missing_ok=True)
    if config.base_url:
        report.add(server=shown_url(config.base_url))
    report.add(
        model=manifest["name"],
        runs=samples.height,
        tokens=int(samples["token_ids"].list.len().sum()),
        **engine.facts(),
    )
