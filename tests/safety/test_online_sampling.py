from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import online_helpers as helpers
import polars as pl
import pytest
from online_helpers import BUDGET, CONFIG, NAMES, SETTINGS, WINDOW, Counting, K, prompts_table, sample, vote

from tells.config import GenerationConfig
from tells.config.safety import StoppingConfig
from tells.models.confidence import token_confidence
from tells.safety.adaptive import AdaptivePrompt, vote_of
from tells.safety.sampling import answer_text
from tells.safety.traces import confidence_table
from tells.safety.voting import consensus
from tells.tables import SCHEMAS, read_table, write_table


@pytest.fixture(scope="module")
def manifest(tiny_manifests) -> Path:
    return tiny_manifests["llama"]


@pytest.fixture(scope="module")
def engine(manifest):
    return helpers.tiny_engine(manifest)


@pytest.fixture(scope="module")
def online(engine, manifest) -> pl.DataFrame:
    table = sample(engine, manifest)
    assert {"stop", "confidence", "length"} == set(table["finish_reason"]), "all ends are needed here"
    assert table["settled"].any()
    assert 2 < table["wave"].max() < BUDGET
    return table


@pytest.fixture(scope="module")
def pool(engine, manifest) -> pl.DataFrame:
    from tells.models.runs import sample_prompts

    facts = json.loads(manifest.read_text())
    how = {"names": NAMES, "seed": 5, "samples": BUDGET, "greedy": False, "settings": SETTINGS, "prompt": "completion"}
    return sample_prompts(prompts_table(), engine, facts, **how, top_logprobs=K)[0]


@pytest.fixture
def finished(waves, tmp_path) -> Path:
    """A folder with all waves of the online table."""
    return Path(shutil.copytree(waves, tmp_path / "partial"))


@pytest.fixture(scope="module")
def waves(engine, manifest, online, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("waves")
    assert sample(engine, manifest, folder).equals(online)
    return folder


def traces_of(table: pl.DataFrame, prompt_id: str) -> list[dict]:
    return table.filter(pl.col("prompt_id") == prompt_id).sort("sample").to_dicts()


def same_but_for_noise(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    """Equal, confidences and thresholds up to what another batch changes in the last digits."""
    noisy = ("confidence", "threshold")
    close = all(
        np.allclose(*(table[name].explode().drop_nulls().to_numpy() for table in (one, other)), atol=1e-4)
        for name in noisy
    )
    return close and one.drop(noisy).equals(other.drop(noisy))


def test_every_trace_is_a_prefix_of_the_trace_of_the_full_pool(online, pool):
    full = {(row["prompt_id"], row["sample"]): row for row in pool.to_dicts()}
    for row in online.to_dicts():
        other = full[row["prompt_id"], row["sample"]]
        assert (row["seed"], row["prompt_token_ids"]) == (other["seed"], other["prompt_token_ids"])
        assert row["token_ids"] == other["token_ids"][: len(row["token_ids"])]
        if row["finish_reason"] != "confidence":
            assert (row["token_ids"], row["text"]) == (other["token_ids"], other["text"])
            assert row["finish_reason"] == other["finish_reason"]


def test_replaying_the_full_pool_decides_as_sampling_did(online, pool):
    for prompt_id in prompts_table()["prompt_id"]:
        rows, state = iter(traces_of(online, prompt_id)), AdaptivePrompt(CONFIG, WINDOW, BUDGET)
        for trace in traces_of(pool, prompt_id):
            if state.done:
                break
            row = next(rows)
            confidence = token_confidence(np.asarray(trace["topk_logprobs"]))
            stop = state.stop_of(confidence, ended=trace["finish_reason"] == "stop")
            assert row["threshold"] == (None if state.threshold is None else pytest.approx(state.threshold, abs=1e-4))
            assert len(row["token_ids"]) == (len(confidence) if stop is None else stop + 1)
            assert (row["finish_reason"] == "confidence") == (stop is not None)
            state.add(vote([trace["text"].strip()])[0], confidence[: len(row["token_ids"])], stop is not None)
            assert row["settled"] == state.settled
        assert next(rows, None) is None


def test_the_stored_confidences_replay_to_the_same_thresholds_stops_and_settling(online):
    for prompt_id in prompts_table()["prompt_id"]:
        state = AdaptivePrompt(CONFIG, WINDOW, BUDGET)
        for row in traces_of(online, prompt_id):
            assert row["threshold"] == state.threshold
            cut = row["finish_reason"] == "confidence"
            stop = state.stop_of(row["confidence"], ended=row["finish_reason"] == "stop")
            assert stop == (len(row["token_ids"]) - 1 if cut else None)
            state.add(row["stop_label"], row["confidence"], cut)
            assert row["settled"] == state.settled
        assert state.done


def test_the_table_holds_the_warm_up_and_then_a_trace_a_wave(online):
    order = {prompt_id: place for place, prompt_id in enumerate(prompts_table()["prompt_id"])}
    keys = [(order[prompt_id], trace) for prompt_id, trace in online.select("prompt_id", "sample").iter_rows()]
    assert keys == sorted(keys)
    for prompt_id in prompts_table()["prompt_id"]:
        rows = traces_of(online, prompt_id)
        assert [row["sample"] for row in rows] == list(range(len(rows)))
        assert [row["warmup"] for row in rows] == [place < CONFIG.warmup for place in range(len(rows))]
        assert [row["wave"] for row in rows] == [max(0, place - CONFIG.warmup + 1) for place in range(len(rows))]
        assert [row["threshold"] is None for row in rows] == [row["warmup"] for row in rows]
        assert all(row["finish_reason"] != "confidence" for row in rows if row["warmup"])
        assert [len(row["confidence"]) for row in rows] == [len(row["token_ids"]) for row in rows]


def test_no_prompt_goes_on_after_it_is_settled_nor_beyond_the_budget(online):
    counts = set()
    for prompt_id in prompts_table()["prompt_id"]:
        rows = traces_of(online, prompt_id)
        counts.add(len(rows))
        assert not any(row["settled"] for row in rows[:-1])
        assert CONFIG.warmup <= len(rows) <= BUDGET
        assert rows[-1]["settled"] or len(rows) == BUDGET
    assert max(counts) == BUDGET > min(counts)


def test_whole_traces_alone_settle_a_prompt(online):
    def agreed(rows: list[dict], voting: list[dict]) -> bool:
        share = consensus(
            [vote_of(row["stop_label"]) for row in voting], [np.mean(row["confidence"]) for row in voting]
        )
        return len(rows) >= CONFIG.warmup and share is not None and share >= CONFIG.consensus

    differ = 0
    for prompt_id in prompts_table()["prompt_id"]:
        rows = traces_of(online, prompt_id)
        for count in range(1, len(rows) + 1):
            seen = rows[:count]
            whole = [row for row in seen if row["finish_reason"] != "confidence"]
            assert rows[count - 1]["settled"] == agreed(seen, whole)
            differ += agreed(seen, whole) != agreed(seen, seen)
    assert differ, "the labels of cut traces change nothing here: the case is not tested"


def test_an_answer_is_what_the_confidence_table_says_it_is(online, pool, engine, manifest):
    think = json.loads(manifest.read_text())["think_end"]
    scored = confidence_table(pool, engine.tokenizer, opened=False, think_end=think, window=WINDOW, fraction=0.1)
    labels = dict(zip(scored.select("prompt_id", "sample").iter_rows(), vote(scored["answer"].to_list()), strict=True))
    whole = online.filter(pl.col("finish_reason") != "confidence")
    assert [labels[key] for key in whole.select("prompt_id", "sample").iter_rows()] == whole["stop_label"].to_list()


def test_the_table_can_be_written_and_read(online, tmp_path):
    write_table(tmp_path / "online.parquet", online, "online", {})
    assert read_table(tmp_path / "online.parquet", "online").equals(online)


def test_no_prompt_gives_no_trace(engine, manifest):
    assert sample(engine, manifest, prompts=prompts_table(0)).height == 0


def test_a_budget_within_the_warm_up_is_refused(engine, manifest):
    with pytest.raises(ValueError, match="budget 3 must be above"):
        sample(engine, manifest, budget=3)


@pytest.mark.parametrize("fails_in", [0, 1, 2, 3])
def test_a_run_that_fails_in_a_wave_goes_on_there(engine, manifest, online, tmp_path, fails_in):
    with pytest.raises(RuntimeError, match="machine"):
        sample(Counting(engine, fails_in=fails_in), manifest, tmp_path)
    assert len(list(tmp_path.glob("*.parquet"))) == fails_in
    rest = Counting(engine)
    assert sample(rest, manifest, tmp_path).equals(online)
    assert len(rest.waves) == online["wave"].max() + 1 - fails_in


def test_a_run_that_is_killed_goes_on_to_the_same_table(engine, manifest, online, tmp_path):
    command = [sys.executable, helpers.__file__, str(manifest), str(tmp_path), "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "stalling\n"
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    (tmp_path / ".wave-0002.parquet.1.part").write_bytes(b"half")
    rest = Counting(engine)
    table = sample(rest, manifest, tmp_path)
    assert same_but_for_noise(table, online)
    assert sum(map(len, rest.waves)) == online.filter(pl.col("wave") >= 2).height
    assert not list(tmp_path.glob(".*"))


def test_a_finished_run_is_not_drawn_again(engine, manifest, online, finished):
    again = Counting(engine)
    assert sample(again, manifest, finished).equals(online)
    assert again.waves == []


CHANGES = {
    "seed": {"seed": 6},
    "names": {"names": ("safety", "other")},
    "window": {"window": WINDOW + 1},
    "budget": {"budget": BUDGET - 1},
    "k": {"k": K - 1},
    "stopping": {"config": StoppingConfig(warmup=3, keep=0.5)},
    "generation": {"settings": GenerationConfig(temperature=0.8, max_new_tokens=24)},
    "prompts": {"prompts": prompts_table(5)},
    "template": {"prompt": "chat"},
}


@pytest.mark.parametrize("changed", CHANGES)
def test_what_other_parameters_left_is_discarded(engine, manifest, finished, changed):
    again = Counting(engine)
    table = sample(again, manifest, finished, **CHANGES[changed])
    assert sum(map(len, again.waves)) == table.height
    left = [path.name for path in sorted(finished.iterdir())]
    assert left == [f"wave-{wave:04d}.parquet" for wave in range(table["wave"].max() + 1)]


def test_waves_are_drawn_again_from_where_another_voter_labels_otherwise(engine, manifest, online, finished):
    turned = online.filter(pl.col("wave") == 2)["text"].to_list()[0].strip()

    def other(texts: list[str]) -> list[str]:
        labels = zip(texts, vote(texts), strict=True)
        return ["unclear" if text == turned else label for text, label in labels]

    again = Counting(engine)
    table = sample(again, manifest, finished, vote=other)
    assert table.equals(sample(engine, manifest, vote=other))
    assert not table.equals(online)
    assert sum(map(len, again.waves)) == table.filter(pl.col("wave") >= 2).height


@pytest.mark.parametrize("damage", ["cut", "absent"])
def test_a_wave_that_is_not_whole_is_drawn_again_with_all_that_follow(engine, manifest, online, finished, damage):
    wave = finished / "wave-0001.parquet"
    wave.write_bytes(wave.read_bytes()[:100]) if damage == "cut" else wave.unlink()
    again = Counting(engine)
    assert sample(again, manifest, finished).equals(online)
    assert len(again.waves) == online["wave"].max()


@pytest.mark.parametrize(
    ("text", "opened", "answer"),
    [
        ("<think>maybe not</think>\n I will.", False, "I will."),
        ("maybe not</think> I will.", True, "I will."),
        ("I will.", False, "I will."),
        (" I will. \n", False, "I will."),
        ("maybe not", True, ""),
        ("<think>maybe not", False, ""),
        ("<think>maybe not</think>", False, ""),
        ("", False, ""),
    ],
)
def test_the_vote_reads_the_answer_behind_the_think_span(engine, text, opened, answer):
    token_ids = engine.tokenizer(text, add_special_tokens=False)["input_ids"]
    end = [engine.tokenizer.eos_token_id]
    found = answer_text(engine.tokenizer, token_ids + end, text, think_end="</think>", opened=opened)
    assert found == answer
    steps = len(token_ids) + 1
    row = {"prompt_id": "p", "group": "g", "sample": 0, "greedy": False, "seed": 0, "prompt_token_ids": [0]}
    row |= {"token_ids": token_ids + end, "text": text, "finish_reason": "stop"}
    row |= {"token_logprobs": [-1.0] * steps, "topk_logprobs": [[-1.0, -1.0]] * steps}
    table = pl.DataFrame([row], SCHEMAS["samples"].columns)
    how = {"opened": opened, "think_end": "</think>", "window": 4, "fraction": 0.1}
    assert confidence_table(table, engine.tokenizer, **how)["answer"].to_list() == [answer]


def test_the_vote_does_not_read_the_stop_string(engine):
    token_ids = engine.tokenizer("I will.\nUser:", add_special_tokens=False)["input_ids"]
    found = answer_text(engine.tokenizer, token_ids, "I will.", think_end="</think>", opened=False)
    assert found == "I will."
