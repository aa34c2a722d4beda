"""From the configuration to a judge."""

import asyncio
import subprocess
import sys

import pytest
from judge_helpers import RUBRIC, items
from judge_server import expected_value, judge_server, whole_value

from tells.config.judge import JudgeConfig
from tells.judge import BudgetError, open_judge


def opened(tmp_path, **config):
    return open_judge(JudgeConfig(**config), writer="demo-traits", cache=tmp_path / "judge")


@pytest.mark.parametrize("provider", ["openai", "gemini"])
def test_a_missing_key_names_its_variable(provider, tmp_path, monkeypatch):
    variable = {"openai": "OPENAI_API_KEY", "gemini": "GEMINI_API_KEY"}[provider]
    for value in ("", "  "):
        monkeypatch.setenv(variable, value)
        with pytest.raises(ValueError, match=variable):
            opened(tmp_path, provider=provider)
    monkeypatch.delenv(variable)
    with pytest.raises(ValueError, match=variable):
        opened(tmp_path, provider=provider)
    with pytest.raises(ValueError, match="MY_KEY"):
        opened(tmp_path, provider=provider, key_variable="MY_KEY")


@pytest.mark.parametrize("value", ["sk-secret key", "sk-secret\nkey", "sk-secret“", "sk-secret\x7f"])
def test_a_key_that_no_header_can_carry_is_told_without_showing_it(value, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", value)
    with pytest.raises(ValueError, match="MY_KEY") as caught:
        opened(tmp_path, provider="openai", key_variable="MY_KEY")
    assert "secret" not in str(caught.value)


def test_white_space_around_a_key_does_not_matter(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "some-key\n")
    with judge_server() as server:
        judge = opened(tmp_path, provider="openai", key_variable="MY_KEY", base_url=server.base_url)
        judgements = asyncio.run(judge.score("trait", RUBRIC, items(2)))
    assert [judgement.score for judgement in judgements] == [pytest.approx(expected_value(i.text)) for i in items(2)]
    assert (tmp_path / "judge" / "demo-traits.jsonl").exists()


def test_log_probabilities_can_be_done_without(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "some-key")
    with judge_server() as server:
        judge = opened(
            tmp_path,
            provider="openai",
            key_variable="OPENAI_API_KEY",
            base_url=server.base_url + "/",
            log_probabilities=False,
        )
        judgements = asyncio.run(judge.score("trait", RUBRIC, items(2)))
    assert [(judgement.score, judgement.resolution) for judgement in judgements] == [
        (whole_value(item.text), "integer") for item in items(2)
    ]


def test_gemini_goes_where_it_is_told_whatever_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", "some-key")
    monkeypatch.setenv("GOOGLE_API_KEY", "another-key")
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    with judge_server() as server:
        judge = opened(tmp_path, provider="gemini", key_variable="GEMINI_API_KEY", base_url=server.address)
        judgements = asyncio.run(judge.score("scenario", RUBRIC, items(2)))
    assert [judgement.score for judgement in judgements] == [whole_value(item.text) for item in items(2)]
    assert judge.name == "gemini:gemini-2.5-flash"


def test_the_environment_does_not_redirect_openai(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "some-key")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere.invalid/v1")
    assert opened(tmp_path, provider="openai").facts()["base_url"] == "https://api.openai.com/v1"
    assert opened(tmp_path, provider="openai").name == "openai:gpt-4.1-mini-2025-04-14"


def test_ceilings_and_prices_come_from_the_configuration(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "some-key")
    with judge_server() as server:
        judge = opened(
            tmp_path,
            provider="openai",
            key_variable="OPENAI_API_KEY",
            base_url=server.base_url,
            max_calls=3,
            input_price=2,
            output_price=8,
        )
        with pytest.raises(BudgetError, match="max_calls = 3"):
            asyncio.run(judge.score("trait", RUBRIC, items(10)))
    assert judge.usage.calls == 3
    assert judge.usage.cost == pytest.approx(3 * (100 * 2e-6 + 8e-6))


def test_an_address_without_a_scheme_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "some-key")
    with pytest.raises(ValueError, match="base_url"):
        opened(tmp_path, provider="openai", key_variable="OPENAI_API_KEY", base_url="localhost:8000")


def test_the_offline_judge_needs_its_embedding(tmp_path):
    with pytest.raises(ValueError, match="embedding"):
        opened(tmp_path)


def test_importing_the_package_loads_no_sdk():
    code = (
        "import sys, tells.judge; print([m for m in ('openai', 'google.genai', 'httpx2', 'torch') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
