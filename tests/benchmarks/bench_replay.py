"""Replay against the bare forward passes that it cannot do without; run by `make bench`.

Bare: the same padded batches through the model's body, and the logits of their generated tokens, nothing kept. Once
over whole prompts, and once with the prefix and the prompts that rows share computed once, as replay does.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable

import torch
from real_model import SAMPLES, TOKENS, peak_of, print_peak, prompt_ids, rates_in_turns, ratio, real_model

from tells.models.forward import common_prefix, compute_prefix, logits_of, prefill, run_block
from tells.models.loading import LoadedModel
from tells.models.replay import ReplayRow, _cheapest_order, replay, row_inputs
from tells.models.runs import replay_row

PROMPTS, ROWS, REPEATS, TARGET = 4, 16, 5, 1.3
POSITIONS = ("prompt_end", "think_end", "answer_end", "answer_mean", "think_mean")
HEAD_TOKENS = 256


def written_rows(loaded: LoadedModel) -> list[ReplayRow]:
    """Runs of the sums as the model would write them, right and wrong, of 20 to 32 tokens."""
    rows = []
    for place, prompt in enumerate(prompt_ids(loaded)[:PROMPTS]):
        for sample in range(SAMPLES):
            text = f"{place} plus {sample} makes {place + sample}.</think>\n\\boxed{{{place + sample}}}"
            text += " " + "so " * (3 * sample % 10)
            token_ids = loaded.tokenizer(text)["input_ids"][:TOKENS]
            run = {"prompt_token_ids": prompt, "token_ids": token_ids, "text": loaded.tokenizer.decode(token_ids)}
            rows.append(replay_row(loaded.tokenizer, run, opened=True, think_end="</think>"))
    return rows


@torch.inference_mode()
def bare(loaded: LoadedModel, batches: list[list[ReplayRow]]) -> None:
    """Whole prompts through the body, and the logits of the generated tokens."""
    for batch in batches:
        longest = max(len(row.prompt_token_ids) + len(row.token_ids) for row in batch)
        ids = torch.zeros(len(batch), longest, dtype=torch.long)
        mask = torch.zeros(len(batch), longest, dtype=torch.long)
        generated = torch.zeros(len(batch), longest, dtype=torch.bool)
        for place, row in enumerate(batch):
            tokens = row.prompt_token_ids + row.token_ids
            ids[place, : len(tokens)] = torch.tensor(tokens)
            mask[place, : len(tokens)] = 1
            generated[place, len(row.prompt_token_ids) - 1 : len(tokens) - 1] = True
        hidden = loaded.model.base_model(ids, attention_mask=mask, use_cache=False).last_hidden_state
        logits_in_chunks(loaded, hidden[generated])


@torch.inference_mode()
def bare_with_shared_prefix(loaded: LoadedModel, batches: list[list[ReplayRow]]) -> None:
    """As `bare`, but what rows share is computed once."""
    model = loaded.model
    prefix = compute_prefix(model, common_prefix([row.prompt_token_ids for batch in batches for row in batch]))
    for batch in batches:
        prefilled = prefill(model, [row.prompt_token_ids for row in batch], prefix)
        longest = max(len(row.token_ids) for row in batch)
        generated = torch.tensor([list(row.token_ids) + [0] * (longest - len(row.token_ids)) for row in batch])
        lengths = torch.tensor([len(row.token_ids) for row in batch])
        ids, positions, mask = row_inputs(prefilled, generated, lengths)
        hidden = run_block(model, ids, positions, prefilled.cache, prefix, mask)
        logits_in_chunks(loaded, hidden[:, :-1][torch.arange(longest) < lengths[:, None]])


def logits_in_chunks(loaded: LoadedModel, hidden: torch.Tensor) -> None:
    """Logits of [tokens, width], a few hundred tokens at a time, thrown away."""
    for start in range(0, len(hidden), HEAD_TOKENS):
        logits_of(loaded.model, hidden[start : start + HEAD_TOKENS])


def variants_of(loaded: LoadedModel, rows: list[ReplayRow]) -> dict[str, Callable[[], int]]:
    """What is measured, by name."""
    shared = len(common_prefix([row.prompt_token_ids for row in rows]))
    order = _cheapest_order(rows, shared, ROWS)
    batches = [[rows[index] for index in order[start : start + ROWS]] for start in range(0, len(order), ROWS)]
    layers = range(loaded.model.config.num_hidden_layers)
    tokens = sum(len(row.token_ids) for row in rows)
    runs: dict[str, Callable[[], object]] = {
        "replay": lambda: replay(loaded, rows, layers=layers, positions=POSITIONS, batch_size=ROWS),
        "bare": lambda: bare(loaded, batches),
        "bare-shared": lambda: bare_with_shared_prefix(loaded, batches),
    }
    return {name: lambda run=run: (run(), tokens)[1] for name, run in runs.items()}


def main() -> None:
    """Print the figures."""
    loaded = real_model()
    rows = written_rows(loaded)
    variants = variants_of(loaded, rows)
    if len(sys.argv) > 1:
        variants[sys.argv[1]]()
        print_peak()
        return
    print(f"replay of {len(rows)} runs, all layers, {len(POSITIONS)} positions, {loaded.model.dtype}")
    variants["bare-shared"]()
    rates = rates_in_turns(variants, REPEATS)
    print(f"  {'':12s} {'tokens/s':>9s} {'replay takes':>13s} {'peak MiB':>9s}")
    for name, measured in rates.items():
        against = ratio(measured, rates["replay"])
        print(f"  {name:12s} {statistics.median(measured):9.0f} {against:12.2f}x {peak_of(__file__, name):9.0f}")
    met = "met" if ratio(rates["bare"], rates["replay"]) <= TARGET else "MISSED"
    print(f"  target: at most {TARGET} times the bare passes: {met}")


if __name__ == "__main__":
    main()
