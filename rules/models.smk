"""Models: fetched on the head node, never by a GPU job.

Reads   config/models.yaml
Writes  resources/models/{model}/model.json   source, revision, hashes, where the files lie
"""


rule fetch_model:
    """Make one model ready and write its manifest."""
    output:
        manifest="resources/models/{model}/model.json",
    log:
        "logs/models/{model}/fetch_model.log",
    benchmark:
        "logs/models/{model}/fetch_model.tsv"
    retries: 2
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(3000),
        runtime=growing(120),
    params:
        version=stage_version("fetch_model"),
        entry=lambda wildcards: settings.model_settings(MODELS, wildcards.model),
    script:
        "../workflow/scripts/fetch_model.py"
