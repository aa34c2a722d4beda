"""Group the answers of each question by meaning."""

from tells.jobs import job
from tells.judge.experiment import judge_of
from tells.startup import starting_up
from tells.tables import make_metadata, read_json, read_metadata, read_table, write_json, write_table
from tells.uncertainty.clustering import cluster_runs

settings = snakemake.params.settings
# A writer's file in the judge's cache is its own: both jobs of a collection may run at once.
asked = "entailment" if snakemake.rule == "cluster" else "steered-entailment"

with job(snakemake.log[0], snakemake.output) as report:
    prompts = read_table(snakemake.input.prompts, "prompts")
    facts = read_metadata(snakemake.input.samples)
    method = settings[prompts["grader"][0]]
    models = {}
    if method == "nli":
        from tells.uncertainty.entailment import EntailmentClassifier, load_entailment_model

        manifest = read_json(snakemake.input.models[0])
        models["classifier"] = EntailmentClassifier(*load_entailment_model(manifest["path"]), name=manifest["name"])
    if method == "cosine":
        manifest = read_json(snakemake.input.models[0])
        with starting_up(manifest["name"]):
            from sentence_transformers import SentenceTransformer

            embedder = SentenceTransformer(manifest["path"], device="cpu")
        models = {"embedder": embedder, "embedder_name": manifest["name"]}
    if method == "judge":
        models["judge"] = judge_of(
            snakemake.wildcards.experiment,
            snakemake.config,
            writer=f"{snakemake.wildcards.experiment}/{snakemake.wildcards.collection}/{asked}",
        )
        report.follow(lambda: vars(models["judge"].usage))
    clusters, relations, diagnostics = cluster_runs(
        read_table(snakemake.input.labels, "labels"),
        prompts,
        read_table(snakemake.input.samples, "samples"),
        method=method,
        strict=settings["strict"],
        policy=settings["policy"],
        threshold=settings["threshold"],
        **models,
    )
    metadata = make_metadata(
        "cluster",
        params=settings,
        inputs=[snakemake.input.labels, *snakemake.input.models],
        experiment=snakemake.wildcards.experiment,
        model=facts["model"],
        seed=facts["seed"],
        diagnostics=diagnostics,
    )
    write_table(snakemake.output.clusters, clusters, "clusters", metadata)
    matrices = {prompt_id: relation.tolist() for prompt_id, relation in relations.items()}
    write_json(snakemake.output.relations, {"relations": matrices}, metadata=metadata)
    report.add(questions=prompts.height)
