"""Answers to questions of one data set: unsteered, along the chosen direction, against it, along random ones."""

from tells.agreement.inputs import StudyInputs
from tells.agreement.projection_signals import read_directions
from tells.agreement.steered_runs import Asking, arms_of, ask_under_steering, choose_questions, nothing_asked
from tells.config import GenerationConfig
from tells.jobs import job
from tells.startup import starting_up
from tells.tables import make_metadata, read_json, read_table, write_table

settings, wildcards = snakemake.params.settings, snakemake.wildcards

with job(snakemake.log[0], snakemake.output, gpus=snakemake.resources.get("gpu", 0)) as report:
    with starting_up():
        from tells.models.loading import load_as
        from tells.models.sampling import derive_seed

    names, seed = ("uncertainty", wildcards.collection), settings["seed"]
    questions = choose_questions(
        read_table(snakemake.input.prompts, "prompts"),
        read_table(snakemake.input.splits, "splits"),
        collection=wildcards.collection,
        limit=settings["questions"],
        seed=derive_seed(seed, "steer", *names),
    )
    files = StudyInputs([snakemake.input.record, snakemake.input.vectors])
    (direction,) = read_directions(files, [settings["trait"]])
    asking = Asking(
        generation=GenerationConfig.model_validate(settings["generation"]),
        prompt=settings["prompt"],
        names=names,
        seed=seed,
        samples=settings["samples"],
        batch_size=settings["batch_size"],
    )
    manifest = read_json(snakemake.input.model)
    if direction.vector is None:
        answers = nothing_asked(questions, manifest, asking)
    else:
        loaded = load_as(snakemake.input.model, settings, threads=snakemake.threads)
        arms = arms_of(direction.vector, settings["random_directions"], seed=derive_seed(seed, "random", *names))
        answers = ask_under_steering(
            questions, loaded, arms, layer=direction.layer, ratio=settings["ratio"], asking=asking
        )
        report.add(**answers.facts["engine"])
    own = ("trait", "method", "layer", "status", "reason")
    metadata = make_metadata(
        "steer_questions",
        params=settings,
        inputs=snakemake.input,
        experiment=wildcards.experiment,
        model={"name": manifest["name"], "revision": manifest["revision"]},
        seed=seed,
        direction={key: getattr(direction, key) for key in own},
        ratio=settings["ratio"],
        **answers.facts,
    )
    write_table(snakemake.output.prompts, answers.prompts, "prompts", metadata)
    write_table(snakemake.output.samples, answers.samples, "samples", metadata)
    report.add(
        model=manifest["name"],
        runs=answers.samples.height,
        tokens=int(answers.samples["token_ids"].list.len().sum()),
    )
