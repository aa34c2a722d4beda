"""Uncertainty: from samples to probes that see it coming.

Reads   {collection}/prompts.parquet, samples.parquet, replay.parquet, shards/replay-*.safetensors
Writes  {collection}/labels.parquet            1 grade
        {collection}/clusters.parquet          2 cluster
        {collection}/entropy.parquet           3 measure_entropy
        {collection}/p_true.parquet            4 ask_p_true, merge_p_true
        probes.safetensors, probes.json, splits.parquet   5 train_probes
        evaluation.json, scores.parquet        6 evaluate_probes
        map.parquet                            7 map_states
        results.json, results.parquet          8 analyse_uncertainty
"""


rule grade:
    """Parse and grade every run."""
    input:
        prompts=f"{COLLECTION}/prompts.parquet",
        samples=f"{COLLECTION}/samples.parquet",
    output:
        labels=f"{COLLECTION}/labels.parquet",
    log:
        f"{LOGS}/grade.log",
    benchmark:
        f"{LOGS}/grade.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        version=stage_version("grade"),
    script:
        "../workflow/scripts/grade.py"


rule cluster:
    """Group the answers of each question by meaning."""
    input:
        prompts=f"{COLLECTION}/prompts.parquet",
        samples=f"{COLLECTION}/samples.parquet",
        labels=f"{COLLECTION}/labels.parquet",
        models=clustering_models,
    output:
        clusters=f"{COLLECTION}/clusters.parquet",
        relations=f"{COLLECTION}/relations.json",
    log:
        f"{LOGS}/cluster.log",
    benchmark:
        f"{LOGS}/cluster.tsv"
    conda:
        ENVIRONMENT
    threads: SITE.threads
    resources:
        api=clustering_calls,
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        version=stage_version("cluster"),
        settings=setting("cluster_settings"),
    script:
        "../workflow/scripts/cluster.py"


rule measure_entropy:
    """Entropies of every question."""
    input:
        clusters=f"{COLLECTION}/clusters.parquet",
        relations=f"{COLLECTION}/relations.json",
        labels=f"{COLLECTION}/labels.parquet",
        replay=of_sampled(f"{COLLECTION}/replay.parquet"),
    output:
        entropy=f"{COLLECTION}/entropy.parquet",
    log:
        f"{LOGS}/measure_entropy.log",
    benchmark:
        f"{LOGS}/measure_entropy.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        version=stage_version("entropy"),
        min_valid=lambda wildcards: EXPERIMENTS[wildcards.experiment].uncertainty.min_valid,
    script:
        "../workflow/scripts/measure_entropy.py"


rule ask_p_true:
    """Show the model its own answers: are they true?"""
    input:
        prompts=f"{COLLECTION}/shards/prompts-{{shard}}.parquet",
        samples=f"{COLLECTION}/shards/samples-{{shard}}.parquet",
        questions=lambda wildcards: collection_of(wildcards).questions,
        model=manifest_of,
    output:
        p_true=f"{COLLECTION}/shards/p_true-{{shard}}.parquet",
    log:
        f"{LOGS}/ask_p_true-{{shard}}.log",
    benchmark:
        f"{LOGS}/ask_p_true-{{shard}}.tsv"
    priority: GPU_FIRST
    conda:
        ENVIRONMENT
    threads: SITE.threads
    resources:
        gpu=1,
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        version=stage_version("p_true"),
        settings=p_true_settings,
    script:
        "../workflow/scripts/ask_p_true.py"


rule merge_p_true:
    """P(True) of a collection in one table."""
    input:
        shards=shards_of(f"{COLLECTION}/shards/p_true-{{shard}}.parquet"),
    output:
        table=f"{COLLECTION}/p_true.parquet",
    log:
        f"{LOGS}/merge_p_true.log",
    benchmark:
        f"{LOGS}/merge_p_true.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        version=stage_version("merge"),
    script:
        "../workflow/scripts/merge_shards.py"


rule train_probes:
    """Split the questions, train every probe on hidden states; the test questions stay untouched."""
    input:
        labels=in_study("labels.parquet"),
        entropy=in_study("entropy.parquet"),
        clusters=in_study("clusters.parquet"),
        replay=in_study("replay.parquet", replayed=True),
        p_true=in_study("p_true.parquet", asked=True),
        states=states_of_study,
    output:
        probes=f"{STUDY}/probes.safetensors",
        record=f"{STUDY}/probes.json",
        splits=f"{STUDY}/splits.parquet",
    log:
        f"{STUDY_LOGS}/train_probes.log",
    benchmark:
        f"{STUDY_LOGS}/train_probes.tsv"
    conda:
        ENVIRONMENT
    threads: SITE.threads
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        version=stage_version("train_probes"),
        settings=setting("probe_settings"),
    script:
        "../workflow/scripts/train_probes.py"


rule evaluate_probes:
    """Every probe and baseline on the held-out questions, in and out of distribution."""
    input:
        labels=in_study("labels.parquet"),
        entropy=in_study("entropy.parquet"),
        clusters=in_study("clusters.parquet"),
        replay=in_study("replay.parquet", replayed=True),
        p_true=in_study("p_true.parquet", asked=True),
        states=states_of_study,
        probes=f"{STUDY}/probes.safetensors",
        record=f"{STUDY}/probes.json",
        splits=f"{STUDY}/splits.parquet",
    output:
        evaluation=f"{STUDY}/evaluation.json",
        scores=f"{STUDY}/scores.parquet",
        curves=f"{STUDY}/curves.parquet",
    log:
        f"{STUDY_LOGS}/evaluate_probes.log",
    benchmark:
        f"{STUDY_LOGS}/evaluate_probes.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        version=stage_version("evaluate_probes"),
        settings=setting("evaluation_settings"),
    script:
        "../workflow/scripts/evaluate_probes.py"


rule map_states:
    """UMAP of hidden states where the accuracy probe reads them; for pictures only."""
    input:
        labels=in_study("labels.parquet"),
        entropy=in_study("entropy.parquet"),
        clusters=in_study("clusters.parquet"),
        replay=in_study("replay.parquet", replayed=True),
        p_true=in_study("p_true.parquet", asked=True),
        states=states_of_study,
        record=f"{STUDY}/probes.json",
        splits=f"{STUDY}/splits.parquet",
    output:
        map=f"{STUDY}/map.parquet",
    log:
        f"{STUDY_LOGS}/map_states.log",
    benchmark:
        f"{STUDY_LOGS}/map_states.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        version=stage_version("map_states"),
        settings=setting("map_settings"),
    script:
        "../workflow/scripts/map_states.py"


rule analyse_uncertainty:
    """The study's results in one JSON and one table."""
    input:
        labels=in_study("labels.parquet"),
        entropy=in_study("entropy.parquet"),
        clusters=in_study("clusters.parquet"),
        replay=in_study("replay.parquet", replayed=True),
        p_true=in_study("p_true.parquet", asked=True),
        prompts=in_study("prompts.parquet"),
        probes=f"{STUDY}/probes.safetensors",
        record=f"{STUDY}/probes.json",
        splits=f"{STUDY}/splits.parquet",
        evaluation=f"{STUDY}/evaluation.json",
        scores=f"{STUDY}/scores.parquet",
        map=f"{STUDY}/map.parquet",
    output:
        results=f"{STUDY}/results.json",
        table=f"{STUDY}/results.parquet",
    log:
        f"{STUDY_LOGS}/analyse_uncertainty.log",
    benchmark:
        f"{STUDY_LOGS}/analyse_uncertainty.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        version=stage_version("analyse_uncertainty"),
        settings=setting("analysis_settings"),
    script:
        "../workflow/scripts/analyse_uncertainty.py"
