import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from tells.judge import EMPTY_TEXT, Item, Judge, Judgement, Rubric, Usage
from tells.judge.embedding import SentenceEmbedder
from tells.judge.exemplar import (
    ExemplarJudge,
    distinct_bigrams,
    fit_logistic,
    fit_sigmoid,
    fit_trait_model,
    judge_coherence,
)

ROOT = Path(__file__).resolve().parents[2]
HIGH = tuple(f"up {word}" for word in ("ant", "bee", "cat", "dog", "elk", "fox"))
LOW = tuple(f"down {word}" for word in ("ant", "bee", "cat", "dog", "elk", "fox"))
RUBRIC = Rubric("mood/height", "Height.", "HIGH: up. LOW: down.", HIGH, LOW)


def letters(texts):
    """Embeds a text by its topic (its last word) and, weakly, by the direction it speaks of."""
    rows = []
    for text in texts:
        direction = text.count("up") - text.count("down")
        topic = np.random.default_rng(sum(map(ord, text.split()[-1]))).normal(size=16)
        rows.append(np.concatenate([[0.5 * direction], topic / np.linalg.norm(topic)]))
    rows = np.array(rows)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def judge():
    return ExemplarJudge("somewhere/toy", embedder=letters)


def judged(judge, texts, task="trait", rubric=RUBRIC):
    items = [Item(f"item-{number}", text) for number, text in enumerate(texts)]
    return asyncio.run(judge.score(task, rubric, items))


def scores(*arguments, **options):
    return [judgement.score for judgement in judged(*arguments, **options)]


def references(count=64, seed=0):
    """Unsteered answers: varied words, likelihoods around -3 nats."""
    random = np.random.default_rng(seed)
    return [
        Item(
            f"reference-{row}",
            " ".join(f"word{token}" for token in random.choice(500, size=40, replace=False)),
            log_likelihood=float(random.normal(-3, 0.3)),
            reference=True,
        )
        for row in range(count)
    ]


# --- traits


def test_unseen_texts_fall_on_their_own_sides_whatever_their_topic(judge):
    assert min(scores(judge, ["up goat", "up hen"])) > 60
    assert max(scores(judge, ["down goat", "down hen"])) < 40


def test_a_scenario_is_scored_by_its_own_words(judge):
    assert scores(judge, ["up goat"], task="scenario") == scores(judge, ["up goat"])


def test_scores_come_in_the_order_given_and_equal_texts_score_the_same(judge):
    found = judged(judge, ["down hen", "up hen", "down hen"])
    assert [judgement.item_id for judgement in found] == ["item-0", "item-1", "item-2"]
    assert found[0].score == found[2].score < found[1].score
    assert {(judgement.status, judgement.resolution, judgement.reason) for judgement in found} == {
        ("scored", "exemplar", None)
    }


@pytest.mark.parametrize("task", ["trait", "scenario"])
def test_an_empty_text_is_an_error_with_its_reason_and_no_score(judge, task):
    empty, full = judged(judge, [" \n", "up hen"], task=task)
    assert empty == Judgement("item-0", None, "error", "exemplar", EMPTY_TEXT)
    assert full.status == "scored"
    assert judged(judge, ["", ""], task=task)[1].status == "error"


def test_nothing_to_judge_gives_nothing(judge):
    assert judged(judge, []) == []


def test_minimal_pairs_are_left_out_together_and_so_calibrate_on_the_right_side():
    model = fit_trait_model(letters(HIGH), letters(LOW))
    assert (model.held_out[:6] > 0).all()
    assert (model.held_out[6:] < 0).all()
    # Held out alone, each sentence would be drawn to the side of its counterpart, whose topic it shares.
    shuffled = fit_trait_model(letters(HIGH), letters((*LOW[3:], *LOW[:3])))
    assert shuffled.held_out[:6].mean() < model.held_out[:6].mean()


def test_poles_with_unlike_numbers_of_exemplars_are_fitted():
    model = fit_trait_model(letters(HIGH), letters(LOW[:3]))
    assert model.held_out.shape == (9,)
    assert np.isfinite(model.held_out).all()


def test_exemplars_that_cannot_be_told_apart_are_refused_with_the_trait_and_a_cure(judge):
    rubric = Rubric("mood/none", "", "", LOW[:4] + HIGH[:4], HIGH[:4] + LOW[:4])
    with pytest.raises(ValueError, match=r"mood/none: .* cannot be told apart .* another judge"):
        judged(judge, ["up hen"], rubric=rubric)


def test_one_exemplar_of_a_pole_is_too_few(judge):
    with pytest.raises(ValueError, match="at least two exemplars"):
        judged(judge, ["up hen"], rubric=Rubric("mood/few", "", "", HIGH[:1], LOW))


@pytest.mark.parametrize("positives", [3, 12, 20])
def test_the_regression_is_that_of_scikit_learn(positives):
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(positives)
    labels = np.r_[np.ones(positives), np.zeros(24 - positives)]
    embeddings = random.normal(size=(24, 40)) / 6 + 0.1 * labels[:, None]
    weights, bias = fit_logistic(embeddings, labels)
    theirs = LogisticRegression(C=10.0, class_weight="balanced", tol=1e-10, max_iter=10_000).fit(embeddings, labels)
    assert np.allclose(weights, theirs.coef_[0], atol=1e-5)
    assert bias == pytest.approx(theirs.intercept_[0], abs=1e-5)


def test_the_sigmoid_meets_platts_smoothed_targets():
    # With one decision value per class, the sigmoid passes through both targets: 3/4 for two, 1/4 for none.
    slope, offset = fit_sigmoid(np.array([1.0, 1.0, -1.0, -1.0]), np.array([1.0, 1.0, 0.0, 0.0]))
    assert expit(slope + offset) == pytest.approx(3 / 4, abs=1e-6)
    assert expit(-slope + offset) == pytest.approx(1 / 4, abs=1e-6)
    slope, offset = fit_sigmoid(np.array([2.0, 2.0, 2.0, 0.0]), np.array([1.0, 1.0, 1.0, 0.0]))
    assert expit(2 * slope + offset) == pytest.approx(4 / 5, abs=1e-6)
    assert expit(offset) == pytest.approx(1 / 3, abs=1e-6)


@given(factor=st.floats(1e-3, 1e3))
def test_the_calibration_does_not_depend_on_the_scale_of_decision_values(factor):
    decisions, labels = np.array([-2.0, -1.0, 0.5, -0.5, 1.0, 2.0]), np.array([0.0, 0, 0, 1, 1, 1])
    slope, offset = fit_sigmoid(decisions, labels)
    scaled, same = fit_sigmoid(factor * decisions, labels)
    assert scaled * factor == pytest.approx(slope, rel=1e-4)
    assert same == pytest.approx(offset, abs=1e-4)


def test_a_trait_is_fitted_once():
    calls = []

    def counting(texts):
        calls.append(len(texts))
        return letters(texts)

    judge = ExemplarJudge("toy", embedder=counting)
    judged(judge, ["up hen"])
    judged(judge, ["up hen", "down hen"])
    assert calls == [1, 6, 6, 2] or calls == [6, 6, 1, 2]


def test_it_is_a_judge_that_asks_nobody_and_says_what_it_is(judge):
    as_judge: Judge = judge
    judged(judge, ["up hen"])
    assert as_judge.usage == Usage(calls=0, cached=0, input_tokens=0, output_tokens=0, cost=None)
    facts = judge.facts()
    assert (facts["provider"], facts["model"], facts["resolution"]) == ("exemplar", "toy", "exemplar")
    assert "offline" in facts["what_it_is"]
    assert "somewhere" not in json.dumps(facts)


def test_it_explains_nothing(judge):
    (explanation,) = asyncio.run(judge.explain(RUBRIC, [Item("a", "up hen")], "low"))
    assert (explanation.item_id, explanation.reason, explanation.confound) == ("a", None, None)


def test_an_unknown_task_is_refused(judge):
    with pytest.raises(ValueError, match="task must be"):
        judged(judge, ["up hen"], task="grammar")


# --- coherence


def test_coherence_follows_its_formula():
    base = references()
    surprise = np.array([-item.log_likelihood for item in base])
    varied = " ".join(f"word{token}" for token in range(40))
    # z = 2.5: 100 exp(-1.5); the references' words never repeat, so half the bigrams distinct halve the score.
    log_likelihood = -(surprise.mean() + 2.5 * surprise.std(ddof=1))
    halved = "a b c d a b c d a"
    found = judge_coherence(
        [*base, Item("far", varied, log_likelihood=log_likelihood), Item("loop", halved, log_likelihood=-3.0)]
    )
    assert found[-2].score == pytest.approx(100 * np.exp(-1.5))
    assert found[-1].score == pytest.approx(50.0)
    within = -(surprise.mean() + surprise.std(ddof=1))
    assert judge_coherence([*base, Item("edge", varied, log_likelihood=within)])[-1].score == pytest.approx(100)


def test_a_likely_loop_is_not_coherent():
    loop = Item("loop", ", are" * 20, log_likelihood=-1.0)
    assert judge_coherence([*references(), loop])[-1].score < 10


def test_the_fifth_percentile_of_variety_is_that_of_the_references():
    base = references(65)
    poor = [Item(f"poor-{row}", "a b a b", log_likelihood=-3.0, reference=True) for row in range(10)]
    found = judge_coherence([*base, *poor, Item("loop", "a b a b", log_likelihood=-3.0)])
    # Two of three bigrams are distinct in over 5% of the references: no fault, then.
    assert found[-1].score == pytest.approx(100)


def test_a_missing_log_likelihood_or_an_empty_text_is_an_error():
    odd = [Item("none", "words"), Item("empty", " ", log_likelihood=-3.0), Item("nan", "w", log_likelihood=np.nan)]
    found = judge_coherence([*references(), *odd])[-3:]
    assert [(one.score, one.status) for one in found] == [(None, "error")] * 3
    assert "no log-likelihood" in found[0].reason
    assert "empty" in found[1].reason
    assert "nan" in found[2].reason


def test_unsteered_answers_are_judged_as_well_and_are_coherent():
    found = judge_coherence(references(200))
    assert len(found) == 200
    assert np.mean([one.score for one in found]) > 85


def test_sixty_three_references_are_too_few_and_one_without_a_log_likelihood_is_none():
    with pytest.raises(ValueError, match="63 unsteered answers"):
        judge_coherence(references(63))
    with pytest.raises(ValueError, match="63 unsteered answers"):
        judge_coherence([*references(63), Item("none", "some words", reference=True)])


def test_a_baseline_under_85_is_refused_with_its_figure():
    # A quarter of the answers is unlikely (z = 1.73), and just under 5% repeat one word: both count against them.
    likely = [Item(f"l-{row}", f"one two three {row}", log_likelihood=-2.0, reference=True) for row in range(141)]
    unlikely = [Item(f"u-{row}", f"one two three {row}", log_likelihood=-4.0, reference=True) for row in range(50)]
    loops = [Item(f"r-{row}", "so " * 30, log_likelihood=-2.0, reference=True) for row in range(9)]
    z = 1.5 / np.std([2.0] * 150 + [4.0] * 50, ddof=1)
    expected = 100 * (141 + 50 * np.exp(1 - z) + 9 / 29) / 200
    with pytest.raises(ValueError, match=f"mean coherence of {expected:.1f}; at least 85"):
        judge_coherence([*likely, *unlikely, *loops])
    assert judge_coherence([*likely, *unlikely])[-1].score > 40


def test_references_that_are_all_alike_measure_nothing():
    same = [Item(f"r-{row}", "one two three", log_likelihood=-3.0, reference=True) for row in range(64)]
    with pytest.raises(ValueError, match="same log-likelihood"):
        judge_coherence(same)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the cat sat on the mat", 1.0),
        ("a b a b", 2 / 3),
        ("are are are are", 1 / 3),
        ("Are are ARE", 1 / 2),
        ("Yes", 1.0),
        ("Y", 1.0),
        ("aaaaa", 1 / 4),
        ("!!!!", 1 / 3),
        ("", 1.0),
    ],
)
def test_distinct_bigrams(text, expected):
    assert distinct_bigrams(text) == pytest.approx(expected)


@given(st.text())
def test_distinct_bigrams_are_a_share(text):
    assert 0 < distinct_bigrams(text) <= 1


# --- the folder of an embedding


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no model lies here"):
        ExemplarJudge(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("file", "content", "named"),
    [
        ("1_Pooling/config.json", {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls_token"),
        ("modules.json", [{"type": "sentence_transformers.models.Dense"}], "Dense"),
    ],
)
def test_an_embedding_that_is_not_a_mean_of_states_is_refused(tmp_path, file, content, named):
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / file).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=named):
        SentenceEmbedder(tmp_path)


def test_name_and_revision_come_from_the_manifest_beside_the_files(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert SentenceEmbedder(folder).facts() == {"name": "files", "revision": None}
    (tmp_path / "model.json").write_text(json.dumps({"name": "some-embedding", "revision": "abc"}))
    facts = ExemplarJudge(folder).facts()
    assert (facts["model"], facts["revision"]) == ("some-embedding", "abc")


# --- the real embedding

FORMAL = (
    "We respectfully request that you return the enclosed form at your earliest convenience.",
    "The committee hereby acknowledges receipt of your correspondence.",
    "It would be greatly appreciated if you could attend the forthcoming meeting.",
    "I write to inquire about the position that was recently advertised.",
    "Please be advised that the premises will be closed for maintenance.",
    "Kindly accept our sincere apologies for the inconvenience caused.",
)
CASUAL = (
    "hey can u send me that form whenever lol",
    "yeah we got ur message, thanks dude",
    "u should totally come hang out with us later",
    "so is that job still open or what",
    "btw we're gonna be shut for a bit, fixing stuff",
    "oops sorry about that, my bad!!",
)


@pytest.mark.slow
def test_embeddings_are_those_of_sentence_transformers(embedding_folder):
    from sentence_transformers import SentenceTransformer

    texts = [*FORMAL, *CASUAL, "a", "", "The market may well fall again, I fear. " * 60]
    ours = SentenceEmbedder(embedding_folder, batch_size=4)(texts)
    theirs = SentenceTransformer(str(embedding_folder), device="cpu").encode(texts, normalize_embeddings=True)
    assert np.abs(ours - theirs).max() < 1e-5


@pytest.mark.slow
def test_it_tells_formal_from_casual_sentences_it_has_not_seen(embedding_folder):
    judge = ExemplarJudge(embedding_folder)
    rubric = Rubric("style/formality", "", "", FORMAL, CASUAL)
    formal = ["The undersigned parties agree to the following terms.", "We regret to inform you of a delay."]
    casual = ["lol no way, that's nuts", "gonna grab some food, wanna come?"]
    assert min(scores(judge, formal, rubric=rubric)) > 60
    assert max(scores(judge, casual, rubric=rubric)) < 40
    assert judge.facts()["model"] == "all-minilm-l6-v2"
