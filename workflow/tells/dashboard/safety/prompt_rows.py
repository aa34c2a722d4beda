"""One prompt with all that is known of its traces: rows that are read out of large tables when a prompt is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tells.dashboard.safety.cuts import Course, course_of
from tells.dashboard.safety.rows import KEYS, SCORES, folder_of
from tells.dashboard.safety.state import Chosen
from tells.dashboard.store import Store
from tells.dashboard.tokens import token_texts
from tells.tables import TableError

_CONFIDENCE = (
    *KEYS,
    "n_tokens",
    "answer_start",
    "answer_stop",
    *SCORES,
    "first_token_probability",
    "token_logprob",
    "confidence",
)
_LABELS = (*KEYS, "truncated", "stop_label", "refusal", "harm", "harm_score")
_FINAL = "reply_labels.parquet"


@dataclass(frozen=True)
class Opened:
    """Which prompt is opened.

    Attributes:
        experiment: its name.
        benchmark: whose prompt it is.
        folder: of the benchmark.
        prompt_id: of the prompt.
    """

    experiment: str
    benchmark: str
    folder: Path
    prompt_id: str

    def rows(self, found: Store, kind: str, columns: tuple[str, ...]) -> pl.DataFrame:
        """The prompt's rows of a table of the benchmark; only they are read."""
        path = self.folder / f"{kind}.parquet"
        try:
            rows = found.scan(path, kind, columns).filter(pl.col("prompt_id") == self.prompt_id).collect()
        except pl.exceptions.PolarsError as error:
            raise TableError(f"{path.name}: cannot be read ({str(error).splitlines()[0]}); make it again") from None
        return rows.sort("sample") if "sample" in columns else rows


def opened_prompt(found: Store, state: Chosen) -> Opened:
    """The prompt that the address names.

    Raises:
        LookupError: there is no such benchmark.
    """
    benchmark, _, prompt_id = state.prompt.partition("/")
    return Opened(state.experiment, benchmark, folder_of(found, state.experiment, benchmark), prompt_id)


def prompt_row(found: Store, opened: Opened) -> dict[str, Any]:
    """The prompt itself.

    Raises:
        LookupError: the benchmark has no such prompt.
        TableError: its table is absent or not whole.
    """
    columns = ("prompt_id", "group", "prompt", "text", "shared_prefix", "system_prompt", "label", "category", "twin")
    rows = opened.rows(found, "prompts", columns)
    if rows.is_empty():
        raise LookupError(f"benchmark {opened.benchmark} has no prompt {opened.prompt_id!r}")
    return rows.row(0, named=True)


def twins_of(found: Store, opened: Opened, twin: str | None) -> list[str]:
    """The prompts that are the twins of this one."""
    if twin is None:
        return []
    rows = found.table(opened.folder / "prompts.parquet", "prompts", ["prompt_id", "twin"])
    others = rows.filter((pl.col("twin") == twin) & (pl.col("prompt_id") != opened.prompt_id))
    return others["prompt_id"].sort().to_list()


def prompt_traces(found: Store, opened: Opened) -> pl.DataFrame:
    """The prompt's traces: tokens' confidence, scores, final labels, cell.

    Raises:
        LookupError: the prompt has no trace.
        TableError: a table is absent or not whole, or the tables hold different traces.
    """
    confidence = opened.rows(found, "confidence", _CONFIDENCE)
    if confidence.is_empty():
        raise LookupError(f"benchmark {opened.benchmark} has no trace of a prompt {opened.prompt_id!r}")
    rows = confidence
    for kind, columns in (("reply_labels", _LABELS), ("strata", (*KEYS, "part", "quadrant"))):
        rows = rows.join(opened.rows(found, kind, columns), on=KEYS, how="inner", maintain_order="left")
    if rows.height != confidence.height:
        raise TableError(
            f"{opened.benchmark}: {confidence.height - rows.height} of {confidence.height} traces of prompt "
            f"{opened.prompt_id} are not in both reply_labels.parquet and strata.parquet; make them again"
        )
    return rows


def other_labels(found: Store, opened: Opened, classifiers: dict[str, str]) -> dict[str, dict[int, str]]:
    """What the classifiers say whose labels do not count: by classifier, by trace.

    Args:
        found: the results.
        opened: the prompt.
        classifiers: who decides, by axis.
    """
    said = {}
    for path in sorted(opened.folder.glob("*_labels.parquet")):
        name = path.name.removesuffix("_labels.parquet")
        if path.name == _FINAL or name in classifiers.values():
            continue
        rows = opened.rows(found, f"{name}_labels", (*KEYS, "refusal", "harm"))
        said[name] = {
            sample: ", ".join(word for word in (refusal, harm) if word) or "–"
            for _, sample, refusal, harm in rows.iter_rows()
        }
    return said


def stopping_course(found: Store, opened: Opened, traces: pl.DataFrame) -> Course | None:
    """Where early stopping would cut the traces; None until the arms are compared.

    Raises:
        TableError: arms.json is not whole.
        ValueError: a setting in it, or a confidence, is out of range.
    """
    path = opened.folder / "arms.json"
    return course_of(traces, found.json(path)["stopping"]) if path.exists() else None


def prompt_pieces(found: Store, opened: Opened) -> dict[int, list[str]]:
    """The piece of text that each token of each trace adds."""
    texts = opened.rows(found, "samples", (*KEYS, "text"))
    ends = opened.rows(found, "confidence", (*KEYS, "token_ends"))
    rows = texts.join(ends, on=KEYS, how="inner").select("sample", "text", "token_ends")
    return {sample: token_texts(text, token_ends) for sample, text, token_ends in rows.iter_rows()}


def online_traces(found: Store, opened: Opened) -> pl.DataFrame:
    """The prompt's traces of real early stopping, and `token_ends` where the pool has the same tokens.

    The pool's trace of the same `sample` was drawn with the same seed; where its ids are equal, its tokens are these.
    """
    columns = (*KEYS, "wave", "warmup", "token_ids", "text", "finish_reason", "threshold", "confidence", "stop_label")
    online = opened.rows(found, "online", (*columns, "settled"))
    pool = opened.rows(found, "samples", (*KEYS, "token_ids")).rename({"token_ids": "pool_ids"})
    ends = opened.rows(found, "confidence", (*KEYS, "token_ends"))
    rows = online.join(pool, on=KEYS, how="left").join(ends, on=KEYS, how="left").sort("sample")
    found_ends = [
        _ends_of(ids, pool_ids, pool_ends, text)
        for ids, pool_ids, pool_ends, text in rows.select("token_ids", "pool_ids", "token_ends", "text").iter_rows()
    ]
    return rows.drop("pool_ids").with_columns(pl.Series("token_ends", found_ends, pl.List(pl.Int32)))


def _ends_of(ids: list[int], pool_ids: list[int] | None, pool_ends: list[int] | None, text: str) -> list[int] | None:
    if pool_ids is None or pool_ends is None or pool_ids[: len(ids)] != ids:
        return None
    return [min(end, len(text)) for end in pool_ends[: len(ids)]]
