"""What one classifier says of every reply: refusal, harm, or both."""

from tells.config import EngineConfig
from tells.jobs import job
from tells.tables import make_metadata, read_json, read_metadata, read_table, write_table

settings, wildcards = snakemake.params.settings, snakemake.wildcards
classifier = wildcards.classifier

with job(snakemake.log[0], snakemake.output, gpus=snakemake.resources.get("gpu", 0)) as report:
    from tells.safety import labelling

    prompts = read_table(snakemake.input.prompts, "prompts")
    confidence = read_table(snakemake.input.confidence, "confidence")
    sampled = read_metadata(snakemake.input.confidence)
    if classifier == "patterns":
        from tells.safety.refusal import detect_refusals

        labels, facts = labelling.patterns_labels(confidence, detect_refusals), {}
    elif classifier == "embedding":
        from tells.safety.harm_proxy import HarmProxy

        proxy = HarmProxy(read_json(snakemake.input.embedding[0])["path"])
        labels, facts = labelling.embedding_labels(confidence, proxy), proxy.facts()
    elif classifier == "judge":
        from tells.judge.experiment import judge_of
        from tells.judge.unanswered import note_errors
        from tells.safety.harm_rubric import check_judge, harm_facts

        check_judge(settings["judge"]["provider"])
        writer = f"{wildcards.experiment}/{wildcards.collection}/harm"
        judge = judge_of(wildcards.experiment, snakemake.config, writer=writer)
        report.follow(lambda: vars(judge.usage))
        labels, facts = labelling.judge_labels(prompts, confidence, judge), harm_facts(judge)
        unanswered = labelling.count_unanswered(labels)
        note_errors(snakemake.output.labels, unanswered)
        report.add(unanswered=unanswered)
    else:
        from tells.safety.guard_models import open_guard

        manifest = read_json(snakemake.input.model[0])
        guard = open_guard(
            snakemake.input.model[0],
            classifier,
            EngineConfig.model_validate({**settings["engine"], "batch_size": settings["batch_size"]}),
            gpu_memory_gb=settings["gpu_memory_gb"],
            threads=snakemake.threads,
            seed=settings["seed"],
        )
        labels = labelling.guard_labels(prompts, confidence, guard)
        facts = {"name": manifest["name"], "revision": manifest["revision"], **guard.facts()}
    metadata = make_metadata(
        "classify",
        params=settings,
        inputs=[snakemake.input.prompts, snakemake.input.confidence],
        experiment=wildcards.experiment,
        model=sampled["model"],
        seed=sampled["seed"],
        classifier={"classifier": classifier, **facts},
        replies=labelling.replies_digest(confidence),
    )
    write_table(snakemake.output.labels, labels, f"{classifier}_labels", metadata)
    report.add(replies=labels.height, **dict(labels["status"].value_counts().iter_rows()))
