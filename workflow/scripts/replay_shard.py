"""One teacher-forced pass over the runs of one shard."""

from tells.jobs import job
from tells.startup import starting_up
from tells.tables import make_metadata, read_metadata, read_table, write_table, write_tensors

settings, wildcards = snakemake.params.settings, snakemake.wildcards

with job(snakemake.log[0], snakemake.output, gpus=snakemake.resources.get("gpu", 0)) as report:
    with starting_up():
        from tells.models.hooks import find_blocks, resolve_layers
        from tells.models.loading import load_as
        from tells.models.runs import replay_samples

    samples = read_table(snakemake.input.samples, "samples")
    facts = read_metadata(snakemake.input.samples)
    loaded = load_as(snakemake.input.model, settings, threads=snakemake.threads)
    layers = resolve_layers(settings["layers"], len(find_blocks(loaded.model)))
    table, result = replay_samples(
        samples,
        loaded,
        shard=int(wildcards.shard),
        opened=facts["opened"],
        think_end=facts["think_end"],
        layers=layers,
        positions=settings["positions"],
        batch_size=settings["batch_size"],
        backend=settings["backend"],
    )
    metadata = make_metadata(
        "replay",
        params=settings,
        inputs=snakemake.input,
        experiment=wildcards.experiment,
        model={"name": loaded.name, "revision": loaded.manifest["revision"]},
        layers=layers,
        positions=settings["positions"],
        states_dtype=str(result.hidden.dtype),
        **loaded.facts(),
    )
    write_tensors(snakemake.output.states, {"hidden": result.hidden, "valid": result.valid}, metadata)
    write_table(snakemake.output.replay, table, "replay", metadata)
    report.add(
        runs=table.height,
        tokens=int(samples["token_ids"].list.len().sum()),
        batch_size=result.batch_size,
        **loaded.facts(),
    )
