"""What is told of a server before the first job."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from completion_server import CompletionServer, completion_server

from tells import doctor
from tells.config import Experiment, ModelEntry, Site
from tells.doctor import examine
from tells.examination import Finding
from tells.servers import server_findings

MODELS = {
    "small": ModelEntry(source="random", architecture="llama"),
    "hubbed": ModelEntry(source="hub", id="owner/hubbed", revision="v2", trust_remote_code=True),
}


@pytest.fixture
def server() -> Iterator[CompletionServer]:
    with completion_server("small") as started:
        yield started


def experiment(url: str, name: str = "demo", model: str = "small", **engine: Any) -> Experiment:
    study = {"collections": {"sums": {"questions": "config/questions/sums.yaml"}}}
    told = {"kind": "served", "base_url": url, **engine}
    return Experiment.model_validate({"name": name, "model": model, "engine": told, "uncertainty": study})


def findings(root: Path, *experiments: Experiment, elsewhere: bool | None = None) -> list[Finding]:
    return list(server_findings(root, {one.name: one for one in experiments}, MODELS, elsewhere=elsewhere))


def one(root: Path, *experiments: Experiment, **arguments: Any) -> Finding:
    (finding,) = findings(root, *experiments, **arguments)
    return finding


def test_a_server_that_serves_the_model_is_no_finding_and_is_asked_once_for_all_experiments(server, tmp_path):
    both = [experiment(server.base_url, name) for name in ("first", "second")]
    assert findings(tmp_path, *both) == []
    assert server.seen.paths["/v1/models"] == 1
    assert sorted(tmp_path.rglob("*")) == []


def test_no_other_engine_asks_anyone(tmp_path):
    study = {"collections": {"sums": {"questions": "config/questions/sums.yaml"}}}
    local = Experiment.model_validate({"name": "demo", "model": "small", "uncertainty": study})
    assert findings(tmp_path, local) == []
    assert findings(tmp_path, experiment("http://127.0.0.1:9").model_copy(update={"uncertainty": None})) == []


def test_a_server_that_does_not_answer_is_an_error_with_the_line_that_starts_it(tmp_path):
    found = one(tmp_path, experiment("http://127.0.0.1:9/v1"))
    assert (found.severity, found.what) == (
        "error",
        "the server at http://127.0.0.1:9 does not answer (ConnectError) (experiment demo)",
    )
    assert found.cure == (
        "start it with `vllm serve resources/models/small/files --served-model-name small --host 127.0.0.1 --port 9 "
        "--logprobs-mode raw_logprobs`"
    )


def test_the_line_names_the_folder_of_a_model_that_is_ready_and_else_its_id_and_revision(tmp_path):
    asked = experiment("http://127.0.0.1:9", model="hubbed", dtype="bfloat16")
    line = "vllm serve owner/hubbed --served-model-name hubbed --revision v2 --host 127.0.0.1 --port 9 --dtype bfloat16"
    assert one(tmp_path, asked).cure == f"start it with `{line} --trust-remote-code --logprobs-mode raw_logprobs`"
    manifest = tmp_path / "resources/models/hubbed/model.json"
    manifest.parent.mkdir(parents=True)
    facts = {
        "name": "hubbed",
        "source": "hub",
        "origin": "owner/hubbed",
        "path": "/hub/snapshots/0123",
        "revision": "0",
    }
    manifest.write_text(json.dumps(facts))
    assert "vllm serve /hub/snapshots/0123 --served-model-name hubbed --host" in one(tmp_path, asked).cure


def test_what_is_sampled_already_needs_no_server(tmp_path):
    samples = tmp_path / "experiments/demo/uncertainty/sums/samples.parquet"
    samples.parent.mkdir(parents=True)
    samples.touch()
    assert one(tmp_path, experiment("http://127.0.0.1:9")).severity == "warning"
    assert one(tmp_path, *[experiment("http://127.0.0.1:9", name) for name in ("demo", "other")]).severity == "error"


def test_jobs_on_other_machines_may_reach_what_this_one_does_not(server, tmp_path):
    found = findings(tmp_path, experiment("http://127.0.0.1:9"), elsewhere=True)
    assert [finding.severity for finding in found] == ["warning", "warning"]
    assert "engine.base_url is of this machine, but jobs run on others" in found[0].what
    assert [finding.what for finding in findings(tmp_path, experiment(server.base_url), elsewhere=True)] == [
        found[0].what
    ]


def test_a_server_of_other_models_is_an_error(server, tmp_path):
    server.cards = [{"id": "a"}, {"id": "b"}]
    found = one(tmp_path, experiment(server.base_url))
    assert (found.severity, "serves a, b, none of them known as small" in found.what) == ("error", True)
    assert "engine.served_model" in found.cure
    assert "vllm serve" in found.cure


def test_the_only_model_of_another_name_is_a_warning_that_a_name_takes_away(server, tmp_path):
    server.cards = [{"id": "somebody/else"}]
    found = one(tmp_path, experiment(server.base_url))
    assert (found.severity, "serves somebody/else, and no name shows that it is small" in found.what) == (
        "warning",
        True,
    )
    assert "engine.served_model: somebody/else" in found.cure
    assert findings(tmp_path, experiment(server.base_url, served_model="somebody/else")) == []


def test_log_probabilities_of_another_kind_are_an_error(server, tmp_path):
    server.faults.mode = "processed_logprobs"
    found = one(tmp_path, experiment(server.base_url))
    assert found.severity == "error"
    assert found.what.startswith(
        f"http://127.0.0.1:{server.port}: the server gives log-probabilities after temperature"
    )
    assert found.cure == "start it with --logprobs-mode raw_logprobs"


def test_answers_that_cannot_fit_are_an_error(server, tmp_path):
    server.cards[0]["max_model_len"] = 512
    found = one(tmp_path, experiment(server.base_url))
    assert (found.severity, found.what.startswith("max_new_tokens is 512, but the server at")) == ("error", True)


def test_a_missing_key_is_an_error_and_a_wrong_one_is_not_repeated(tmp_path, monkeypatch):
    with completion_server("small", key="sk-right-0123456789") as guarded:
        asked = experiment(guarded.base_url, key_variable="SERVER_KEY")
        monkeypatch.delenv("SERVER_KEY", raising=False)
        assert one(tmp_path, asked).cure == "export SERVER_KEY=…"
        monkeypatch.setenv("SERVER_KEY", "sk-wrong-0123456789")
        found = one(tmp_path, asked)
        assert (found.severity, "HTTP 401" in found.what) == ("error", True)
        assert "sk-wrong" not in found.what + found.cure
        monkeypatch.setenv("SERVER_KEY", "sk-right-0123456789")
        assert findings(tmp_path, asked) == []


def test_a_server_is_asked_once_and_not_waited_for(server, tmp_path):
    server.faults.missing = ("/v1/models",)
    assert one(tmp_path, experiment(server.base_url)).cure == "correct engine.base_url"
    assert server.seen.paths["/v1/models"] == 1


@pytest.mark.parametrize("installed", [True, False])
def test_the_doctor_looks_at_servers_where_the_client_is_installed(tmp_path, monkeypatch, installed):
    found = doctor._installed
    monkeypatch.setattr(doctor, "_installed", lambda module: found(module) if module != "httpx2" else installed)
    (tmp_path / "config/questions").mkdir(parents=True)
    (tmp_path / "config/models.yaml").write_text("small: {source: random, architecture: llama}")
    (tmp_path / "config/questions/sums.yaml").write_text(
        "description: a\nfile: a.jsonl\nformat: jsonl\ngrader: math\ninstruction: b\n"
    )
    (tmp_path / "config/questions/a.jsonl").write_text('{"question": "1 + 1?", "answer": "2"}\n')
    shown = " ".join(one.what for one in examine(tmp_path, {"demo": experiment("http://127.0.0.1:9")}, Site()))
    assert ("the server at http://127.0.0.1:9 does not answer" in shown) == installed
    assert ("engine.kind is served, but httpx2 is not installed (experiment demo)" in shown) != installed
