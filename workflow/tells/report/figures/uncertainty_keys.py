"""Keys of runs as one text each, by which a point, a row of a table and an address name the same run.

A key is `dataset/prompt_id/sample`, as the three stand in the tables, but for `%` and `~`, which are written `%25` and
`%7E` so that addresses can hold several keys, and `/` in a data set's name, which is written `%2F`.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

# What a key writes for a character, in the order of writing; read in the other order.
_IN_PROMPT = (("%", "%25"), ("~", "%7E"))
_IN_DATASET = (*_IN_PROMPT, ("/", "%2F"))


class RunKey(NamedTuple):
    """The three columns that tell runs apart.

    Attributes:
        dataset: name of the collection.
        prompt_id: the question.
        sample: number of the run; −1 is the greedy one.
    """

    dataset: str
    prompt_id: str
    sample: int

    def __str__(self) -> str:
        """The key as one text."""
        dataset, prompt = self.dataset, self.prompt_id
        for character, written in _IN_DATASET:
            dataset = dataset.replace(character, written)
        for character, written in _IN_PROMPT:
            prompt = prompt.replace(character, written)
        return f"{dataset}/{prompt}/{self.sample}"


def key_texts(name: str = "key") -> pl.Expr:
    """The keys of a table's rows.

    Args:
        name: of the new column.
    """
    dataset, prompt = pl.col("dataset"), pl.col("prompt_id")
    for character, written in _IN_DATASET:
        dataset = dataset.str.replace_all(character, written, literal=True)
    for character, written in _IN_PROMPT:
        prompt = prompt.str.replace_all(character, written, literal=True)
    return pl.concat_str(dataset, prompt, pl.col("sample").cast(pl.String), separator="/").alias(name)


def read_key(text: str) -> RunKey | None:
    """The run that a text names; None where it names none."""
    dataset, _, rest = text.partition("/")
    prompt, _, sample = rest.rpartition("/")
    digits = sample.removeprefix("-")
    if not (dataset and prompt and digits.isascii() and digits.isdecimal()):
        return None
    for character, written in reversed(_IN_DATASET):
        dataset = dataset.replace(written, character)
    for character, written in reversed(_IN_PROMPT):
        prompt = prompt.replace(written, character)
    return RunKey(dataset, prompt, int(sample))
