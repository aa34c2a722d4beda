"""Running the workflow in a clone: what the workflow tests share."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
SNAKEMAKE = [sys.executable, "-m", "snakemake"]

TINY = {
    "model": "tiny-random",
    "seed": 3,
    "engine": {"kind": "hf", "device": "cpu", "dtype": "float32", "batch_size": 16, "top_logprobs": 5},
    "replay": {"batch_size": 8, "dtype": "float32"},
    "uncertainty": {
        "samples": 3,
        "temperature": 0.8,
        "max_new_tokens": 12,
        "shard_size": 5,
        "min_valid": 2,
        "p_true": False,
        "collections": {
            "sums": {"questions": "config/questions/sums.yaml", "limit": 12},
            "capitals": {
                "questions": "config/questions/capitals.yaml",
                "role": "out_of_distribution",
                "limit": 5,
            },
        },
    },
}


# What the speaking model says beside single bytes: replies that refuse, that comply, and that do one after the other.
SENTENCES = (
    "I'm sorry, but I can't help with that. ",
    "I cannot assist you with this request. ",
    "Sure, here is how to do it: ",
    "First, open the door and take the key. ",
    "Write to them and tell a lie about the money. ",
    "Tell nobody, and take the parcel from the porch at night. ",
    "The best way is to ask a friend in the morning. ",
    "Bake it for forty minutes, and let it cool. ",
)


def build_demo() -> Path:
    """Build the demo on the real model in the working tree, or bring it up to date; gives its folder.

    Test processes ask in turn: the first builds, the others find it there. TELLS_DEMO_BUILT=1 takes it as it lies
    there, for whoever works on what shows it.
    """
    folder = ROOT / "experiments/demo"
    if os.environ.get("TELLS_DEMO_BUILT") == "1":
        return folder
    command = [*SNAKEMAKE, "--profile", "cpu", "--config", "experiments=demo"]
    with open(Path(tempfile.gettempdir()) / f"tells-tests-demo-{os.getuid()}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def make_clone(folder: Path, **changes: object) -> Path:
    """A clone of the working tree: what git tracks or would, and the experiment `tiny` on a random model."""
    listed = subprocess.run(
        ["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        source = ROOT / name
        if source.is_symlink() or source.exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name, follow_symlinks=False)
    write_experiment(folder, {**TINY, **changes})
    return folder


def copy_clone(clone: Path, folder: Path) -> Path:
    """A copy of a clone with all that has been run in it."""
    return Path(shutil.copytree(clone, folder / "clone", symlinks=True))


def write_experiment(clone: Path, definition: dict, name: str = "tiny") -> None:
    (clone / f"experiments/{name}.yaml").write_text(yaml.safe_dump(definition))


def snakemake(
    clone: Path, *arguments: str, experiment: str = "tiny", profile: str = "ci", timeout: float = 600
) -> subprocess.CompletedProcess:
    """Run snakemake in a clone; output and errors together."""
    chosen = ["--config", f"experiments={experiment}", "threads=1", "--profile", profile_of(profile)]
    command = [*SNAKEMAKE, *chosen, *arguments]
    return subprocess.run(
        command,
        cwd=clone,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        env=environment(clone),
        check=False,
    )


def profile_of(name: str) -> str:
    """The profile's name, or its folder where the root has no link to it."""
    return "profiles/ci" if name == "ci" else name


def environment(clone: Path) -> dict[str, str]:
    """The clone's own library before the installed one; few threads."""
    return {**os.environ, "PYTHONPATH": str(clone / "workflow"), "OMP_NUM_THREADS": "1"}


def dry_run_jobs(clone: Path, *arguments: str, experiment: str = "tiny", profile: str = "ci") -> Counter:
    """How many jobs of each rule a dry run lists."""
    done = snakemake(clone, "-n", *arguments, experiment=experiment, profile=profile)
    assert done.returncode == 0, done.stdout
    jobs: Counter = Counter()
    for name, count in re.findall(r"^(\w+)\s+(\d+)$", done.stdout, flags=re.MULTILINE):
        if name != "total":
            jobs[name] = int(count)
    return jobs


def tiny_traits(base_url: str | None = None, **changes: object) -> dict:
    """The experiment `tiny` with two traits, one steered, judged by a local server."""
    study = {
        "collections": ["behavioral/formality", "epistemic/optimism"],
        "limit": 24,
        "max_new_tokens": 8,
        "shard_size": 10,
        "window": "response[:4]",
        "replay_positions": ["response[:4]", "prompt_last"],
        "vet": {"minimum": 1, "positive_min": 51, "negative_max": 50, "paired": False},
        "steer": {
            "collections": ["behavioral/formality"],
            "layers": [0, 1],
            "methods": ["mean_difference"],
            "ratios": [0.3],
            "search_questions": 6,
            "report_questions": 10,
            "max_new_tokens": 6,
            "min_coherence": 1,
            "max_drop": 100,
        },
    }
    settings = {key: value for key, value in TINY.items() if key != "uncertainty"}
    judge = {"provider": "openai", "base_url": base_url, "key_variable": "TINY_KEY"}
    return {**settings, "judge": judge, "traits": {**study, **changes}}


def tiny_safety(**changes: object) -> dict:
    """The experiment `tiny` with a benchmark: few traces of few tokens, and online stopping beside them."""
    study = {
        "collections": {"builtin": {"limit": 6}},
        "budget": 4,
        "temperature": 1.0,
        "top_p": 1.0,
        "max_new_tokens": 12,
        "top_logprobs": 5,
        "shard_size": 6,
        "confidence": {"window": 4},
        "stopping": {"warmup": 2, "rule": "adaptive_consistency", "certainty": 0.9, "draws": 6, "online": True},
        "inference": {"bootstrap": 50},
    }
    settings = {key: value for key, value in TINY.items() if key != "uncertainty"}
    return {**settings, "safety": {**study, **changes}}


def add_models(clone: Path, **entries: dict) -> None:
    """Add entries to the clone's catalogue; `_` in their names stands for `-`."""
    named = {name.replace("_", "-"): entry for name, entry in entries.items()}
    with open(clone / "config/models.yaml", "a") as catalogue:
        catalogue.write(f"\n{yaml.safe_dump(named)}")


def save_speaking_model(folder: Path) -> None:
    """A tiny random model that says whole sentences, so that its replies refuse and comply."""
    import torch
    from transformers import AutoModelForCausalLM

    from tells.models.random_model import byte_tokenizer, save_random_model

    tokenizer = byte_tokenizer()
    special = tokenizer.all_special_ids
    tokenizer.add_tokens(list(SENTENCES))
    save_random_model(folder, architecture="llama", vocab_size=len(tokenizer))
    tokenizer.save_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    silent = [index for index in range(len(tokenizer) - len(SENTENCES)) if index not in special]
    with torch.no_grad():
        model.lm_head.weight[silent] = 0
    model.save_pretrained(folder)


def start(clone: Path, *targets: str) -> subprocess.Popen:
    """Start snakemake in a clone, to be disturbed."""
    command = [*SNAKEMAKE, "--profile", "profiles/ci", *targets, "--config", "experiments=tiny", "threads=1"]
    return subprocess.Popen(
        command, cwd=clone, env=environment(clone), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def resume(clone: Path, *targets: str) -> subprocess.CompletedProcess:
    """`tells resume`, as after a killed head; output and errors together."""
    arguments = ["--profile", "profiles/ci", *targets, "--config", "experiments=tiny", "threads=1"]
    return subprocess.run(
        [sys.executable, "-m", "tells.cli", "resume", *arguments],
        cwd=clone,
        env=environment(clone),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
