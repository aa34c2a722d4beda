"""The served engine and the workflow with a real vLLM server on the CPU."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from vllm_server import VllmServer
from workflow_helpers import SNAKEMAKE, TINY, add_models, copy_clone, environment, make_clone, write_experiment

from tells.config import EngineConfig, GenerationConfig
from tells.models.engines import Request, open_engine
from tells.models.engines.hf import HfEngine
from tells.models.engines.served import ServedEngine
from tells.models.runs import sample_prompts
from tells.models.sampling import derive_seed
from tells.models.spans import decode_tokens

pytestmark = [pytest.mark.vllm, pytest.mark.slow]
SETTINGS = GenerationConfig(temperature=0.8, max_new_tokens=24, stop=("\n\n",))
FOLDERS = [f"experiments/tiny/{name}" for name in ("uncertainty/sums", "uncertainty/capitals", "safety/builtin")]
TARGETS = [f"{folder}/samples.parquet" for folder in FOLDERS]
WORDS = ["prompt_id", "sample", "greedy", "seed", "prompt_token_ids", "token_ids", "text", "finish_reason"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads of torch and a server on two cores wait for each other more than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def server(real_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vllm is not installed")
    started = VllmServer(real_manifest, tmp_path_factory.mktemp("server"))
    started.start()
    try:
        started.wait()
        yield started
    finally:
        started.kill()


@pytest.fixture(scope="module")
def engine(server, real_manifest) -> ServedEngine:
    return open_engine(real_manifest, EngineConfig(kind="served", base_url=server.base_url, concurrency=8))


@pytest.fixture(scope="module")
def drawn_requests(sums_ids) -> list[Request]:
    return [Request(ids, derive_seed(7, place, sample)) for place, ids in enumerate(sums_ids[:4]) for sample in (0, 1)]


@pytest.fixture(scope="module")
def drawn(engine, drawn_requests):
    return engine.generate(drawn_requests, SETTINGS, top_logprobs=5)


def test_greedy_runs_equal_those_of_the_hf_engine(engine, real, sums_ids):
    requests = [Request(ids, 0, True) for ids in sums_ids[:4]]
    ours = engine.generate(requests, SETTINGS, top_logprobs=5)
    theirs = HfEngine(real).generate(requests, SETTINGS, top_logprobs=5)
    for run, other in zip(ours, theirs, strict=True):
        assert (run.token_ids, run.text, run.finish_reason) == (other.token_ids, other.text, other.finish_reason)
        np.testing.assert_allclose(run.token_logprobs, other.token_logprobs, atol=1e-3)
        np.testing.assert_allclose(run.topk_logprobs, other.topk_logprobs, atol=1e-3)
    assert "stop" in {run.finish_reason for run in ours}


def test_the_table_has_the_schema_and_the_greedy_rows_of_the_hf_engine(engine, real, sums):
    told = {"names": ("uncertainty", "sums"), "seed": 3, "samples": 1, "greedy": True, "top_logprobs": 4}
    told |= {"settings": SETTINGS, "prompt": "completion"}
    ours, facts = sample_prompts(sums[:2], engine, real.manifest, **told)
    theirs, their_facts = sample_prompts(sums[:2], HfEngine(real), real.manifest, **told)
    assert ours.schema == theirs.schema
    assert facts == their_facts
    keys = ["prompt_id", "group", "sample", "greedy", "seed", "prompt_token_ids"]
    assert ours.select(keys).equals(theirs.select(keys))
    assert ours.filter("greedy").select(WORDS).equals(theirs.filter("greedy").select(WORDS))
    assert ours["topk_logprobs"].explode().list.len().unique().to_list() == [4]
    assert ours.null_count().sum_horizontal().item() == 0


def test_a_seed_gives_its_run_again_in_any_order_and_alone(engine, drawn, drawn_requests):
    back = engine.generate(drawn_requests[::-1], SETTINGS, top_logprobs=5)[::-1]
    alone = engine.generate(drawn_requests[3:4], SETTINGS, top_logprobs=0)[0]
    assert [run.token_ids for run in back] == [run.token_ids for run in drawn]
    assert (alone.token_ids, alone.topk_logprobs) == (drawn[3].token_ids, None)
    for run, other in zip(back, drawn, strict=True):
        np.testing.assert_allclose(run.token_logprobs, other.token_logprobs, atol=1e-3)


def test_other_seeds_give_other_runs(engine, sums_ids):
    free = GenerationConfig(temperature=1.0, max_new_tokens=12)
    runs = engine.generate([Request(sums_ids[0], 2**64 - 1 - seed) for seed in range(6)], free)
    assert len({tuple(run.token_ids) for run in runs}) > 3


def test_text_ends_before_the_stop_string_and_the_end_of_sequence_is_no_text(engine, drawn, real):
    stopped = [run for run in drawn if run.finish_reason == "stop"]
    assert len(stopped) > 2
    for run in stopped:
        whole, _ = decode_tokens(real.tokenizer, run.token_ids)
        assert run.text == whole.partition("\n\n")[0]
        assert "\n\n" in whole or run.token_ids[-1] in real.eos_token_ids
        assert "<|" not in run.text


def test_top_log_probabilities_are_those_of_the_raw_distribution_alone(engine, real, sums_ids):
    hot = GenerationConfig(temperature=2.0, top_k=3, max_new_tokens=8)
    runs = engine.generate([Request(sums_ids[0], seed) for seed in range(4)], hot, top_logprobs=2)
    steps = [top for run in runs for top in run.topk_logprobs]
    own = [logprob for run in runs for logprob in run.token_logprobs]
    assert all(len(top) == 2 and top == sorted(top, reverse=True) for top in steps)
    assert any(logprob < top[-1] for top, logprob in zip(steps, own, strict=True)), "nothing beyond the top 2 was drawn"
    one = hot.model_copy(update={"max_new_tokens": 1})
    first = HfEngine(real).generate([Request(sums_ids[0], 0, True)], one, top_logprobs=2)[0]
    np.testing.assert_allclose(steps[0], first.topk_logprobs[0], atol=1e-3)


def test_facts_say_what_serves(engine):
    facts = engine.facts()
    assert (facts["engine"], facts["served_model"]) == ("served", "smollm2-135m-instruct")
    assert facts["server_version"].count(".") >= 2
    assert (engine.server.max_model_len, engine.server.names_agree) == (1024, True)


# The workflow


def definition(server: VllmServer, **engine: Any) -> dict[str, Any]:
    """Three collections of one shard each."""
    told = {"kind": "served", "base_url": server.base_url, "top_logprobs": 5, "concurrency": 4, **engine}
    questions = {name: {**each, "limit": 4} for name, each in TINY["uncertainty"]["collections"].items()}
    study = {**TINY["uncertainty"], "samples": 4, "max_new_tokens": 40, "stop": ["\n\n"], "collections": questions}
    safety = {"collections": {"builtin": {"limit": 4}}, "budget": 4, "max_new_tokens": 16, "top_logprobs": 3}
    return {**TINY, "model": "small-real", "engine": told, "uncertainty": study, "safety": safety}


@pytest.fixture(scope="module")
def sampled(server, real_manifest, tmp_path_factory) -> Path:
    """A clone in which three collections were sampled at the same time."""
    clone = make_clone(tmp_path_factory.mktemp("sampled"), **definition(server))
    add_models(clone, small_real={"source": "path", "path": json.loads(real_manifest.read_text())["path"]})
    process = started(clone)
    assert process.wait(timeout=800) == 0, printed(clone)
    return clone


def started(clone: Path, *targets: str) -> subprocess.Popen:
    arguments = ["--profile", "cpu", *(targets or TARGETS), "--cores", "3", "--config", "experiments=tiny", "threads=1"]
    with open(clone / "printed.txt", "wb") as out:
        return subprocess.Popen(
            [*SNAKEMAKE, *arguments], cwd=clone, env=environment(clone), stdout=out, stderr=subprocess.STDOUT
        )


def printed(clone: Path) -> str:
    return (clone / "printed.txt").read_text()


def test_three_collections_are_sampled_at_once_and_the_model_is_loaded_once(sampled, server):
    spans = []
    for folder in FOLDERS:
        status = sampled / "logs/tiny" / Path(folder).relative_to("experiments/tiny") / "sample_shard-0000.status.json"
        facts = json.loads(status.read_text())
        assert (facts["state"], facts["engine"], facts["server"]) == ("done", "served", server.base_url)
        spans.append([datetime.fromisoformat(facts[name]) for name in ("started", "finished")])
    assert max(start for start, _ in spans) < min(end for _, end in spans), "they did not run at the same time"
    assert server.loads() == 1
    rows = [pl.read_parquet(sampled / target) for target in TARGETS]
    assert [table.height for table in rows] == [20, 20, 16]
    assert rows[0].schema == rows[2].schema


def test_a_killed_server_fails_its_clients_clearly_and_a_restart_finishes(sampled, server, tmp_path):
    clone = copy_clone(sampled, tmp_path)
    write_experiment(clone, definition(server, patience=1, concurrency=1))
    for path in (clone / FOLDERS[0]).rglob("samples*.parquet"):
        path.unlink()
    process, kept = started(clone, TARGETS[0]), clone / FOLDERS[0] / "shards/samples-0000.finished.jsonl"
    while not (kept.exists() and kept.read_bytes().count(b"\n") >= 3):
        assert process.poll() is None, printed(clone)
        time.sleep(0.01)
    server.kill()
    server.start()
    # It takes longer to load than clients are patient.
    assert process.wait(timeout=120) != 0
    finished = kept.read_bytes().count(b"\n")
    line = next(line for line in printed(clone).splitlines() if line.startswith("sample_shard-0000: "))
    assert "does not answer (" in line
    assert "tried again for 1 s: start it with `vllm serve " in line
    assert f"; {finished} of 20 runs are kept for the next try" in line
    server.wait()
    before = server.completions()
    again = started(clone, TARGETS[0])
    assert again.wait(timeout=400) == 0, printed(clone)
    # What was missing, and one to see what the server gives: in the preflight and in the job.
    assert server.completions() - before == 20 - finished + 2
    assert server.loads() == 2
    assert not kept.exists()
    ours, undisturbed = (pl.read_parquet(place / TARGETS[0]) for place in (clone, sampled))
    assert ours.select(WORDS).equals(undisturbed.select(WORDS))
    for name in ("token_logprobs", "topk_logprobs"):
        left, right = (table[name].explode(empty_as_null=True) for table in (ours, undisturbed))
        left, right = (each.explode() if each.dtype == pl.List(pl.Float32) else each for each in (left, right))
        np.testing.assert_allclose(left.to_numpy(), right.to_numpy(), atol=1e-3)
