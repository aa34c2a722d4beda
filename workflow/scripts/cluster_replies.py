"""Group free replies to each prompt by meaning."""

from tells.agreement.reply_clusters import Encoder, cluster_replies
from tells.jobs import job
from tells.tables import make_metadata, read_json, read_metadata, read_table, write_table

settings = snakemake.params.settings

with job(snakemake.log[0], snakemake.output) as report:
    facts = read_metadata(snakemake.input.samples)
    manifest = read_json(snakemake.input.models[0])
    if settings["method"] == "nli":
        from tells.uncertainty.entailment import EntailmentClassifier, load_entailment_model

        classifier = EntailmentClassifier(*load_entailment_model(manifest["path"]), name=manifest["name"])
        own = {"classifier": classifier, "strict": settings["strict"], "policy": settings["policy"]}
    else:
        own = {"embedder": Encoder(manifest["path"]), "embedder_name": manifest["name"]}
        own["threshold"] = settings["threshold"]
    clusters, diagnostics = cluster_replies(
        read_table(snakemake.input.samples, "samples"),
        read_table(snakemake.input.prompts, "prompts"),
        opened=facts["opened"],
        think_end=facts["think_end"],
        method=settings["method"],
        **own,
    )
    metadata = make_metadata(
        "cluster_replies",
        params=settings,
        inputs=[snakemake.input.samples, *snakemake.input.models],
        experiment=snakemake.wildcards.experiment,
        model=facts["model"],
        seed=facts["seed"],
        diagnostics=diagnostics,
    )
    write_table(snakemake.output.clusters, clusters, "clusters", metadata)
    report.add(replies=clusters.height)
