"""Agreement: every signal of every sample of all studies, against every outcome.

Reads   the studies' tables, the replay of every collection (of safety too), probes and vectors
Writes  {study}/{collection}/clusters.parquet              1 cluster_replies: safety, and traits with several rollouts
        agreement/probes.safetensors, probes.json          2 train_answer_probes
        agreement/signals.parquet, signals.json            3 measure_signals
        agreement/results.json, results.parquet            4 analyse_agreement
Where `agreement.steer` asks for it, before 4:
        agreement/steering/{collection}/prompts.parquet, samples.parquet                    steer_questions
        …/labels.parquet, clusters.parquet, relations.json, entropy.parquet, outcomes.parquet
                                     grade_steered, cluster_steered, measure_steered_entropy, measure_steered
No study reads any of this.
"""

COMPARED = "experiments/{experiment}/agreement"
COMPARED_LOGS = "logs/{experiment}/agreement"
STEERED = "experiments/{experiment}/agreement/steering/{collection}"
STEERED_LOGS = "logs/{experiment}/agreement/steering/{collection}"


rule cluster_replies:
    """Group free replies to each prompt by meaning."""
    input:
        samples=f"{FOLDER}/samples.parquet",
        prompts=f"{FOLDER}/prompts.parquet",
        models=reply_models,
    output:
        clusters=f"{FOLDER}/clusters.parquet",
    log:
        f"{RIVER_LOGS}/cluster_replies.log",
    benchmark:
        f"{RIVER_LOGS}/cluster_replies.tsv"
    wildcard_constraints:
        study="safety|traits",
    conda:
        ENVIRONMENT
    threads: SITE.threads
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        version=stage_version("cluster_replies"),
        settings=setting("reply_cluster_settings"),
    script:
        "../workflow/scripts/cluster_replies.py"


rule train_answer_probes:
    """The uncertainty study's probes once more, at the end of the answer, where every reply has a state."""
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
        probes=f"{COMPARED}/probes.safetensors",
        record=f"{COMPARED}/probes.json",
    log:
        f"{COMPARED_LOGS}/train_answer_probes.log",
    benchmark:
        f"{COMPARED_LOGS}/train_answer_probes.tsv"
    conda:
        ENVIRONMENT
    threads: SITE.threads
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        version=stage_version("train_answer_probes"),
        settings=setting("probe_settings"),
    script:
        "../workflow/scripts/train_answer_probes.py"


rule measure_signals:
    """Every signal of every sample of every study, and why one is missing."""
    input:
        studies=files_of_signals,
        shards=replayed_shards,
        trained=answer_probes,
    output:
        signals=f"{COMPARED}/signals.parquet",
        facts=f"{COMPARED}/signals.json",
    log:
        f"{COMPARED_LOGS}/measure_signals.log",
    benchmark:
        f"{COMPARED_LOGS}/measure_signals.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        version=stage_version("measure_signals"),
        settings=setting("signal_settings"),
    script:
        "../workflow/scripts/measure_signals.py"


rule steer_questions:
    """Questions of a data set again: unsteered, along the direction of a trait, against it, along random ones."""
    input:
        prompts=f"{COLLECTION}/prompts.parquet",
        # Written anew with the probes, but decided by the settings below alone.
        splits=ancient(f"{STUDY}/splits.parquet"),
        vectors=confidence_vectors("safetensors"),
        record=confidence_vectors("json"),
        model=manifest_of,
    output:
        prompts=f"{STEERED}/prompts.parquet",
        samples=f"{STEERED}/samples.parquet",
    log:
        f"{STEERED_LOGS}/steer_questions.log",
    benchmark:
        f"{STEERED_LOGS}/steer_questions.tsv"
    priority: GPU_FIRST
    conda:
        ENVIRONMENT
    threads: SITE.threads
    resources:
        gpu=1,
        mem_mb=growing(4000),
        runtime=growing(240),
    params:
        version=stage_version("steer_questions"),
        settings=question_steering_settings,
    script:
        "../workflow/scripts/steer_questions.py"


use rule grade as grade_steered with:
    input:
        prompts=f"{STEERED}/prompts.parquet",
        samples=f"{STEERED}/samples.parquet",
    output:
        labels=f"{STEERED}/labels.parquet",
    log:
        f"{STEERED_LOGS}/grade_steered.log",
    benchmark:
        f"{STEERED_LOGS}/grade_steered.tsv"


use rule cluster as cluster_steered with:
    input:
        prompts=f"{STEERED}/prompts.parquet",
        samples=f"{STEERED}/samples.parquet",
        labels=f"{STEERED}/labels.parquet",
        models=clustering_models,
    output:
        clusters=f"{STEERED}/clusters.parquet",
        relations=f"{STEERED}/relations.json",
    log:
        f"{STEERED_LOGS}/cluster_steered.log",
    benchmark:
        f"{STEERED_LOGS}/cluster_steered.tsv"


use rule measure_entropy as measure_steered_entropy with:
    input:
        clusters=f"{STEERED}/clusters.parquet",
        relations=f"{STEERED}/relations.json",
        labels=f"{STEERED}/labels.parquet",
        replay=[],
    output:
        entropy=f"{STEERED}/entropy.parquet",
    log:
        f"{STEERED_LOGS}/measure_steered_entropy.log",
    benchmark:
        f"{STEERED_LOGS}/measure_steered_entropy.tsv"


rule measure_steered:
    """Accuracy, entropy, confidence and length of every question in every arm."""
    input:
        prompts=f"{STEERED}/prompts.parquet",
        samples=f"{STEERED}/samples.parquet",
        labels=f"{STEERED}/labels.parquet",
        entropy=f"{STEERED}/entropy.parquet",
    output:
        outcomes=f"{STEERED}/outcomes.parquet",
    log:
        f"{STEERED_LOGS}/measure_steered.log",
    benchmark:
        f"{STEERED_LOGS}/measure_steered.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        version=stage_version("measure_steered"),
    script:
        "../workflow/scripts/measure_steered.py"


rule analyse_agreement:
    """The one table: every signal against every outcome, and what all of them add to the best one."""
    input:
        signals=f"{COMPARED}/signals.parquet",
        facts=f"{COMPARED}/signals.json",
        steered=steered_outcomes,
    output:
        results=f"{COMPARED}/results.json",
        table=f"{COMPARED}/results.parquet",
    log:
        f"{COMPARED_LOGS}/analyse_agreement.log",
    benchmark:
        f"{COMPARED_LOGS}/analyse_agreement.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        version=stage_version("analyse_agreement"),
        settings=setting("agreement_settings"),
    script:
        "../workflow/scripts/analyse_agreement.py"
