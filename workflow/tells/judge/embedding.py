"""Sentence embeddings of a local model, for the offline judge: mean over the tokens' last states, scaled to length 1.

It reads a folder in the layout of sentence-transformers and gives the same embeddings without importing that package,
whose start costs more than the embeddings do; for a BERT, as small embeddings are, without torch and transformers too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tells.judge.bert import BertEncoder, is_plain_bert
from tells.startup import starting_up
from tells.tables import read_json

Floats = NDArray[np.float64]
Encoder = Callable[[Sequence[str]], tuple[NDArray[Any], NDArray[Any]]]
_MODULES = ("Transformer", "Pooling", "Normalize")
_DEFAULT_LENGTH = 256


class SentenceEmbedder:
    """Embeds texts; the model is loaded when the first is.

    Args:
        folder: of the model's files.
        batch_size: texts per forward pass.

    Raises:
        FileNotFoundError: there is no model in the folder.
        ValueError: its embeddings are not the mean of the tokens' last states.
    """

    def __init__(self, folder: str | Path, *, batch_size: int = 64) -> None:
        self.folder = Path(folder)
        self.batch_size = batch_size
        if not (self.folder / "config.json").is_file():
            raise FileNotFoundError(f"{self.folder}: no model lies here; fetch it again (its model.json has `path`)")
        self._check_layout()

    def facts(self) -> dict[str, Any]:
        """Name and revision, as the manifest beside the folder has them; else the folder's name."""
        manifest = self.folder.parent / "model.json"
        if manifest.is_file():
            content = read_json(manifest)
            return {"name": content["name"], "revision": content["revision"]}
        return {"name": self.folder.name, "revision": None}

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Embed each text, long ones cut to what the model takes.

        Args:
            texts: [texts]

        Returns:
            [texts, width] of length 1.

        Raises:
            ValueError: the embedding of a text is zero or not finite.
        """
        # Texts of like length go together, so that little is computed for padding.
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        pooled = np.empty((len(texts), self.width))
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            states, mask = self._encode([texts[row] for row in batch])
            own = mask[:, :, None].astype(states.dtype)
            pooled[batch] = (states * own).sum(1) / own.sum(1)
        lengths = np.linalg.norm(pooled, axis=1, keepdims=True)
        bad = np.flatnonzero(~(np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0)))
        if bad.size:
            raise ValueError(f"the embedding of {texts[bad[0]]!r} is zero or not finite")
        return pooled / lengths

    @property
    def width(self) -> int:
        """Numbers in an embedding."""
        return int(read_json(self.folder / "config.json")["hidden_size"])

    @cached_property
    def _encode(self) -> Encoder:
        """Computes states; the model is loaded here."""
        with starting_up(self.facts()["name"]):
            if is_plain_bert(self.folder):
                return BertEncoder(self.folder, self._length)
            return _transformers_encoder(self.folder, self._length)

    @property
    def _length(self) -> int:
        """Longest text, in tokens."""
        path = self.folder / "sentence_bert_config.json"
        return (read_json(path).get("max_seq_length") if path.is_file() else None) or _DEFAULT_LENGTH

    def _check_layout(self) -> None:
        modules = self.folder / "modules.json"
        kinds = [module["type"].rpartition(".")[2] for module in read_json(modules)] if modules.is_file() else []
        others = [kind for kind in kinds if kind not in _MODULES]
        pooling = self.folder / "1_Pooling/config.json"
        modes = read_json(pooling) if pooling.is_file() else {}
        others += [key for key, value in modes.items() if key.startswith("pooling_mode_") and value is True]
        others = [name for name in others if name != "pooling_mode_mean_tokens"]
        if others:
            raise ValueError(
                f"{self.folder}: {', '.join(others)} is not supported; take a model whose embedding is the mean of its "
                "tokens' last states, such as all-minilm-l6-v2"
            )


def _transformers_encoder(folder: Path, length: int) -> Encoder:
    """Computes [texts, tokens, width] states and a mask [texts, tokens] of any encoder that transformers knows."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
    model.requires_grad_(False)

    def encode(texts: Sequence[str]) -> tuple[NDArray[Any], NDArray[Any]]:
        tokens = tokenizer(list(texts), padding=True, truncation=True, max_length=length, return_tensors="pt")
        with torch.inference_mode():
            states = model(**tokens).last_hidden_state
        return states.numpy(), tokens["attention_mask"].numpy()

    return encode
