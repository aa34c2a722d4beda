"""Engines that generate: one protocol, the same table from each.

`hf` is a decode loop of our own over transformers' forward pass; `vllm` runs vLLM in this process; `served` asks a vLLM
server of the user's.
"""

from tells.models.engines.base import ConfidenceStop, Engine, Generation, Request, Steering
from tells.models.engines.select import choose_engine, engine_config, open_engine

__all__ = [
    "ConfidenceStop",
    "Engine",
    "Generation",
    "Request",
    "Steering",
    "choose_engine",
    "engine_config",
    "open_engine",
]
