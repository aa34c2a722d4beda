"""A trait's vectors at every layer by every method, and how good they are."""

from tells.jobs import job
from tells.tables import make_metadata, read_json, read_metadata, read_table
from tells.traits.extraction import extract, read_activations, write_vectors

settings = snakemake.params.settings

with job(snakemake.log[0], snakemake.output) as report:
    vetting = read_table(snakemake.input.vetting, "vetting")
    facts = read_metadata(snakemake.input.vetting)
    activations = read_activations(
        vetting,
        read_table(snakemake.input.prompts, "prompts"),
        snakemake.input.replay,
        snakemake.input.states,
        window=settings["window"],
        layers=settings["layers"],
    )
    quality, reason = extract(activations, methods=settings["methods"], seed=settings["seed"])
    vetted = read_json(snakemake.input.vetting_record)
    sufficient = vetted["status"] == "ok" and quality is not None
    metadata = make_metadata(
        "extract_vectors",
        params=settings,
        inputs=[snakemake.input.vetting, *snakemake.input.states],
        experiment=snakemake.wildcards.experiment,
        model=facts["model"],
        seed=facts["seed"],
        window=settings["window"],
    )
    found = {
        "status": "ok" if sufficient else "insufficient",
        "reason": vetted["reason"] or reason,
        "n_rows": activations.rows.height,
        "n_empty": activations.n_empty,
    }
    write_vectors(snakemake.output.vectors, snakemake.output.record, quality, found, metadata)
    report.add(rows=activations.rows.height, vectors=len(quality.records) if quality else 0)
