"""The steering identity: the state after the block is the unsteered one plus c·v, exactly where it should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tells.config import GenerationConfig
from tells.models.engines.base import Request, Steering
from tells.models.engines.hf import HfEngine
from tells.models.hooks import capture, find_blocks, steer
from tells.models.loading import LoadedModel, load_model
from tells.models.measures import measure_tokens, project_tokens, response_norms, token_log_likelihoods
from tells.models.replay import ReplayRow, replay
from tells.models.spans import Spans

LAYER = 1


def unit(width: int, seed: int = 0) -> torch.Tensor:
    vector = torch.randn(width, generator=torch.Generator().manual_seed(seed))
    return vector / vector.norm()


def width_of(loaded: LoadedModel) -> int:
    return loaded.model.config.get_text_config().hidden_size


def states_of(loaded: LoadedModel, token_ids: torch.Tensor, **keywords) -> torch.Tensor:
    with torch.inference_mode(), capture(loaded.model, [LAYER]) as outputs:
        loaded.model(token_ids, **keywords)
    return outputs[LAYER]


def n_hooks(loaded: LoadedModel) -> int:
    return sum(len(block._forward_hooks) for block in find_blocks(loaded.model))


@pytest.fixture(params=["llama", "qwen3", "gemma2", "real"])
def loaded(request: pytest.FixtureRequest, tiny_manifests: dict[str, Path]):
    """Every tiny architecture, and the real model, in float32."""
    if request.param == "real":
        return request.getfixturevalue("real")
    return load_model(tiny_manifests[request.param], dtype="float32", device="cpu")


TOKENS = torch.tensor([[5, 9, 12, 3, 7], [8, 2, 6, 11, 4], [3, 3, 9, 1, 2]])


@pytest.mark.parametrize(
    ("positions", "steered"),
    [("response", [4]), ("prompt", [0, 1, 2, 3, 4]), ("all", [0, 1, 2, 3, 4])],
)
def test_one_pass_changes_exactly_the_chosen_positions(tiny: LoadedModel, positions: str, steered: list[int]) -> None:
    vector = unit(width_of(tiny))
    before = states_of(tiny, TOKENS)
    with steer(tiny.model, LAYER, vector, 2.5, positions=positions):
        after = states_of(tiny, TOKENS)
    expected = torch.zeros_like(before)
    expected[:, steered] = 2.5 * vector
    assert torch.allclose(after - before, expected, atol=1e-5)
    assert n_hooks(tiny) == 0


def test_start_says_where_each_row_begins(tiny: LoadedModel) -> None:
    vector = unit(width_of(tiny))
    before = states_of(tiny, TOKENS)
    with steer(tiny.model, LAYER, vector, 1.5, start=[0, 2, 4]):
        after = states_of(tiny, TOKENS)
    difference = (after - before) @ vector
    places = torch.arange(5)
    assert torch.allclose(difference, 1.5 * (places >= torch.tensor([[0], [2], [4]])).float(), atol=1e-5)


def test_batchmates_are_untouched_and_several_steer_at_once(loaded: LoadedModel) -> None:
    first, second = unit(width_of(loaded), 1), unit(width_of(loaded), 2)
    before = states_of(loaded, TOKENS)
    with steer(loaded.model, LAYER, first, 3.0, rows=[0]), steer(loaded.model, LAYER, second, -2.0, rows=[2]):
        after = states_of(loaded, TOKENS)
    assert torch.equal(after[1], before[1])
    assert torch.equal(after[:, :4], before[:, :4])
    scale = float(before.abs().max())
    assert torch.allclose(after[0, 4] - before[0, 4], 3.0 * first, atol=1e-5 * max(1, scale))
    assert torch.allclose(after[2, 4] - before[2, 4], -2.0 * second, atol=1e-5 * max(1, scale))


def test_a_coefficient_of_zero_is_identical_to_the_bit(loaded: LoadedModel) -> None:
    with torch.inference_mode():
        before = loaded.model(TOKENS).logits
        with steer(loaded.model, LAYER, unit(width_of(loaded)), 0.0, positions="all"):
            after = loaded.model(TOKENS).logits
    assert torch.equal(before, after)


@pytest.mark.parametrize("use_cache", [True, False])
def test_every_decode_step_of_generate_is_steered(tiny: LoadedModel, use_cache: bool) -> None:
    vector, seen = unit(width_of(tiny)), []

    def record(_module: object, _inputs: object, output: torch.Tensor) -> None:
        seen.append((output if isinstance(output, torch.Tensor) else output[0]).clone())

    plain = find_blocks(tiny.model)[LAYER].register_forward_hook(record)
    keywords = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False, "use_cache": use_cache}
    try:
        with torch.inference_mode(), steer(tiny.model, LAYER, vector, 4.0):
            found = find_blocks(tiny.model)[LAYER].register_forward_hook(record)
            tokens = tiny.model.generate(TOKENS, **keywords, pad_token_id=0)
            found.remove()
    finally:
        plain.remove()
    for step, (before, after) in enumerate(zip(seen[::2], seen[1::2], strict=True)):
        difference = (after - before) @ vector
        if use_cache:
            expected = torch.full((3, 1), 4.0) if step else torch.tensor([[0, 0, 0, 0, 4.0]]).expand(3, 5)
        else:
            expected = 4.0 * (torch.arange(5 + step) >= 4).float().expand(3, 5 + step)
        assert torch.allclose(difference, expected, atol=1e-4), step
    assert tokens.shape == (3, 9)


def test_ablation_removes_the_direction_and_nothing_else(tiny: LoadedModel) -> None:
    vector = 7 * unit(width_of(tiny))
    before = states_of(tiny, TOKENS)
    with steer(tiny.model, LAYER, vector, 1.0, mode="ablate", positions="all"):
        after = states_of(tiny, TOKENS)
    direction = vector / vector.norm()
    assert torch.allclose(after @ direction, torch.zeros(3, 5), atol=1e-4)
    rest = before - (before @ direction)[..., None] * direction
    assert torch.allclose(after, rest, atol=1e-4)


def test_no_hook_is_left_after_an_exception(tiny: LoadedModel) -> None:
    vector = unit(width_of(tiny))
    with pytest.raises(RuntimeError, match="mid-way"), steer(tiny.model, LAYER, vector, 1.0), capture(tiny.model, [0]):
        raise RuntimeError("mid-way")
    assert n_hooks(tiny) == 0


@pytest.mark.parametrize(
    ("layer", "size", "keywords"),
    [(99, None, {}), (-1, None, {}), (0, 3, {}), (0, None, {"mode": "multiply"}), (0, None, {"positions": "some"})],
)
def test_what_does_not_exist_is_refused(tiny: LoadedModel, layer: int, size: int | None, keywords: dict) -> None:
    with (
        pytest.raises(ValueError, match=r"blocks|width|positions"),
        steer(tiny.model, layer, torch.ones(size or width_of(tiny)), 1.0, **keywords),
    ):
        pass
    assert n_hooks(tiny) == 0


def test_a_vector_that_is_not_finite_is_refused(tiny: LoadedModel) -> None:
    with (
        pytest.raises(ValueError, match="not finite"),
        steer(tiny.model, 0, torch.full((width_of(tiny),), torch.nan), 1.0),
    ):
        pass


SETTINGS = GenerationConfig(temperature=0.0, max_new_tokens=6)


def requests(loaded: LoadedModel, coefficients: list[float], positions: str = "response") -> list[Request]:
    vectors = [unit(width_of(loaded), seed).numpy() for seed in range(len(coefficients))]
    return [
        Request(
            (5, 9, 12, 3 + row % 2),
            row,
            True,
            Steering(row % 2, vectors[row], coefficient, positions) if coefficient is not None else None,
        )
        for row, coefficient in enumerate(coefficients)
    ]


@pytest.mark.parametrize("positions", ["response", "prompt", "all"])
def test_a_grid_in_one_batch_equals_one_run_per_point(tiny: LoadedModel, positions: str) -> None:
    asked = requests(tiny, [6.0, None, -8.0, 3.0, 0.0, 9.0], positions)
    together = HfEngine(tiny, batch_size=8).generate(asked, SETTINGS)
    for request, run in zip(asked, together, strict=True):
        steering = request.steering
        token_ids = torch.tensor([request.prompt_token_ids])
        keywords = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
        with torch.inference_mode():
            if steering is None:
                expected = tiny.model.generate(token_ids, **keywords)
            else:
                with steer(tiny.model, steering.layer, steering.vector, steering.coefficient, positions=positions):
                    expected = tiny.model.generate(token_ids, **keywords)
        assert run.token_ids == expected[0, 4:].tolist()
    assert n_hooks(tiny) == 0
    steered = [run.token_ids for run in together]
    unsteered = HfEngine(tiny).generate([Request(each.prompt_token_ids, 0, True) for each in asked], SETTINGS)
    assert steered != [run.token_ids for run in unsteered], "the steering was strong enough to change the tokens"


def test_rows_keep_their_own_steering_when_others_leave_the_batch(real: LoadedModel) -> None:
    """Rows that end early drop out; those that stay must not get a neighbour's vector."""
    prompts = [tuple(real.tokenizer(text)["input_ids"]) for text in ("One, two,", "The end", "I like", "A cat")]
    vectors = [unit(width_of(real), seed).numpy() for seed in range(4)]
    asked = [
        Request(prompt, row, True, Steering(15, vectors[row], 40.0 * (row % 2))) for row, prompt in enumerate(prompts)
    ]
    settings = GenerationConfig(temperature=0.0, max_new_tokens=16, stop=(",", "."))
    together = HfEngine(real, batch_size=4).generate(asked, settings)
    alone = [HfEngine(real, batch_size=1).generate([request], settings)[0] for request in asked]
    assert len({len(run.token_ids) for run in together}) > 1, "some rows must leave before others"
    assert [run.token_ids for run in together] == [run.token_ids for run in alone]


def test_a_vector_of_another_model_is_refused_by_the_engine(tiny: LoadedModel) -> None:
    request = Request((1, 2), 0, True, Steering(0, np.ones(3, np.float32), 1.0))
    with pytest.raises(ValueError, match="of another model"):
        HfEngine(tiny).generate([request], SETTINGS)
    beyond = Request((1, 2), 0, True, Steering(99, np.ones(width_of(tiny), np.float32), 1.0))
    with pytest.raises(ValueError, match="layer 99"):
        HfEngine(tiny).generate([beyond], SETTINGS)


def rows_of(*tokens: tuple[int, ...]) -> list[ReplayRow]:
    return [ReplayRow((5, 9, 12), each, Spans(None, None, None), len(each)) for each in tokens]


def test_norms_and_projections_are_those_of_the_plain_forward_pass(tiny: LoadedModel) -> None:
    rows = rows_of((3, 7, 8), (4,), (2, 6))
    directions = torch.stack([unit(width_of(tiny), 1), unit(width_of(tiny), 2)]).numpy()
    norms, by_hand = response_norms(tiny, rows, [0, LAYER], batch_size=2), []
    projected = project_tokens(tiny, rows, {LAYER: directions}, batch_size=2)
    for row, found in zip(rows, projected, strict=True):
        states = states_of(tiny, torch.tensor([[*row.prompt_token_ids, *row.token_ids]]))[0, 3:]
        by_hand += states.norm(dim=-1).tolist()
        assert found[LAYER].shape == (2, len(row.token_ids))
        assert np.allclose(found[LAYER], (states @ torch.tensor(directions).T).T, atol=1e-4)
    assert norms[LAYER] == pytest.approx(np.mean(by_hand), rel=1e-5)


def test_measures_come_in_the_order_of_the_rows(tiny: LoadedModel) -> None:
    rows = rows_of((3, 7, 8), (4,), (2, 6))
    measured = measure_tokens(tiny, rows, [0], lambda states: states[..., 0], batch_size=2)
    assert [each.shape for each in measured] == [(1, 4), (1, 2), (1, 3)]


def test_no_response_tokens_have_no_norm(tiny: LoadedModel) -> None:
    with pytest.raises(ValueError, match="no token"):
        response_norms(tiny, rows_of(()), [0])


def test_likelihoods_are_those_of_replay_and_of_the_plain_forward_pass(loaded: LoadedModel) -> None:
    rows = rows_of((3, 7, 8), (4,), (), (2, 6))
    found = token_log_likelihoods(loaded, rows, batch_size=3)
    replayed = replay(loaded, rows, layers=[], positions=[], batch_size=2)
    for row, logprobs, expected in zip(rows, found, replayed.token_logprobs, strict=True):
        with torch.inference_mode():
            logits = loaded.model(torch.tensor([[*row.prompt_token_ids, *row.token_ids]])).logits[0, 2:-1]
        by_hand = logits.float().log_softmax(-1)[range(len(row.token_ids)), list(row.token_ids)]
        assert logprobs.shape == (len(row.token_ids),)
        assert np.allclose(logprobs, by_hand, atol=1e-4)
        assert np.allclose(logprobs, expected, atol=1e-4)
