"""Which engine generates: what was asked for, or what this machine can do, with the reason."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tells.config import EngineConfig

if TYPE_CHECKING:
    from tells.models.engines.base import Engine

logger = logging.getLogger(__name__)
_SMALLEST_CAPABILITY = (7, 5)


def choose_engine(config: EngineConfig, *, gpu_memory_gb: float | None = None) -> tuple[str, str]:
    """The kind of engine for `auto`, and why.

    Args:
        config: the experiment's engine.
        gpu_memory_gb: the slice this process may use.

    Returns:
        `hf` or `vllm`, and a reason for the log and the metadata.
    """
    if config.kind != "auto":
        return config.kind, "asked for in the experiment"
    if importlib.util.find_spec("vllm") is None:
        return "hf", "vllm is not installed"
    if config.device == "cpu":
        return "hf", "engine.device is cpu"
    gpu = _first_gpu()
    if gpu is None:
        return "hf", "no GPU"
    capability, free_gb = gpu
    if capability < _SMALLEST_CAPABILITY:
        return "hf", f"the GPU has compute capability {capability[0]}.{capability[1]}, vllm needs 7.5"
    if config.dtype == "bfloat16" and capability < (8, 0):
        return "hf", f"bfloat16 needs compute capability 8.0, the GPU has {capability[0]}.{capability[1]}"
    if gpu_memory_gb is not None and free_gb < gpu_memory_gb:
        return "hf", f"only {free_gb:.1f} GB of the GPU are free, gpu_memory_gb is {gpu_memory_gb:g}"
    return "vllm", f"vllm is installed and a GPU of capability {capability[0]}.{capability[1]} is free"


def open_engine(
    manifest: str | Path,
    config: EngineConfig,
    *,
    gpu_memory_gb: float | None = None,
    threads: int | None = None,
    seed: int = 0,
) -> Engine:
    """Load the model in the engine that `choose_engine` names.

    Args:
        manifest: the model's model.json.
        config: the experiment's engine.
        gpu_memory_gb: the slice this process may use.
        threads: CPU threads.
        seed: of the vllm engine itself; runs have their own.
    """
    kind, reason = choose_engine(config, gpu_memory_gb=gpu_memory_gb)
    logger.info("engine %s: %s", kind, reason)
    if kind == "vllm":
        from tells.models.engines.vllm import VllmEngine

        return VllmEngine(manifest, config, gpu_memory_gb=gpu_memory_gb, seed=seed)
    from tells.models.engines.hf import HfEngine
    from tells.models.loading import load_model

    loaded = load_model(
        manifest, dtype=config.dtype, device=config.device, gpu_memory_gb=gpu_memory_gb, threads=threads
    )
    return HfEngine(loaded, batch_size=config.batch_size)


def _first_gpu() -> tuple[tuple[int, int], float] | None:
    """Compute capability and free memory (GB) of the first visible GPU, asked without starting CUDA here."""
    query = ["nvidia-smi", "--query-gpu=compute_cap,memory.free", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    capability, free = done.stdout.splitlines()[0].split(",")
    major, minor = capability.strip().split(".")
    return (int(major), int(minor)), float(free) / 1024
