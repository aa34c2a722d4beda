"""A real run in one clone, shared by a folder and by a local S3 server: in another clone nothing is left to do."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from moto.server import ThreadedMotoServer
from workflow_helpers import TINY, add_models, dry_run_jobs, environment, make_clone, snakemake, write_experiment

pytestmark = pytest.mark.slow
SHARDS = "experiments/tiny/uncertainty/sums/shards"
MODEL = "resources/models/tiny-random/model.json"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which the experiment `tiny` has been run to the end."""
    clone = make_clone(tmp_path_factory.mktemp("built"))
    done = snakemake(clone)
    assert done.returncode == 0, done.stdout
    return clone


@pytest.fixture
def fresh(built: Path, tmp_path: Path) -> Path:
    """A clone of the same state in which nothing has been run, and which does not know the experiment."""
    made = shutil.ignore_patterns(".snakemake", "resources", "logs", "tiny", "tiny.yaml", "own", "own.yaml")
    clone = Path(shutil.copytree(built, tmp_path / "fresh", symlinks=True, ignore=made))
    # As after `git clone`: everything is newer than the run.
    for path in (clone / "config").rglob("*"):
        path.touch()
    return clone


@pytest.fixture
def bucket() -> Iterator[dict[str, str]]:
    """Environment in which s3://shared is a bucket of a server on this machine."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "made-up-name",
        "AWS_SECRET_ACCESS_KEY": "made-up-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    code = "import s3fs; s3fs.S3FileSystem().mkdir('shared')"
    subprocess.run([sys.executable, "-c", code], env={**environment(Path()), **variables}, check=True)
    yield variables
    server.stop()


def tells(clone: Path, *arguments: str, variables: dict[str, str] | None = None) -> str:
    """The command `tells` in a clone; gives what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "tells.cli", *arguments],
        cwd=clone,
        env={**environment(clone), **(variables or {})},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def nothing_is_left(clone: Path, *options: str) -> bool:
    done = snakemake(clone, "-n", *options)
    assert done.returncode == 0, done.stdout
    return "Nothing to be done" in done.stdout


def test_a_run_from_a_folder_counts_as_done(built, fresh, tmp_path):
    tells(built, "push", "tiny", str(tmp_path / "shared"))
    told = tells(fresh, "pull", str(tmp_path / "shared/tiny"))
    assert told.count("note:") == 1, "of the model alone, which does not travel"
    assert nothing_is_left(fresh)
    # Without checksums Snakemake goes by the times alone; those of definitions are as after a clone.
    for path in (fresh / "config").rglob("*"):
        subprocess.run(["touch", "-d", "2020-01-01", path], check=True)
    assert nothing_is_left(fresh, "--max-checksum-file-size", "0")


def test_a_run_from_s3_counts_as_done_and_is_browsable(built, fresh, bucket):
    tells(built, "push", "tiny", "s3://shared/runs", variables=bucket)
    tells(fresh, "pull", "s3://shared/runs/tiny", variables=bucket)
    assert nothing_is_left(fresh)
    assert "AUROC" in tells(fresh, "show", "tiny")


def test_tables_alone_count_as_done(built, fresh, tmp_path):
    tells(built, "push", "tiny", str(tmp_path / "shared"), "--tables-only")
    tells(fresh, "pull", str(tmp_path / "shared/tiny"))
    assert not list((fresh / "experiments/tiny").rglob("*.safetensors"))
    assert nothing_is_left(fresh)


def test_what_is_changed_afterwards_is_made_again_and_nothing_else(built, fresh, tmp_path):
    tells(built, "push", "tiny", str(tmp_path / "shared"))
    tells(fresh, "pull", str(tmp_path / "shared/tiny"))
    definition = yaml.safe_load((fresh / "experiments/tiny.yaml").read_text())
    write_experiment(fresh, {**definition, "uncertainty": {**TINY["uncertainty"], "temperature": 0.5}})
    jobs = dry_run_jobs(fresh)
    assert jobs["sample_shard"] == 4, "Snakemake's records came along, or the new temperature would go unnoticed"
    assert jobs["prompts"] == 0


def test_a_run_can_be_gone_on_with(built, fresh, tmp_path):
    tells(built, "push", "tiny", str(tmp_path / "shared"))
    assert f"`snakemake --profile cpu {MODEL}`, then pull once more" in tells(
        fresh, "pull", str(tmp_path / "shared/tiny")
    )
    assert snakemake(fresh, MODEL).returncode == 0
    assert "note:" not in tells(fresh, "pull", str(tmp_path / "shared/tiny"))
    assert nothing_is_left(fresh)
    before = {path.name: path.read_bytes() for path in (fresh / SHARDS).glob("samples-*")}
    definition = yaml.safe_load((fresh / "experiments/tiny.yaml").read_text())
    definition["uncertainty"]["collections"]["sums"]["limit"] = 18
    write_experiment(fresh, definition)
    done = snakemake(fresh, "experiments/tiny/uncertainty/sums/samples.parquet")
    assert done.returncode == 0, done.stdout
    sampled = re.findall(r"output: \S+/samples-(\d+)\.parquet", done.stdout)
    assert sorted(set(sampled)) == ["0002", "0003"], done.stdout
    for name in ("samples-0000.parquet", "samples-0001.parquet"):
        assert (fresh / SHARDS / name).read_bytes() == before[name]


def test_a_model_that_lies_elsewhere_does_not_sample_again(built, fresh, tmp_path):
    """The manifest of a hub's model names the cache of its own machine."""
    place = json.loads((built / MODEL).read_text())["path"]
    assert not Path(place).is_absolute()
    tells(built, "push", "tiny", str(tmp_path / "shared"))
    manifest = fresh / MODEL
    manifest.parent.mkdir(parents=True)
    facts = json.loads((built / MODEL).read_text())
    manifest.write_text(json.dumps({**facts, "path": "/a/cache/of/another/machine"}))
    tells(fresh, "pull", str(tmp_path / "shared/tiny"))
    assert nothing_is_left(fresh)
    manifest.write_text(json.dumps({**facts, "revision": "another"}))
    assert dry_run_jobs(fresh)["sample_shard"] == 4


def test_a_model_that_is_not_in_the_catalogue_is_told(built, fresh, tmp_path):
    add_models(built, tiny_own={"source": "random", "architecture": "llama", "dtype": "float32"})
    write_experiment(built, {**TINY, "model": "tiny-own"}, "own")
    (built / "experiments/own/uncertainty").mkdir(parents=True)
    (built / "experiments/own/uncertainty/results.json").write_text("{}")
    assert "note:" not in tells(built, "push", "own", str(tmp_path / "shared"))
    told = tells(fresh, "pull", str(tmp_path / "shared/own"))
    assert "tiny-own is not in config/models.yaml" in told
