from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from tells.models.attention import IMPLEMENTATION
from tells.models.loading import choose_device, choose_dtype, limit_gpu_memory, load_model

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def with_manifest(tmp_path, tiny_manifests, **changes):
    facts = json.loads(tiny_manifests["llama"].read_text())
    manifest = tmp_path / "model.json"
    manifest.write_text(json.dumps({**facts, **changes}))
    return manifest


@pytest.mark.parametrize(
    ("asked", "of_the_manifest", "native", "expected"),
    [
        ("auto", "float32", True, torch.float32),
        ("auto", "bfloat16", False, torch.bfloat16),
        ("auto", "auto", True, torch.bfloat16),
        ("auto", "auto", False, torch.float32),
        ("float16", "bfloat16", True, torch.float16),
    ],
)
def test_the_dtype_is_as_asked_then_the_manifests_then_native(
    tmp_path, tiny_manifests, monkeypatch, asked, of_the_manifest, native, expected
):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    loaded = load_model(with_manifest(tmp_path, tiny_manifests, dtype=of_the_manifest), dtype=asked, device="cpu")
    assert loaded.model.dtype == expected
    assert loaded.facts() == {"dtype": str(expected).removeprefix("torch."), "device": "cpu"}


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_a_gpu_computes_in_bfloat16_only_where_it_is_native(monkeypatch, native, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native or including_emulation)
    assert choose_dtype("auto", GPU) == expected


def test_a_model_whose_files_are_gone_is_an_error_that_says_what_to_do(tmp_path, tiny_manifests):
    manifest = with_manifest(tmp_path, tiny_manifests, path=str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match=r"gone is gone; delete the manifest and fetch the model again"):
        load_model(manifest)


def test_a_gpu_that_is_asked_for_but_not_there_is_an_error(tiny_manifests, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match=r"torch sees no GPU; use device: auto or cpu"):
        load_model(tiny_manifests["llama"], device="cuda")
    assert choose_device("auto") == "cpu"


def test_a_gpu_that_is_there_is_taken_unless_the_cpu_is_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (choose_device("auto"), choose_device("cuda"), choose_device("cpu")) == ("cuda", "cuda", "cpu")


def test_a_loaded_model_is_ready_to_run_and_has_our_attention(tiny):
    assert not tiny.model.training
    assert not any(parameter.requires_grad for parameter in tiny.model.parameters())
    assert tiny.model.config._attn_implementation == IMPLEMENTATION
    assert tiny.name.startswith("tiny-")


def test_every_end_of_sequence_token_counts(tmp_path, tiny_manifests, tiny):
    assert tiny.eos_token_ids == {tiny.tokenizer.eos_token_id}
    loaded = load_model(tiny_manifests["llama"], dtype="float32", device="cpu")
    folder = tmp_path / "model"
    loaded.model.generation_config.eos_token_id = [3, 5]
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    again = load_model(with_manifest(tmp_path, tiny_manifests, path=str(folder)), dtype="float32", device="cpu")
    assert again.eos_token_ids == {3, 5, loaded.tokenizer.eos_token_id}


def test_the_number_of_threads_is_set(tiny_manifests):
    before = torch.get_num_threads()
    try:
        load_model(tiny_manifests["llama"], device="cpu", threads=before + 1)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_a_slice_of_the_gpu_is_a_share_of_its_memory(monkeypatch):
    shares = []
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=80 * 2**30))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, _: shares.append(share))
    limit_gpu_memory(GPU, 20.0)
    limit_gpu_memory(GPU, None)
    limit_gpu_memory(CPU, 20.0)
    assert shares == [0.25]
    with pytest.raises(ValueError, match=r"gpu_memory_gb is 100, but the GPU has 80\.0 GB"):
        limit_gpu_memory(GPU, 100.0)
