"""The river that all studies share: prompts, samples, replay.

Reads   what a collection asks                                  (study)
Writes  {study}/{collection}/prompts.parquet, shards/prompts-*  1 prompts: the one checkpoint, decides the shards
        shards/samples-*.parquet                                2 sample_shard: an engine generates
        shards/replay-*.parquet, .safetensors                   3 replay_shard: hidden states, exact entropies
        samples.parquet, replay.parquet                         4 merge: tables only, tensors stay in shards
"""


checkpoint prompts:
    """What to ask, with everything known about it; a shard is rewritten only when its bytes differ."""
    input:
        prompt_files,
    output:
        prompts=f"{FOLDER}/prompts.parquet",
    log:
        f"{RIVER_LOGS}/prompts.log",
    benchmark:
        f"{RIVER_LOGS}/prompts.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        version=stage_version("prompts"),
        settings=prompt_settings,
    script:
        "../workflow/scripts/prompts.py"


rule sample_shard:
    """Generate every run of one shard."""
    input:
        prompts=f"{FOLDER}/shards/prompts-{{shard}}.parquet",
        model=manifest_of,
    output:
        samples=f"{FOLDER}/shards/samples-{{shard}}.parquet",
    log:
        f"{RIVER_LOGS}/sample_shard-{{shard}}.log",
    benchmark:
        f"{RIVER_LOGS}/sample_shard-{{shard}}.tsv"
    priority: GPU_FIRST
    conda:
        ENVIRONMENT
    threads: sampling_threads
    resources:
        gpu=sampling_gpus,
        served=sampling_clients,
        mem_mb=sampling_memory,
        runtime=growing(240),
    params:
        version=stage_version("sample"),
        settings=sample_settings,
    script:
        "../workflow/scripts/sample_shard.py"


rule replay_shard:
    """One teacher-forced pass over the runs of one shard."""
    input:
        samples=f"{FOLDER}/shards/samples-{{shard}}.parquet",
        model=manifest_of,
    output:
        replay=f"{FOLDER}/shards/replay-{{shard}}.parquet",
        states=f"{FOLDER}/shards/replay-{{shard}}.safetensors",
    log:
        f"{RIVER_LOGS}/replay_shard-{{shard}}.log",
    benchmark:
        f"{RIVER_LOGS}/replay_shard-{{shard}}.tsv"
    priority: GPU_FIRST
    conda:
        ENVIRONMENT
    threads: SITE.threads
    resources:
        gpu=1,
        mem_mb=growing(4000),
        runtime=growing(240),
    params:
        version=stage_version("replay"),
        settings=replay_settings,
    script:
        "../workflow/scripts/replay_shard.py"


rule merge_samples:
    """All samples of a collection in one table; a user's own samples take the place of ours."""
    input:
        shards=sampled_shards,
        prompts=f"{FOLDER}/prompts.parquet",
    output:
        table=f"{FOLDER}/samples.parquet",
    log:
        f"{RIVER_LOGS}/merge_samples.log",
    benchmark:
        f"{RIVER_LOGS}/merge_samples.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        version=stage_version("merge"),
    script:
        "../workflow/scripts/merge_shards.py"


rule merge_replay:
    """The replay tables of a collection in one; tensors stay in their shards."""
    input:
        shards=shards_of(f"{FOLDER}/shards/replay-{{shard}}.parquet"),
    output:
        table=f"{FOLDER}/replay.parquet",
    log:
        f"{RIVER_LOGS}/merge_replay.log",
    benchmark:
        f"{RIVER_LOGS}/merge_replay.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        version=stage_version("merge"),
    script:
        "../workflow/scripts/merge_shards.py"
