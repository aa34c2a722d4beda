"""What the server refuses, whatever asks: paths outside, frames, other hosts, writing."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tells.dashboard.app import make_app
from tells.dashboard.security import climbs, within
from tells.dashboard.server import is_loopback, serve
from tells.tables import make_metadata, write_table


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret.json").write_text("{}")
    (tmp_path / "experiments/demo/uncertainty").mkdir(parents=True)
    (tmp_path / "experiments/demo.yaml").write_text("model: none")
    table = pl.DataFrame({"dataset": ["=1+1"], "prompt_id": ["a,b"], "sample": [0], "split": ["test"]})
    table = table.with_columns(pl.col("sample").cast(pl.Int32), gold=pl.Series([["x", "y"]]))
    metadata = make_metadata("analyse_uncertainty", params={}, experiment="demo", seed=1)
    write_table(tmp_path / "experiments/demo/uncertainty/results.parquet", table, "results", metadata)
    return tmp_path


@pytest.fixture
def client(root: Path):
    return make_app(root).server.test_client()


@pytest.mark.parametrize(
    "path",
    [
        "/download/../secret.json",
        "/download/..%2fsecret.json",
        "/download/%2e%2e/secret.json",
        "/download/..%252f..%252fsecret.json",
        "/download//etc/passwd",
        "/download/%2fetc%2fpasswd",
        "/download/demo/..\\..\\secret.json",
        "/download/demo.yaml",
        "/download/demo/uncertainty",
        "/download/demo/uncertainty/absent.parquet",
        "/download/.hidden.json",
        "/rows/absent.csv",
        "/rows/uncertainty-runs.csv?experiment=..",
        "/rows/uncertainty-runs.exe?experiment=demo",
        "/assets/../app.py",
        "/assets/%2e%2e/app.py",
    ],
)
def test_no_path_leads_outside(client, path: str):
    assert client.get(path).status_code == 404


def test_a_link_that_leads_outside_is_not_followed(client, root: Path):
    (root / "experiments/demo/leak.json").symlink_to(root / "secret.json")
    assert client.get("/download/demo/leak.json").status_code == 404
    (root / "experiments/demo/own.json").symlink_to(root / "experiments/demo/uncertainty/results.parquet")
    assert client.get("/download/demo/own.json").status_code == 200


def test_every_answer_has_the_headers(client):
    for path in (
        "/",
        "/_dash-layout",
        "/download/demo/uncertainty/results.parquet",
        "/nowhere/at/all",
        "/assets/tells.js",
    ):
        headers = client.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy
        assert "default-src 'self'" in policy
        assert "script-src 'self' 'unsafe-eval' 'sha256-" in policy
        assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"


def test_frames_are_allowed_to_those_who_are_named(root: Path):
    client = make_app(root, frame_ancestors=("'self'", "https://example.org")).server.test_client()
    headers = client.get("/").headers
    assert "frame-ancestors 'self' https://example.org" in headers["Content-Security-Policy"]
    assert "X-Frame-Options" not in headers


@pytest.mark.parametrize("method", ["put", "delete", "patch"])
def test_nothing_can_be_written(client, method: str):
    for path in ("/", "/download/demo/uncertainty/results.parquet", "/rows/uncertainty-runs.csv"):
        assert getattr(client, method)(path).status_code == 405


def test_a_table_comes_as_it_lies_there_or_as_csv(client, root: Path):
    path = "/download/demo/uncertainty/results.parquet"
    assert client.get(path).data == (root / "experiments/demo/uncertainty/results.parquet").read_bytes()
    as_csv = client.get(f"{path}?as=csv")
    assert as_csv.mimetype == "text/csv"
    assert as_csv.text.splitlines() == ["dataset,prompt_id,sample,split,gold", '=1+1,"a,b",0,test,"[""x"", ""y""]"']
    assert "attachment" in as_csv.headers["Content-Disposition"]


def test_a_half_written_table_is_told_so(client, root: Path):
    path = root / "experiments/demo/uncertainty/results.parquet"
    path.write_bytes(path.read_bytes()[:200])
    answer = client.get("/download/demo/uncertainty/results.parquet?as=csv")
    assert answer.status_code == 409
    assert str(root) not in answer.text


def test_the_app_lives_below_its_base_path(root: Path):
    client = make_app(root, base_path="/tells/").server.test_client()
    assert client.get("/tells/").status_code == 200
    assert client.get("/tells/download/demo/uncertainty/results.parquet").status_code == 200
    assert client.get("/download/demo/uncertainty/results.parquet").status_code == 404
    with pytest.raises(ValueError, match="base path 'tells' must begin and end with a slash"):
        make_app(root, base_path="tells")


@pytest.mark.parametrize(
    ("host", "own"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("10.1.2.3", False)]
)
def test_only_this_machine_is_loopback(host: str, own: bool):
    assert is_loopback(host) is own


def test_another_host_needs_the_explicit_wish(root: Path):
    with pytest.raises(ValueError, match=r"--host 0\.0\.0\.0 .* no login: add --public"):
        serve(root, host="0.0.0.0", port=0, base_path="/", frame_ancestors=(), workers=1, public=False)


@pytest.mark.parametrize("path", ["/a/../b", "/a/%2e%2e/b", "/a//b", "//b", "/a/%252e%252e/b", "/a\\..\\b", "/a/%00"])
def test_climbing_is_seen_however_it_is_written(path: str):
    assert climbs(path)


def test_within_gives_files_below_the_folder_alone(tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/file.json").write_text("{}")
    (tmp_path / "out.json").write_text("{}")
    assert within(tmp_path / "in", "file.json") == tmp_path / "in/file.json"
    for path in ("../out.json", "/etc/passwd", "", ".", "absent.json", "a\\b", "\0"):
        assert within(tmp_path / "in", path) is None
