"""A BERT encoder in numpy, for sentence embeddings: the numbers of transformers without seconds of imports.

The offline judge embeds a few hundred sentences a job, which takes less time than importing torch and transformers.
Only what small sentence embeddings are is here: absolute positions, exact GELU, no pooling.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tells.tables import read_json, read_tensors

States = NDArray[np.float32]
_WEIGHTS = "model.safetensors"
_TOKENIZER = "tokenizer.json"


def is_plain_bert(folder: Path) -> bool:
    """Whether a model folder holds a BERT that `BertEncoder` computes as transformers does."""
    config = read_json(folder / "config.json")
    return (
        config.get("model_type") == "bert"
        and config.get("hidden_act") == "gelu"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and not config.get("is_decoder", False)
        and all((folder / name).is_file() for name in (_WEIGHTS, _TOKENIZER))
    )


class BertEncoder:
    """The last states of texts.

    Args:
        folder: config.json, model.safetensors and tokenizer.json.
        length: longest text, in tokens; what is longer is cut.

    Raises:
        TableError: a file or a weight is missing.
    """

    def __init__(self, folder: Path, length: int) -> None:
        from tokenizers import Tokenizer

        config = read_json(folder / "config.json")
        self.heads, self.epsilon = int(config["num_attention_heads"]), float(config["layer_norm_eps"])
        self.layers, self.width = int(config["num_hidden_layers"]), int(config["hidden_size"])
        weights = read_tensors(folder / _WEIGHTS)
        self._weights = {name.removeprefix("bert."): tensor for name, tensor in weights.items()}
        self._tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
        self._tokenizer.enable_truncation(min(length, int(config["max_position_embeddings"])))
        self._tokenizer.enable_padding(pad_id=int(config.get("pad_token_id") or 0))

    def __call__(self, texts: Sequence[str]) -> tuple[States, NDArray[np.bool_]]:
        """Encode texts.

        Args:
            texts: [texts]

        Returns:
            States [texts, tokens, width] and which of the tokens are the text's own [texts, tokens].
        """
        encoded = self._tokenizer.encode_batch(list(texts))
        mask = np.array([one.attention_mask for one in encoded], dtype=bool)
        return self.states(np.array([one.ids for one in encoded]), mask), mask

    def states(self, token_ids: NDArray[np.int64], mask: NDArray[np.bool_]) -> States:
        """Last states [texts, tokens, width] of token ids [texts, tokens]; no token attends where `mask` is false."""
        weights = self._weights
        embedded = weights["embeddings.word_embeddings.weight"][token_ids]
        embedded = embedded + weights["embeddings.position_embeddings.weight"][: token_ids.shape[1]]
        embedded += weights["embeddings.token_type_embeddings.weight"][0]
        states = self._normalised(embedded, "embeddings.LayerNorm")
        barred = np.where(mask, np.float32(0), np.float32(-np.inf))[:, None, None, :]
        for layer in range(self.layers):
            place = f"encoder.layer.{layer}"
            states = self._normalised(states + self._attended(states, barred, place), f"{place}.attention.output")
            inner = _gelu(self._linear(states, f"{place}.intermediate.dense"))
            states = self._normalised(states + self._linear(inner, f"{place}.output.dense"), f"{place}.output")
        return states

    def _attended(self, states: States, barred: States, place: str) -> States:
        query, key, value = (
            self._linear(states, f"{place}.attention.self.{name}")
            .reshape(*states.shape[:2], self.heads, -1)
            .transpose(0, 2, 1, 3)
            for name in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / np.sqrt(np.float32(query.shape[-1])) + barred
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        attended = (scores / scores.sum(-1, keepdims=True)) @ value
        joined = attended.transpose(0, 2, 1, 3).reshape(states.shape)
        return self._linear(joined, f"{place}.attention.output.dense")

    def _linear(self, states: States, name: str) -> States:
        return states @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _normalised(self, states: States, place: str) -> States:
        name = place if place.endswith("LayerNorm") else f"{place}.LayerNorm"
        centred = states - states.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + np.float32(self.epsilon))
        return scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def _gelu(values: States) -> Any:
    from scipy.special import erf

    return values * (erf(values * np.float32(np.sqrt(0.5))) + 1) * np.float32(0.5)
