"""The encoder in numpy against transformers, on small random BERTs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tells.judge import embedding
from tells.judge.bert import BertEncoder, is_plain_bert
from tells.judge.embedding import SentenceEmbedder, _transformers_encoder
from tells.startup import Startup
from tells.tables import TableError

WORDS = ("the", "cat", "sat", "on", "mat", "while", "dogs", "slept", "##s", ",", ".")
SIZES = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 40}
TEXTS = ["the cat sat on the mat.", "dogs slept", "", "unheard of", "the cats, the dogs, " * 12]


def save_bert(folder: Path, *, prefixed: bool = False, **changes: object) -> Path:
    """A small random BERT with a word-piece tokenizer, weights far from those it would be born with."""
    import torch
    from transformers import BertConfig, BertForMaskedLM, BertModel, BertTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    vocabulary = {word: index for index, word in enumerate((*special, *WORDS))}
    BertTokenizer(vocab=vocabulary).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {**SIZES, "vocab_size": len(vocabulary), "max_position_embeddings": 32, **changes}
    model = (BertForMaskedLM if prefixed else BertModel)(BertConfig(**sizes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5)
    model.save_pretrained(folder)
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 32}')
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bert(tmp_path_factory.mktemp("bert"))


def assert_as_transformers(folder: Path, length: int) -> None:
    ours, our_mask = BertEncoder(folder, length)(TEXTS)
    theirs, their_mask = _transformers_encoder(folder, length)(TEXTS)
    assert np.array_equal(our_mask, their_mask.astype(bool))
    assert ours.shape == theirs.shape
    assert ours.dtype == np.float32
    assert np.abs(ours - theirs)[our_mask].max() < 1e-4 * np.abs(theirs).max()


@pytest.mark.parametrize("length", [32, 7])
def test_states_are_those_of_transformers(folder: Path, length: int):
    assert_as_transformers(folder, length)


def test_weights_below_a_head_are_found(tmp_path: Path):
    assert_as_transformers(save_bert(tmp_path, prefixed=True), 32)


def test_the_epsilon_is_the_models_own(tmp_path: Path):
    assert_as_transformers(save_bert(tmp_path, layer_norm_eps=0.3), 32)


def test_a_text_has_the_same_states_whatever_stands_beside_it(folder: Path):
    encoder = BertEncoder(folder, 32)
    together, mask = encoder(TEXTS)
    for row, text in enumerate(TEXTS):
        alone, _ = encoder([text])
        assert np.allclose(together[row][mask[row]], alone[0], atol=1e-5)


def test_embeddings_are_the_same_by_both_ways(folder: Path, monkeypatch: pytest.MonkeyPatch):
    ours = SentenceEmbedder(folder, batch_size=2)(TEXTS)
    monkeypatch.setattr(embedding, "is_plain_bert", lambda _: False)
    theirs = SentenceEmbedder(folder, batch_size=3)(TEXTS)
    assert ours.shape == (len(TEXTS), SIZES["hidden_size"])
    assert np.abs(ours - theirs).max() < 1e-5
    assert SentenceEmbedder(folder)([]).shape == (0, SIZES["hidden_size"])


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "mpnet"},
        {"hidden_act": "gelu_new"},
        {"position_embedding_type": "relative_key"},
        {"is_decoder": True},
        {"file": "model.safetensors"},
        {"file": "tokenizer.json"},
    ],
    ids=str,
)
def test_what_it_would_compute_otherwise_is_left_to_transformers(tmp_path: Path, folder: Path, change: dict):
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        if name != change.get("file"):
            (tmp_path / name).symlink_to(folder / name)
    assert is_plain_bert(tmp_path) == ("file" not in change)
    config = {**json.loads((folder / "config.json").read_text()), **change}
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert not is_plain_bert(tmp_path)


def test_a_folder_without_its_weights_is_said(tmp_path: Path, folder: Path):
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).symlink_to(folder / name)
    with pytest.raises(TableError, match=r"model\.safetensors: no such file"):
        BertEncoder(tmp_path, 32)


def test_loading_counts_as_start_up_once_and_only_when_a_text_is_embedded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    counted = Startup()
    monkeypatch.setattr(embedding, "starting_up", counted.counted)
    embedder = SentenceEmbedder(folder)
    assert counted.loads == []
    embedder(TEXTS[:2])
    embedder(TEXTS[:1])
    assert counted.loads == [embedder.facts()["name"]]
    assert counted.seconds > 0
