"""What a job that samples asks for, which depends on the engine of its experiment.

Gives   functions from wildcards to GPUs, threads, memory, and clients of a server
"""


def sampling_clients(wildcards):
    """1 where a server samples, so that `--resources served=N` limits how many jobs ask it at once."""
    return int(EXPERIMENTS[wildcards.experiment].engine.kind == "served")


def sampling_gpus(wildcards):
    """GPUs over which vLLM spreads the model, one for the hf engine, none where a server samples."""
    engine = EXPERIMENTS[wildcards.experiment].engine
    return {"served": 0, "vllm": engine.tensor_parallel_size}.get(engine.kind, 1)


def sampling_threads(wildcards):
    """A client of a server waits for the most part."""
    return 1 if sampling_clients(wildcards) else SITE.threads


def sampling_memory(wildcards, attempt):
    """Memory of a job that samples; of one that asks a server, for the tokenizer and the runs alone."""
    return (1500 if sampling_clients(wildcards) else 4000) * attempt
