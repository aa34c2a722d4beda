from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tells.config import EngineConfig
from tells.models.engines import select
from tells.models.engines.select import choose_engine, open_engine
from tells.models.engines.vllm import FORCED, memory_share, prepare_environment


@pytest.fixture(autouse=True)
def gpu_build_of_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if vllm in its build for GPUs were installed, whatever is."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: "yes" if name == "vllm" else found(name))
    monkeypatch.setattr(select, "_is_cpu_build", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put an nvidia-smi on PATH that prints a line; returns a function that says how it was called."""

    def install(line: str, *, code: int = 0):
        program = tmp_path / "nvidia-smi"
        program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\nprintf "{line}"\nexit {code}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return lambda: (tmp_path / "arguments").read_text()

    return install


def test_a_fitting_gpu_means_vllm(nvidia_smi):
    arguments = nvidia_smi("9.0, 81000\\n7.0, 100\\n")
    kind, reason = choose_engine(EngineConfig(dtype="bfloat16"), gpu_memory_gb=40)
    assert kind == "vllm"
    assert "9.0" in reason
    assert "79.1 GB" in reason
    assert "compute_cap,memory.free" in arguments()


@pytest.mark.parametrize("kind", ["hf", "vllm"])
def test_what_is_asked_for_is_taken_without_a_look_at_the_machine(kind, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("the machine was asked"))
    assert choose_engine(EngineConfig(kind=kind)) == (kind, "asked for in the experiment")


def test_a_gpu_that_is_too_old_means_hf(nvidia_smi):
    nvidia_smi("7.0, 32000\\n")
    assert choose_engine(EngineConfig()) == ("hf", "the GPU has compute capability 7.0, vllm needs 7.5")


@pytest.mark.parametrize(
    ("line", "gpu_memory_gb", "kind"),
    [("8.0, 20479\\n", 20, "hf"), ("8.0, 20480\\n", 20, "vllm"), ("8.0, 100\\n", None, "vllm")],
)
def test_too_little_free_memory_means_hf(nvidia_smi, line, gpu_memory_gb, kind):
    nvidia_smi(line)
    assert choose_engine(EngineConfig(), gpu_memory_gb=gpu_memory_gb)[0] == kind


def test_too_little_free_memory_is_given_as_the_reason(nvidia_smi):
    nvidia_smi("8.0, 10240\\n")
    assert choose_engine(EngineConfig(), gpu_memory_gb=20)[1] == (
        "only 10.0 GB of the GPU are free, gpu_memory_gb is 20"
    )


@pytest.mark.parametrize(
    ("asked", "of_the_model", "kind"),
    [
        ("bfloat16", "auto", "hf"),
        ("auto", "bfloat16", "hf"),
        ("float16", "bfloat16", "vllm"),
        ("auto", "auto", "vllm"),
    ],
)
def test_bfloat16_on_capability_7_5_means_hf(nvidia_smi, asked, of_the_model, kind):
    nvidia_smi("7.5, 15000\\n")
    chosen, reason = choose_engine(EngineConfig(dtype=asked), model_dtype=of_the_model)
    assert chosen == kind
    assert ("bfloat16" in reason) == (kind == "hf")


@pytest.mark.parametrize("free", ["[Insufficient Permissions]", "[N/A]"])
def test_a_driver_that_does_not_tell_the_free_memory_is_no_obstacle(nvidia_smi, free):
    nvidia_smi(f"9.0, {free}\\n")
    kind, reason = choose_engine(EngineConfig(), gpu_memory_gb=20)
    assert kind == "vllm"
    assert "unknown free memory" in reason


@pytest.mark.parametrize(("line", "code"), [("", 0), ("No devices were found\\n", 6), ("No devices were found\\n", 0)])
def test_a_driver_without_a_gpu_means_hf(nvidia_smi, line, code):
    nvidia_smi(line, code=code)
    assert choose_engine(EngineConfig()) == ("hf", "no GPU")


def test_no_driver_means_hf(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert choose_engine(EngineConfig()) == ("hf", "no GPU")


@pytest.mark.parametrize("visible", ["", "-1"])
def test_a_hidden_gpu_means_hf(nvidia_smi, monkeypatch, visible):
    nvidia_smi("9.0, 81000\\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert choose_engine(EngineConfig()) == ("hf", "no GPU")


@pytest.mark.parametrize(
    ("visible", "asked"), [("3,1", "--id=3"), ("GPU-8932f937", "--id=GPU-8932f937"), ("MIG-41b8", None)]
)
def test_the_first_visible_gpu_is_asked(nvidia_smi, monkeypatch, visible, asked):
    arguments = nvidia_smi("9.0, 81000\\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert choose_engine(EngineConfig())[0] == "vllm"
    assert [word for word in arguments().split() if word.startswith("--id")] == ([asked] if asked else [])


def test_without_vllm_hf_is_taken_and_asking_for_it_is_an_error(nvidia_smi, monkeypatch):
    nvidia_smi("9.0, 81000\\n")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert choose_engine(EngineConfig()) == ("hf", "vllm is not installed")
    with pytest.raises(RuntimeError, match="not installed"):
        choose_engine(EngineConfig(kind="vllm"))


def test_the_build_of_vllm_for_cpus_is_no_reason_to_leave_a_gpu_idle(nvidia_smi, monkeypatch):
    nvidia_smi("9.0, 81000\\n")
    monkeypatch.setattr(select, "_is_cpu_build", lambda: True)
    assert choose_engine(EngineConfig())[0] == "hf"


def test_a_cpu_that_is_asked_for_means_hf(nvidia_smi):
    nvidia_smi("9.0, 81000\\n")
    assert choose_engine(EngineConfig(device="cpu")) == ("hf", "engine.device is cpu")


def test_the_engine_that_is_opened_is_the_one_chosen(tiny_manifests):
    config = EngineConfig(kind="hf", device="cpu", dtype="float32", batch_size=3)
    engine = open_engine(tiny_manifests["llama"], config)
    assert engine.name == "hf"
    assert engine.facts()["batch_size"] == 3


class TestMemoryShare:
    @pytest.fixture(autouse=True)
    def eighty_gigabytes(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=80 * 2**30))

    def test_the_configured_share_goes_before_the_slice(self):
        assert memory_share(EngineConfig(gpu_memory_utilization=0.3), 20.0) == 0.3

    def test_a_slice_is_a_share_of_the_gpu(self):
        assert memory_share(EngineConfig(), 20.0) == 0.25

    def test_the_whole_gpu_leaves_the_driver_its_part(self):
        assert memory_share(EngineConfig(), 80.0) == 0.95

    def test_a_slice_larger_than_the_gpu_is_an_error(self):
        with pytest.raises(ValueError, match=r"gpu_memory_gb is 81, but the GPU has 80\.0 GB"):
            memory_share(EngineConfig(), 81.0)

    def test_without_a_slice_or_without_a_gpu_it_is_nine_tenths(self, monkeypatch):
        assert memory_share(EngineConfig(), None) == 0.9
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert memory_share(EngineConfig(), 20.0) == 0.9


def test_telemetry_is_forced_off_and_a_cache_size_of_the_user_stays(monkeypatch):
    for name in FORCED:
        monkeypatch.setenv(name, "changed")
    for name in ("VLLM_LOGGING_LEVEL", "VLLM_LOGGING_STREAM"):
        monkeypatch.setenv(name, "mine")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "7")
    environment = os.environ
    prepare_environment(EngineConfig())
    assert {name: environment[name] for name in FORCED} == FORCED
    assert environment["VLLM_CPU_KVCACHE_SPACE"] == "7"
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE")
    prepare_environment(EngineConfig(gpu_memory_utilization=0.3))
    assert "VLLM_CPU_KVCACHE_SPACE" not in environment
    prepare_environment(EngineConfig())
    assert environment["VLLM_CPU_KVCACHE_SPACE"] == "2"
