"""Loading a model that lies ready: dtype, device, the slice of the GPU's memory, and our attention."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tells.models.attention import IMPLEMENTATION
from tells.models.transformers_parts import AutoModelForCausalLM, AutoTokenizer, without_compiler
from tells.startup import runs_on, starting_up
from tells.tables.files import read_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory, with what prompts and engines need to know of it."""

    model: Any
    tokenizer: Any
    manifest: dict[str, Any]
    eos_token_ids: frozenset[int]

    @property
    def name(self) -> str:
        """Its name in config/models.yaml."""
        return self.manifest["name"]

    def facts(self) -> dict[str, Any]:
        """Dtype and device, for metadata."""
        return {"dtype": str(self.model.dtype).removeprefix("torch."), "device": self.model.device.type}


def load_model(
    manifest: str | Path,
    *,
    dtype: str = "auto",
    device: str = "auto",
    gpu_memory_gb: float | None = None,
    threads: int | None = None,
) -> LoadedModel:
    """Load a causal language model.

    Args:
        manifest: resources/models/NAME/model.json, as `tells.models.materialise` writes it.
        dtype: auto takes the manifest's own, then bfloat16 where the processor multiplies it natively, else float32.
        device: auto takes the GPU where there is one.
        gpu_memory_gb: the share of the GPU this process may use.
        threads: CPU threads of torch.

    Raises:
        FileNotFoundError: the model's files are gone; fetch it again.
    """
    facts = read_json(manifest)
    folder = facts["path"]
    if not Path(folder).exists():
        raise FileNotFoundError(f"{manifest}: {folder} is gone; delete the manifest and fetch the model again")
    if threads:
        torch.set_num_threads(threads)
    where = torch.device(choose_device(device))
    limit_gpu_memory(where, gpu_memory_gb)
    chosen = choose_dtype(facts["dtype"] if dtype == "auto" else dtype, where)
    trust = bool(facts["trust_remote_code"])
    with starting_up(facts["name"]), without_compiler():
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust)
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=chosen, attn_implementation=IMPLEMENTATION, trust_remote_code=trust
        )
        model = model.eval().to(where)
    model.requires_grad_(False)
    runs_on(machine_name(where))
    logger.info("loaded %s (%s) in %s on %s", facts["name"], facts["revision"], chosen, where)
    return LoadedModel(model, tokenizer, facts, _eos(model, tokenizer))


def load_as(manifest: str | Path, settings: Mapping[str, Any], *, threads: int) -> LoadedModel:
    """Load a model as a stage's settings say (`dtype`, `device`, `gpu_memory_gb`); errors as `load_model`."""
    told = {key: settings[key] for key in ("dtype", "device", "gpu_memory_gb")}
    return load_model(manifest, **told, threads=threads)


def choose_device(device: str) -> str:
    """`cpu` or `cuda` for `auto`.

    Raises:
        RuntimeError: cuda is asked for, but there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("engine.device is cuda, but torch sees no GPU; use device: auto or cpu")
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def machine_name(device: torch.device) -> str:
    """What a status file calls this device: the name of the GPU, or `cpu` and its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """A torch dtype; `auto` is bfloat16 where it is native, else float32 on a CPU and float16 on a GPU."""
    if dtype != "auto":
        return getattr(torch, dtype)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32


def limit_gpu_memory(device: torch.device, gigabytes: float | None) -> None:
    """Hold this process to a slice of the GPU's memory.

    Raises:
        ValueError: the GPU has less than the slice.
    """
    if device.type != "cuda" or gigabytes is None:
        return
    total = torch.cuda.get_device_properties(device).total_memory / 2**30
    if gigabytes > total:
        raise ValueError(f"gpu_memory_gb is {gigabytes:g}, but the GPU has {total:.1f} GB")
    torch.cuda.set_per_process_memory_fraction(gigabytes / total, device)


def _eos(model: Any, tokenizer: Any) -> frozenset[int]:
    configured = model.generation_config.eos_token_id
    listed = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in [*listed, tokenizer.eos_token_id] if token is not None)
