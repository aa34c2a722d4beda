"""Answers to a trait's report questions: the chosen point, its controls, and nothing."""

from pathlib import Path

from tells.config import GenerationConfig
from tells.jobs import job
from tells.startup import starting_up
from tells.tables import make_metadata, read_json, read_metadata, write_table
from tells.traits.candidates import chosen_row
from tells.traits.scenarios import load_trait
from tells.traits.steering import generate_rows, name_questions, report_rows

settings, wildcards = snakemake.params.settings, snakemake.wildcards

with job(snakemake.log[0], snakemake.output, gpus=snakemake.resources.get("gpu", 0)) as report:
    with starting_up():
        from tells.models.loading import load_as
        from tells.models.sampling import derive_seed

    trait = load_trait(Path(snakemake.input.questions).parent)
    questions = name_questions(trait.report, "report", settings["report_questions"])
    choice = read_json(snakemake.input.choice)
    rows = report_rows(
        chosen_row(choice, snakemake.input.vectors, questions[0]),
        questions if choice["status"] != "no_vectors" else [],
        settings["samples"],
        draws=settings["random_draws"],
        random_samples=settings["random_samples"],
        seed=derive_seed(settings["seed"], "random", "traits", wildcards.collection) % 2**32,
        instruction=settings["instruction"],
    )
    loaded = load_as(snakemake.input.model, settings, threads=snakemake.threads)
    answers, batch_size = generate_rows(
        rows,
        loaded,
        GenerationConfig.model_validate(settings["generation"]),
        names=("traits", wildcards.collection),
        seed=settings["seed"],
        prompt=settings["prompt"],
        positions=settings["positions"],
        batch_size=settings["batch_size"],
    )
    metadata = make_metadata(
        "report_steered",
        params=settings,
        inputs=snakemake.input,
        experiment=wildcards.experiment,
        model={"name": loaded.name, "revision": loaded.manifest["revision"]},
        seed=settings["seed"],
        vectors_model=read_metadata(snakemake.input.vectors)["model"],
        **loaded.facts(),
    )
    write_table(snakemake.output.answers, answers, "report", metadata)
    report.add(runs=answers.height, tokens=int(answers["token_ids"].list.len().sum()), batch_size=batch_size)
