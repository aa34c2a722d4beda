"""Safety: several traces per prompt, confidence, refusal and harm, early stopping, four cells.

Reads   {collection}/prompts.parquet, samples.parquet                   the full-budget pool
Writes  {collection}/shards/online-*.parquet, online.parquet            1 sample_adaptively, merge_online: where asked
        {collection}/confidence.parquet                                 2 measure_confidence
        {collection}/{classifier}_labels.parquet                        3 classify, ask_guard: one per classifier
        {collection}/reply_labels.parquet                               4 label
        {collection}/arms.parquet, arms.json, sweep.parquet, any_of_n.parquet   5 compare_arms
        {collection}/strata.parquet, strata.json                        6 stratify
        results.json, results.parquet                                   7 analyse_safety
Labels never re-run sampling; early stopping listens to a detector of its own.
"""

BENCHMARK = "experiments/{experiment}/safety/{collection}"
SAFETY = "experiments/{experiment}/safety"
BENCHMARK_LOGS = "logs/{experiment}/safety/{collection}"
GUARD_MODELS = ("wildguard", "llama_guard")


rule sample_adaptively:
    """Sample one shard once more, with real early stopping."""
    input:
        prompts=f"{BENCHMARK}/shards/prompts-{{shard}}.parquet",
        model=manifest_of,
    output:
        online=f"{BENCHMARK}/shards/online-{{shard}}.parquet",
    log:
        f"{BENCHMARK_LOGS}/sample_adaptively-{{shard}}.log",
    benchmark:
        f"{BENCHMARK_LOGS}/sample_adaptively-{{shard}}.tsv"
    priority: GPU_FIRST
    conda:
        ENVIRONMENT
    threads: SITE.threads
    resources:
        gpu=1,
        mem_mb=growing(4000),
        runtime=growing(240),
    params:
        version=stage_version("sample_adaptively"),
        settings=online_settings,
    script:
        "../workflow/scripts/sample_adaptively.py"


rule merge_online:
    """The traces of online stopping in one table."""
    input:
        shards=shards_of(f"{BENCHMARK}/shards/online-{{shard}}.parquet", study="safety"),
    output:
        table=f"{BENCHMARK}/online.parquet",
    log:
        f"{BENCHMARK_LOGS}/merge_online.log",
    benchmark:
        f"{BENCHMARK_LOGS}/merge_online.tsv"
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


rule measure_confidence:
    """Confidence of every trace and every token, from the log-probabilities of sampling."""
    input:
        samples=f"{BENCHMARK}/samples.parquet",
        model=manifest_of,
    output:
        confidence=f"{BENCHMARK}/confidence.parquet",
    log:
        f"{BENCHMARK_LOGS}/measure_confidence.log",
    benchmark:
        f"{BENCHMARK_LOGS}/measure_confidence.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        version=stage_version("measure_confidence"),
        settings=setting("confidence_settings"),
    script:
        "../workflow/scripts/measure_confidence.py"


rule classify:
    """What one classifier says of every reply: patterns, sentence embeddings, or a judge."""
    input:
        prompts=f"{BENCHMARK}/prompts.parquet",
        confidence=f"{BENCHMARK}/confidence.parquet",
        embedding=classifier_models,
    output:
        labels=f"{BENCHMARK}/{{classifier}}_labels.parquet",
    log:
        f"{BENCHMARK_LOGS}/classify-{{classifier}}.log",
    benchmark:
        f"{BENCHMARK_LOGS}/classify-{{classifier}}.tsv"
    wildcard_constraints:
        classifier="patterns|embedding|judge",
    # Another try would begin a new budget; a service's hiccups are met inside the job.
    retries: 0
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        api=1,
        mem_mb=growing(2000),
        runtime=growing(120),
    params:
        version=stage_version("classify"),
        settings=classify_settings,
        unanswered=unanswered(f"{BENCHMARK}/{{classifier}}_labels.parquet"),
    script:
        "../workflow/scripts/classify.py"


rule ask_guard:
    """What a guard model says of every reply."""
    input:
        prompts=f"{BENCHMARK}/prompts.parquet",
        confidence=f"{BENCHMARK}/confidence.parquet",
        model=classifier_models,
    output:
        labels=f"{BENCHMARK}/{{classifier}}_labels.parquet",
    log:
        f"{BENCHMARK_LOGS}/ask_guard-{{classifier}}.log",
    benchmark:
        f"{BENCHMARK_LOGS}/ask_guard-{{classifier}}.tsv"
    wildcard_constraints:
        classifier=one_of(GUARD_MODELS),
    priority: GPU_FIRST
    conda:
        ENVIRONMENT
    threads: SITE.threads
    resources:
        gpu=1,
        mem_mb=growing(8000),
        runtime=growing(240),
    params:
        version=stage_version("classify"),
        settings=classify_settings,
    script:
        "../workflow/scripts/classify.py"


rule label:
    """The labels that count: one classifier's refusals, another's harm."""
    input:
        prompts=f"{BENCHMARK}/prompts.parquet",
        confidence=f"{BENCHMARK}/confidence.parquet",
        labels=classified,
    output:
        labels=f"{BENCHMARK}/reply_labels.parquet",
    log:
        f"{BENCHMARK_LOGS}/label.log",
    benchmark:
        f"{BENCHMARK_LOGS}/label.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        version=stage_version("label"),
        settings=setting("label_settings"),
    script:
        "../workflow/scripts/label.py"


rule compare_arms:
    """Single, fixed and adaptive sampling on many orders of the pool; online sampling beside them."""
    input:
        prompts=f"{BENCHMARK}/prompts.parquet",
        confidence=f"{BENCHMARK}/confidence.parquet",
        labels=f"{BENCHMARK}/reply_labels.parquet",
        online=where_online(f"{BENCHMARK}/online.parquet"),
        samples=where_online(f"{BENCHMARK}/samples.parquet"),
    output:
        arms=f"{BENCHMARK}/arms.parquet",
        sweep=f"{BENCHMARK}/sweep.parquet",
        any_of_n=f"{BENCHMARK}/any_of_n.parquet",
        summary=f"{BENCHMARK}/arms.json",
    log:
        f"{BENCHMARK_LOGS}/compare_arms.log",
    benchmark:
        f"{BENCHMARK_LOGS}/compare_arms.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(3000),
        runtime=growing(120),
    params:
        version=stage_version("compare_arms"),
        settings=setting("arms_settings"),
    script:
        "../workflow/scripts/compare_arms.py"


rule stratify:
    """The four cells, and whether unsure compliance is riskier."""
    input:
        confidence=f"{BENCHMARK}/confidence.parquet",
        labels=f"{BENCHMARK}/reply_labels.parquet",
    output:
        strata=f"{BENCHMARK}/strata.parquet",
        summary=f"{BENCHMARK}/strata.json",
    log:
        f"{BENCHMARK_LOGS}/stratify.log",
    benchmark:
        f"{BENCHMARK_LOGS}/stratify.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        version=stage_version("stratify"),
        settings=setting("strata_settings"),
    script:
        "../workflow/scripts/stratify.py"


rule analyse_safety:
    """The safety study's results: every benchmark in one file, every trace in one table."""
    input:
        strata=of_benchmarks("strata.json"),
        arms=of_benchmarks("arms.json"),
        traces=of_benchmarks("strata.parquet"),
        confidence=of_benchmarks("confidence.parquet"),
    output:
        results=f"{SAFETY}/results.json",
        table=f"{SAFETY}/results.parquet",
    log:
        "logs/{experiment}/safety/analyse_safety.log",
    benchmark:
        "logs/{experiment}/safety/analyse_safety.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        version=stage_version("analyse_safety"),
    script:
        "../workflow/scripts/analyse_safety.py"
