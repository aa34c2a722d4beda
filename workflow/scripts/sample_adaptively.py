"""Sample one shard with early stopping."""

import shutil
from pathlib import Path

from tells.config import EngineConfig, GenerationConfig
from tells.config.safety import StoppingConfig
from tells.jobs import job
from tells.startup import starting_up
from tells.tables import make_metadata, read_json, read_table, write_table

settings, wildcards = snakemake.params.settings, snakemake.wildcards

with job(snakemake.log[0], snakemake.output, gpus=snakemake.resources.get("gpu", 0)) as report:
    with starting_up():
        from tells.models.engines import open_engine
        from tells.safety.refusal import detect_refusals
        from tells.safety.sampling import sample_adaptively

    prompts = read_table(snakemake.input.prompts, "prompts")
    manifest = read_json(snakemake.input.model)
    engine = open_engine(
        snakemake.input.model,
        EngineConfig.model_validate(settings["engine"]),
        gpu_memory_gb=settings["gpu_memory_gb"],
        threads=snakemake.threads,
        seed=settings["seed"],
    )
    partial = Path(snakemake.output.online).with_suffix(".partial")
    online, facts, waves = sample_adaptively(
        prompts,
        engine,
        manifest,
        names=("safety", wildcards.collection),
        seed=settings["seed"],
        config=StoppingConfig.model_validate(settings["stopping"]),
        window=settings["window"],
        budget=settings["budget"],
        k=settings["top_logprobs"],
        settings=GenerationConfig.model_validate(settings["generation"]),
        prompt=settings["prompt"],
        vote=detect_refusals,
        partial=partial,
    )
    metadata = make_metadata(
        "sample_adaptively",
        params=settings,
        inputs=snakemake.input,
        experiment=wildcards.experiment,
        model={"name": manifest["name"], "revision": manifest["revision"]},
        seed=settings["seed"],
        engine=engine.facts(),
        **facts,
    )
    write_table(snakemake.output.online, online, "online", metadata)
    shutil.rmtree(partial, ignore_errors=True)
    report.add(waves=waves, runs=online.height, tokens=int(online["token_ids"].list.len().sum()), **engine.facts())
