"""Traits: from scenarios to directions proved by steering.

Reads   config/traits/{category}/{name}/…, {collection}/prompts.parquet, samples.parquet, shards/replay-*
Writes  {collection}/scenario_scores.parquet, response_scores.parquet   1 judge_scenarios, judge_responses
        {collection}/vetting.parquet, vetting.json                      2 vet
        {collection}/explanations.json                                  3 explain_failures, where a judge can explain
        {collection}/vectors.safetensors, vectors.json                  4 extract_vectors
        {collection}/steering/search.parquet, search_scores.parquet     5 generate_steered, judge_steered
        {collection}/steering/choice.json                               6 choose
        {collection}/steering/report.parquet, report_scores.parquet     7 report_steered, judge_report
        {collection}/summary.json                                       8 summarise_trait
        results.json, results.parquet                                   9 analyse_traits
Judging waits for no GPU and no GPU for a judge, but where its choice decides what is generated next.
"""

TRAIT = "experiments/{experiment}/traits/{collection}"
TRAITS = "experiments/{experiment}/traits"
TRAIT_LOGS = "logs/{experiment}/traits/{collection}"
TRAIT_QUESTIONS = "config/traits/{collection}/questions.yaml"


rule judge_scenarios:
    """What each scenario will draw out."""
    input:
        prompts=f"{TRAIT}/prompts.parquet",
        embedding=judge_models,
    output:
        scores=f"{TRAIT}/scenario_scores.parquet",
    log:
        f"{TRAIT_LOGS}/judge_scenarios.log",
    benchmark:
        f"{TRAIT_LOGS}/judge_scenarios.tsv"
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
        version=stage_version("judge_scenarios"),
        settings=setting("judge_settings"),
        rubric=told_rubric,
        unanswered=unanswered(f"{TRAIT}/scenario_scores.parquet"),
    script:
        "../workflow/scripts/judge_scenarios.py"


rule judge_responses:
    """How strongly the window of each response shows the trait."""
    input:
        samples=f"{TRAIT}/samples.parquet",
        model=manifest_of,
        embedding=judge_models,
    output:
        scores=f"{TRAIT}/response_scores.parquet",
    log:
        f"{TRAIT_LOGS}/judge_responses.log",
    benchmark:
        f"{TRAIT_LOGS}/judge_responses.tsv"
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
        version=stage_version("judge_responses"),
        settings=setting("response_judge_settings"),
        rubric=told_rubric,
        unanswered=unanswered(f"{TRAIT}/response_scores.parquet"),
    script:
        "../workflow/scripts/judge_responses.py"


rule vet:
    """Which responses enter the vectors; the same predicate gives the rates."""
    input:
        prompts=f"{TRAIT}/prompts.parquet",
        samples=f"{TRAIT}/samples.parquet",
        scenario_scores=vetted("scenarios", f"{TRAIT}/scenario_scores.parquet"),
        response_scores=vetted("responses", f"{TRAIT}/response_scores.parquet"),
    output:
        table=f"{TRAIT}/vetting.parquet",
        record=f"{TRAIT}/vetting.json",
    log:
        f"{TRAIT_LOGS}/vet.log",
    benchmark:
        f"{TRAIT_LOGS}/vet.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        version=stage_version("vet"),
        settings=setting("vet_settings"),
    script:
        "../workflow/scripts/vet.py"


rule explain_failures:
    """A second question about what failed: why, and what it was mistaken for. Enters no score."""
    input:
        vetting=f"{TRAIT}/vetting.parquet",
        samples=f"{TRAIT}/samples.parquet",
        model=manifest_of,
    output:
        explanations=f"{TRAIT}/explanations.json",
    log:
        f"{TRAIT_LOGS}/explain_failures.log",
    benchmark:
        f"{TRAIT_LOGS}/explain_failures.tsv"
    # Another try would begin a new budget; a service's hiccups are met inside the job.
    retries: 0
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        api=1,
        mem_mb=growing(1000),
        runtime=growing(60),
    params:
        version=stage_version("explain_failures"),
        settings=setting("explain_settings"),
        rubric=told_rubric,
    script:
        "../workflow/scripts/explain_failures.py"


rule extract_vectors:
    """A direction per layer and method, and how well it separates scenarios it has not seen."""
    input:
        vetting=f"{TRAIT}/vetting.parquet",
        vetting_record=f"{TRAIT}/vetting.json",
        prompts=f"{TRAIT}/prompts.parquet",
        replay=shards_of(f"{TRAIT}/shards/replay-{{shard}}.parquet", study="traits"),
        states=shards_of(f"{TRAIT}/shards/replay-{{shard}}.safetensors", study="traits"),
    output:
        vectors=f"{TRAIT}/vectors.safetensors",
        record=f"{TRAIT}/vectors.json",
    log:
        f"{TRAIT_LOGS}/extract_vectors.log",
    benchmark:
        f"{TRAIT_LOGS}/extract_vectors.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        version=stage_version("extract_vectors"),
        settings=setting("vector_settings"),
    script:
        "../workflow/scripts/extract_vectors.py"


rule generate_steered:
    """Answers to the search questions at every point of the grid, as rows of batches."""
    input:
        vectors=f"{TRAIT}/vectors.safetensors",
        record=f"{TRAIT}/vectors.json",
        questions=TRAIT_QUESTIONS,
        model=steered_manifest,
    output:
        answers=f"{TRAIT}/steering/search.parquet",
    log:
        f"{TRAIT_LOGS}/generate_steered.log",
    benchmark:
        f"{TRAIT_LOGS}/generate_steered.tsv"
    priority: GPU_FIRST
    conda:
        ENVIRONMENT
    threads: SITE.threads
    resources:
        gpu=1,
        mem_mb=growing(4000),
        runtime=growing(240),
    params:
        version=stage_version("generate_steered"),
        settings=search_settings,
    script:
        "../workflow/scripts/generate_steered.py"


rule judge_steered:
    """Trait and coherence of the answers at every point of the grid."""
    input:
        answers=f"{TRAIT}/steering/search.parquet",
        references=f"{TRAIT}/steering/search.parquet",
        embedding=judge_models,
    output:
        scores=f"{TRAIT}/steering/search_scores.parquet",
    log:
        f"{TRAIT_LOGS}/judge_steered.log",
    benchmark:
        f"{TRAIT_LOGS}/judge_steered.tsv"
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
        version=stage_version("judge_steered"),
        settings=setting("judge_settings"),
        rubric=told_rubric,
        unanswered=unanswered(f"{TRAIT}/steering/search_scores.parquet"),
    script:
        "../workflow/scripts/judge_steered.py"


rule choose:
    """The best valid point of the grid, or that there is none."""
    input:
        answers=f"{TRAIT}/steering/search.parquet",
        scores=f"{TRAIT}/steering/search_scores.parquet",
    output:
        choice=f"{TRAIT}/steering/choice.json",
    log:
        f"{TRAIT_LOGS}/choose.log",
    benchmark:
        f"{TRAIT_LOGS}/choose.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        version=stage_version("choose"),
        settings=setting("choose_settings"),
    script:
        "../workflow/scripts/choose.py"


rule report_steered:
    """Answers to the report questions: the chosen point, random vectors of its norm, plain prompting, nothing."""
    input:
        choice=f"{TRAIT}/steering/choice.json",
        vectors=f"{TRAIT}/vectors.safetensors",
        questions=TRAIT_QUESTIONS,
        model=steered_manifest,
    output:
        answers=f"{TRAIT}/steering/report.parquet",
    log:
        f"{TRAIT_LOGS}/report_steered.log",
    benchmark:
        f"{TRAIT_LOGS}/report_steered.tsv"
    priority: GPU_FIRST
    conda:
        ENVIRONMENT
    threads: SITE.threads
    resources:
        gpu=1,
        mem_mb=growing(4000),
        runtime=growing(240),
    params:
        version=stage_version("report_steered"),
        settings=report_settings,
    script:
        "../workflow/scripts/report_steered.py"


rule judge_report:
    """Trait and coherence of the answers to the report questions."""
    input:
        answers=f"{TRAIT}/steering/report.parquet",
        references=f"{TRAIT}/steering/search.parquet",
        embedding=judge_models,
    output:
        scores=f"{TRAIT}/steering/report_scores.parquet",
    log:
        f"{TRAIT_LOGS}/judge_report.log",
    benchmark:
        f"{TRAIT_LOGS}/judge_report.tsv"
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
        version=stage_version("judge_steered"),
        settings=setting("judge_settings"),
        rubric=told_rubric,
        unanswered=unanswered(f"{TRAIT}/steering/report_scores.parquet"),
    script:
        "../workflow/scripts/judge_steered.py"


rule summarise_trait:
    """Everything about one trait on a page."""
    input:
        vetting=f"{TRAIT}/vetting.json",
        explanations=explained(f"{TRAIT}/explanations.json"),
        record=f"{TRAIT}/vectors.json",
        choice=steered(f"{TRAIT}/steering/choice.json"),
        answers=steered(f"{TRAIT}/steering/report.parquet"),
        scores=steered(f"{TRAIT}/steering/report_scores.parquet"),
    output:
        summary=f"{TRAIT}/summary.json",
    log:
        f"{TRAIT_LOGS}/summarise_trait.log",
    benchmark:
        f"{TRAIT_LOGS}/summarise_trait.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        version=stage_version("summarise_trait"),
        settings=setting("summary_settings"),
    script:
        "../workflow/scripts/summarise_trait.py"


rule analyse_traits:
    """The study's results: every trait in one table, and the cosines between their vectors."""
    input:
        summaries=of_traits("summary.json"),
        vectors=of_traits("vectors.safetensors"),
    output:
        results=f"{TRAITS}/results.json",
        table=f"{TRAITS}/results.parquet",
    log:
        "logs/{experiment}/traits/analyse_traits.log",
    benchmark:
        "logs/{experiment}/traits/analyse_traits.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        version=stage_version("analyse_traits"),
    script:
        "../workflow/scripts/analyse_traits.py"
