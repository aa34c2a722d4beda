"""What a manifest from somebody else may say, and what it may not."""

from __future__ import annotations

import json

import pytest

from tells.sharing.manifest import Blob, Manifest, SharedFile, SharingError, is_of_run, is_table, parse_manifest

DIGEST = "0" * 64


def file_named(path: str) -> dict:
    return {"path": path, "size": 1, "sha256": DIGEST, "mtime_ns": 1}


def content_with(*paths: str, **other: object) -> bytes:
    files = [file_named(path) for path in paths]
    return json.dumps({"format": 1, "experiment": "tiny", "tables_only": False, "files": files, **other}).encode()


@pytest.mark.parametrize(
    "path",
    [
        "experiments/tiny/uncertainty/results.json",
        "experiments/tiny/traits/behavioral/formality/shards/replay-0000.safetensors",
        "experiments/tiny.yaml",
        "experiments/what-it-extends.yaml",
        "logs/tiny/uncertainty/grade.status.json",
        "logs/tiny/uncertainty/grade.tsv",
        "config/questions/sums.jsonl",
        "config/traits/behavioral/brevity/positive.txt",
        "config/benchmarks/own.yaml",
    ],
)
def test_files_of_a_run_and_its_definitions_are_taken(path):
    assert parse_manifest(content_with(path), "here").files[0].path == path


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "//etc/passwd",
        "~/secret",
        "../elsewhere.json",
        "experiments/tiny/../../Snakefile",
        "experiments/tiny/..",
        "experiments/tiny/./results.json",
        "experiments/tiny//results.json",
        "experiments/tiny/",
        "experiments/tiny",
        "experiments/tiny/.hidden.json",
        "experiments/tiny\\..\\..\\x.json",
        "C:/windows/x.json",
        "experiments/tiny/new\nline.json",
        "experiments/tiny/nul\x00.json",
        "experiments/other/uncertainty/results.json",
        "experiments/tiny-two/uncertainty/results.json",
        "experiments/UPPER.yaml",
        "experiments/deep/er.yaml",
        "logs/tiny/uncertainty/grade.log",
        "logs/other/uncertainty/grade.tsv",
        "logs/tiny",
        ".snakemake/metadata/abc",
        ".snakemake/iocache/latest.pkl",
        "Snakefile",
        "rules/common.smk",
        "workflow/tells/cli.py",
        "workflow/scripts/prompts.py",
        "config/config.yaml",
        "config/models.yaml",
        "config/questions/make_sums.py",
        "config/traits/a/../../models.yaml",
        "profiles/cpu/config.yaml",
        "resources/models/tiny-random/model.json",
        "experiments/tiny/" + "x" * 1100,
        "",
    ],
)
def test_any_other_name_is_refused(path):
    with pytest.raises(SharingError, match=r"here/manifest\.json is refused: .*no (plain path|file of)"):
        parse_manifest(content_with(path), "here")


def test_a_name_may_stand_once_and_be_no_folder_of_another():
    with pytest.raises(SharingError, match="stands twice"):
        parse_manifest(content_with("experiments/tiny/a.json", "experiments/tiny/a.json"), "here")
    with pytest.raises(SharingError, match="both a file and a folder"):
        parse_manifest(content_with("experiments/tiny/a", "experiments/tiny/a/b.json"), "here")


@pytest.mark.parametrize("path", ["../outside.jsonl", "/data/own.jsonl", ".ssh/id_rsa"])
def test_an_input_that_leads_out_is_refused(path):
    with pytest.raises(SharingError, match="no plain path"):
        parse_manifest(content_with(inputs=[file_named(path)]), "here")


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"experiment": "../up"},
        {"experiment": "tiny/"},
        {"unknown": 1},
        {"files": [{**file_named("experiments/tiny/a.json"), "link": "/etc/passwd"}]},
        {"files": [{**file_named("experiments/tiny/a.json"), "sha256": "../../x"}]},
        {"files": [{**file_named("experiments/tiny/a.json"), "sha256": f"{DIGEST}\n"}]},
        {"files": [{**file_named("experiments/tiny/a.json"), "size": -1}]},
        {"files": [{**file_named("experiments/tiny/a.json"), "size": "1"}]},
        {"files": [{**file_named("experiments/tiny/a.json"), "mtime_ns": 2**63}]},
    ],
)
def test_what_is_no_manifest_of_this_form_is_refused(changes):
    content = {**json.loads(content_with("experiments/tiny/a.json")), **changes}
    with pytest.raises(SharingError, match=r"here/manifest\.json is refused"):
        parse_manifest(json.dumps(content).encode(), "here")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_what_is_no_json_is_refused(content):
    with pytest.raises(SharingError, match=r"here/manifest\.json is refused"):
        parse_manifest(content, "here")


def test_a_manifest_comes_back_as_it_was():
    file = SharedFile(path="experiments/tiny/a.json", size=3, sha256=DIGEST, mtime_ns=5)
    records = Blob(sha256="1" * 64, size=7)
    manifest = Manifest(experiment="tiny", tables_only=True, files=(file,), records=records)
    assert parse_manifest(manifest.to_bytes(), "here") == manifest
    assert manifest.objects() == {DIGEST: 3, "1" * 64: 7}


def test_tables_are_told_from_shards_and_tensors():
    assert is_table("experiments/tiny/uncertainty/sums/samples.parquet")
    assert is_table("experiments/tiny/uncertainty/sums/shards/prompts-0003.parquet")
    assert not is_table("experiments/tiny/uncertainty/sums/shards/samples-0003.parquet")
    assert not is_table("experiments/tiny/uncertainty/probes.safetensors")


def test_definitions_are_told_from_what_is_made():
    assert is_of_run("experiments/tiny/uncertainty/results.json")
    assert is_of_run("logs/tiny/uncertainty/grade.tsv")
    assert not is_of_run("experiments/tiny.yaml")
    assert not is_of_run("config/questions/sums.yaml")
