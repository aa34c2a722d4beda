"""Clusters of answers that mean the same, and the entailment they rest on."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tells.judge import EntailmentJudge
from tells.uncertainty.answers import equivalent
from tells.uncertainty.clustering import (
    answer_relation,
    canonical_key,
    cluster_answers,
    cluster_by_cosine,
    cluster_by_entailment,
    cluster_runs,
    count_inconsistent_triples,
)
from tells.uncertainty.entailment import (
    EntailmentClassifier,
    judge_relations,
    label_columns,
    relation_matrices,
    sentence_embeddings,
)

ANSWERS = st.lists(
    st.sampled_from([None, "", "10", "10%", "0.1", r"\frac{1}{10}", "10.0", "x=10", "7", "Paris"]), max_size=7
)
RELATIONS = st.integers(0, 6).flatmap(
    lambda n: st.lists(st.integers(0, 2), min_size=n * n, max_size=n * n).map(
        lambda x: np.array(x, dtype=int).reshape(n, n)
    )
)


def _is_numbered_by_appearance(ids):
    seen = [cluster for cluster in ids if cluster is not None]
    return list(dict.fromkeys(seen)) == list(range(len(set(seen))))


def _blocks(ids):
    return {frozenset(i for i, c in enumerate(ids) if c == cluster) for cluster in set(ids) - {None}}


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("5", "5.0"),
        ("5", "$5$"),
        ("1,000", "1000"),
        ("0.50", ".5"),
        (r"\dfrac{1}{2}", r"\frac{1}{2}"),
        (r"\left( 1, 2 \right)", "(1,2)"),
        (r"\text{Evelyn}", "Evelyn"),
        ("-0.5", "- 0.5"),
        (r"2\,\pi", r"2 \pi"),
    ],
)
def test_answers_that_differ_only_in_writing_have_one_key(a, b):
    assert canonical_key(a) == canonical_key(b)


@pytest.mark.parametrize(
    ("a", "b"), [("5", "-5"), ("1 2", "12"), ("x", "X"), ("10", "10%"), ("0.1", "0.01"), (r"\pi r", r"\pir")]
)
def test_answers_that_may_differ_have_unlike_keys(a, b):
    assert canonical_key(a) != canonical_key(b)


def test_mathematical_answers_are_grouped_by_value():
    answers = ["1/2", None, "0.5", r"\frac12", "2", "2.0", "", "1/2"]
    assert cluster_answers(answers) == [0, None, 0, 0, 1, 1, None, 0]
    assert cluster_answers([]) == []
    assert cluster_answers([None, None]) == [None, None]


def test_an_intransitive_relation_still_gives_a_partition_that_ignores_order():
    assert equivalent("10", "10%")
    assert cluster_answers(["10", "10%", "0.1"]) == [0, 1, 1]
    assert cluster_answers(["10%", "10", "0.1"]) == [0, 1, 0]
    # The majority draws the ambiguous answer to itself.
    assert cluster_answers(["10", "10%", "0.1", "10"]) == [0, 0, 1, 0]


def test_inconsistent_triples_are_counted():
    assert count_inconsistent_triples(answer_relation(["10", "10%", "0.1", "10", None])) == 1
    assert count_inconsistent_triples(answer_relation(["1", "2", "3"])) == 0
    assert count_inconsistent_triples(np.zeros((0, 0), dtype=bool)) == 0
    chain = np.eye(4, dtype=bool)
    for i in range(3):
        chain[i, i + 1] = chain[i + 1, i] = True
    assert count_inconsistent_triples(chain) == 2
    assert count_inconsistent_triples(np.ones((5, 5), dtype=bool)) == 0


@settings(max_examples=40, deadline=None)
@given(ANSWERS, st.randoms())
def test_clusters_of_answers_are_a_partition_whatever_the_order(answers, random):
    ids = cluster_answers(answers)
    assert [cluster is None for cluster in ids] == [not answer for answer in answers]
    assert _is_numbered_by_appearance(ids)
    order = list(range(len(answers)))
    random.shuffle(order)
    shuffled = cluster_answers([answers[i] for i in order])
    assert {frozenset(order[i] for i in block) for block in _blocks(shuffled)} == _blocks(ids)


def test_strict_clustering_asks_for_entailment_both_ways():
    one_way = [[2, 2], [1, 2]]
    assert cluster_by_entailment(one_way) == [0, 1]
    assert cluster_by_entailment(one_way, strict=False) == [0, 0]
    assert cluster_by_entailment([[2, 1], [1, 2]], strict=False) == [0, 1]
    assert cluster_by_entailment([[2, 2], [0, 2]], strict=False) == [0, 1]
    assert cluster_by_entailment([[0, 2], [2, 0]]) == [0, 0]
    assert cluster_by_entailment(np.array([[True, True], [False, True]]), strict=False) == [0, 0]


def test_the_policies_differ_on_a_chain_of_matches():
    # 0 ~ 2 and 1 ~ 2, but 0 !~ 1.
    relation = np.array([[2, 1, 2], [1, 2, 2], [2, 2, 2]])
    assert cluster_by_entailment(relation, policy="first") == [0, 1, 0]
    assert cluster_by_entailment(relation, policy="components") == [0, 0, 0]
    assert cluster_by_entailment(relation, policy="reference") == [0, 1, 1]


def _published_loop(same):
    ids, next_id = [-1] * len(same), 0
    for i in range(len(same)):
        if ids[i] == -1:
            ids[i] = next_id
            for j in range(i + 1, len(same)):
                if same[i][j]:
                    ids[j] = next_id
            next_id += 1
    return ids


@given(RELATIONS, st.booleans())
def test_every_policy_gives_a_partition_numbered_by_appearance(relation, strict):
    n = len(relation)
    same = [
        [i == j or cluster_by_entailment(relation[np.ix_([i, j], [i, j])], strict=strict) == [0, 0] for j in range(n)]
        for i in range(n)
    ]
    ids = {p: cluster_by_entailment(relation, strict=strict, policy=p) for p in ("first", "components", "reference")}
    for clusters in ids.values():
        assert len(clusters) == n
        assert _is_numbered_by_appearance(clusters)
    assert ids["reference"] == _published_loop(same)
    first_members = {}
    for i, cluster in enumerate(ids["first"]):
        assert same[first_members.setdefault(cluster, i)][i]
    for i in range(n):
        for j in range(n):
            if same[i][j]:
                assert ids["components"][i] == ids["components"][j]


@given(RELATIONS, st.randoms())
def test_components_do_not_depend_on_the_order_of_samples(relation, random):
    order = list(range(len(relation)))
    random.shuffle(order)
    ids = cluster_by_entailment(relation, policy="components")
    shuffled = cluster_by_entailment(relation[np.ix_(order, order)], policy="components")
    assert {frozenset(order[i] for i in block) for block in _blocks(shuffled)} == _blocks(ids)


def test_bad_relations_and_policies_are_refused():
    with pytest.raises(ValueError, match="square"):
        cluster_by_entailment([[2, 1]])
    with pytest.raises(ValueError, match="label other than"):
        cluster_by_entailment([[2, 3], [1, 2]])
    with pytest.raises(ValueError, match="unknown policy"):
        cluster_by_entailment([[2]], policy="last")


def test_cosine_clusters_follow_the_threshold():
    vectors = [[1.0, 0.0], [0.0, 3.0], [10.0, 1.0], [0.1, 2.0]]
    assert cluster_by_cosine(vectors, threshold=0.1) == [0, 1, 0, 1]
    assert cluster_by_cosine(vectors, threshold=0.0) == [0, 1, 2, 3]
    assert cluster_by_cosine(vectors, threshold=2.0) == [0, 0, 0, 0]
    assert cluster_by_cosine([[0.3, 0.1], [0.6, 0.2]], threshold=0.0) == [0, 0]
    assert cluster_by_cosine([], threshold=0.1) == []
    assert cluster_by_cosine([[2.0]], threshold=0.1) == [0]


def test_linkage_is_average():
    angles = np.deg2rad([0, 20, 50])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    average = (2 - np.cos(angles[2]) - np.cos(angles[2] - angles[1])) / 2
    assert cluster_by_cosine(vectors, threshold=average + 1e-6) == [0, 0, 0]
    assert cluster_by_cosine(vectors, threshold=average - 1e-6) == [0, 0, 1]


def test_embeddings_that_have_no_direction_are_refused():
    with pytest.raises(ValueError, match="zero or not finite"):
        cluster_by_cosine([[0.0, 0.0], [1.0, 0.0]], threshold=0.1)
    with pytest.raises(ValueError, match="threshold"):
        cluster_by_cosine([[1.0]], threshold=-0.1)


@given(
    st.lists(st.tuples(st.floats(0.1, 5), st.floats(-5, 5)), max_size=8),
    st.floats(0, 2),
)
def test_cosine_clusters_are_a_partition_that_ignores_lengths(vectors, threshold):
    ids = cluster_by_cosine(vectors, threshold=threshold)
    assert len(ids) == len(vectors)
    assert _is_numbered_by_appearance(ids)


def test_label_ids_are_read_from_the_model():
    assert label_columns({0: "contradiction", 1: "entailment", 2: "neutral"}) == [0, 2, 1]
    assert label_columns({0: "ENTAILMENT", 1: "NEUTRAL", 2: "CONTRADICTION"}) == [2, 1, 0]
    for unnamed in ({0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}, {0: "entailment", 1: "not_entailment"}):
        with pytest.raises(ValueError, match="id2label"):
            label_columns(unnamed)


def _tiny_nli(names):
    """A random NLI model and its tokenizer; the weights are the same for every order of labels."""
    torch = pytest.importorskip("torch")
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "capital", "of", "france", "paris", "lyon", "city", "is", "the"]
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
        id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)},
        initializer_range=1.0,
    )
    model = BertForSequenceClassification(config)
    order = [("contradiction", "neutral", "entailment").index(name.lower()) for name in names]
    with torch.no_grad():
        model.classifier.weight.copy_(model.classifier.weight[order])
        model.classifier.bias.copy_(torch.zeros(3))
    return model, tokenizer


WORDS = ["paris", "lyon", "the city", "paris is the capital", "capital of france", "france"]
PAIRS = [(f"capital of france {a}", b) for a in WORDS for b in WORDS]


def test_an_nli_model_gives_the_same_labels_whatever_the_order_of_its_ids():
    one = EntailmentClassifier(*_tiny_nli(["contradiction", "neutral", "entailment"]))
    other = EntailmentClassifier(*_tiny_nli(["ENTAILMENT", "NEUTRAL", "CONTRADICTION"]))
    labels = one.classify(PAIRS)
    assert len(set(labels)) > 1
    assert other.classify(PAIRS) == labels


def test_batching_changes_no_label_and_no_pair_is_classified_twice():
    one = EntailmentClassifier(*_tiny_nli(["contradiction", "neutral", "entailment"]), batch_size=1)
    many = EntailmentClassifier(*_tiny_nli(["contradiction", "neutral", "entailment"]), batch_size=16)
    assert one.classify(PAIRS) == many.classify(PAIRS + PAIRS[:5])[: len(PAIRS)]
    many.classify(PAIRS)
    assert one.n_classified == many.n_classified == len(set(PAIRS))


def test_the_order_of_a_pair_reaches_the_model():
    model, tokenizer = _tiny_nli(["contradiction", "neutral", "entailment"])
    seen = []
    forward = model.forward
    model.forward = lambda **encoded: seen.append(encoded) or forward(**encoded)
    EntailmentClassifier(model, tokenizer).classify([("capital of france paris", "lyon")])
    assert tokenizer.decode(seen[0]["input_ids"][0]) == "[CLS] capital of france paris [SEP] lyon [SEP]"
    assert seen[0]["token_type_ids"][0].tolist() == [0] * 6 + [1] * 2


def test_a_pair_longer_than_the_model_reads_is_counted():
    classifier = EntailmentClassifier(*_tiny_nli(["contradiction", "neutral", "entailment"]))
    classifier.classify([("paris " * 50, "lyon"), ("paris", "lyon")])
    assert (classifier.max_length, classifier.n_at_limit) == (32, 1)


def test_an_nli_model_is_loaded_from_a_folder(tmp_path):
    model, tokenizer = _tiny_nli(["contradiction", "neutral", "entailment"])
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = EntailmentClassifier(tmp_path, name="tiny")
    assert loaded.name == "tiny"
    assert loaded.classify(PAIRS) == EntailmentClassifier(model, tokenizer).classify(PAIRS)
    with pytest.raises(ValueError, match="tokenizer"):
        EntailmentClassifier(model)


def test_relations_put_the_question_in_the_premise_and_ask_only_unlike_answers():
    asked = []

    def ask(triples):
        asked.extend(triples)
        return [0 if (a, b) == ("x", "y") else 1 for _, a, b in triples]

    first, second, empty = relation_matrices([("q", ["x", "y", "x"]), ("r", ["x", "x"]), ("s", [])], ask)
    assert asked == [("q", "x", "y"), ("q", "y", "x")]
    assert first.tolist() == [[2, 0, 2], [1, 2, 1], [2, 0, 2]]
    assert second.tolist() == [[2, 2], [2, 2]]
    assert empty.shape == (0, 0)
    pairs = []
    classifier = EntailmentClassifier(*_tiny_nli(["contradiction", "neutral", "entailment"]))
    classify = classifier.classify
    classifier.classify = lambda asked: classify(pairs.extend(asked) or pairs)
    classifier.relations([("capital of france", ["paris", "lyon"])])
    assert pairs == [("capital of france paris", "lyon"), ("capital of france lyon", "paris")]


class PlainJudge:
    """Answers entail each other when one contains the other; nothing is known about Rome."""

    name = "plain"

    def entails(self, question, a, b):
        return None if "Rome" in (a, b) else b in a


class AsyncJudge(PlainJudge):
    """The same, as a coroutine."""

    async def entails(self, question, a, b):
        return super().entails(question, a, b)


@pytest.mark.parametrize("judge", [PlainJudge(), AsyncJudge()])
def test_a_judge_may_be_plain_or_asynchronous(judge):
    assert isinstance(judge, EntailmentJudge)
    (relation,), unanswered = judge_relations(judge, [("q", ["Paris", "Paris, France", "Rome"])])
    assert relation.tolist() == [[2, 1, 1], [2, 2, 1], [1, 1, 2]]
    assert unanswered == 4


class Embedder:
    """Embeds a text as its letters; counts what it is asked."""

    def __init__(self):
        self.asked = []

    def encode(self, texts, **_):
        self.asked += texts
        return np.array([[text.count("a"), text.count("b")] for text in texts], dtype=float)


def test_embeddings_have_length_one_and_each_text_is_encoded_once():
    embedder = Embedder()
    vectors = sentence_embeddings(["aa", "b", "aa"], embedder)
    assert embedder.asked == ["aa", "b"]
    assert vectors.tolist() == [[1, 0], [0, 1], [1, 0]]
    assert sentence_embeddings([], embedder).shape == (0, 0)
    with pytest.raises(ValueError, match="'x'"):
        sentence_embeddings(["x"], embedder)


def _tables(answers, truncated=()):
    """One question with a greedy run and one run an answer, and a second question with one run."""
    n = len(answers)
    labels = pl.DataFrame(
        {
            "prompt_id": ["q1"] * (n + 1) + ["q2"],
            "sample": [-1, *range(n), 0],
            "greedy": [True] + [False] * (n + 1),
            "answer": ["9", *answers, "aab"],
            "truncated": [False, *(i in truncated for i in range(n)), False],
        },
        schema_overrides={"sample": pl.Int32, "answer": pl.String},
    )
    prompts = pl.DataFrame({"prompt_id": ["q1", "q2"], "question": ["Which?", "What?"]})
    samples = labels.select("prompt_id", "sample", text=pl.lit("t</think> It is ") + pl.col("answer").fill_null(""))
    return labels, prompts, samples


def test_mathematical_runs_are_clustered_without_the_greedy_one():
    clusters, relations, diagnostics = cluster_runs(
        *_tables(["10", "10%", None, "0.1", "7"], truncated=[2]), method="math"
    )
    assert clusters.columns == ["prompt_id", "sample", "cluster", "method"]
    assert clusters["sample"].to_list() == [0, 1, 2, 3, 4, 0]
    assert clusters["cluster"].to_list() == [0, 1, None, 1, 2, 0]
    assert clusters["method"].unique().to_list() == ["math"]
    assert relations == {}
    assert diagnostics == {
        "method": "math",
        "source": "answer",
        "n_questions": 2,
        "n_runs": 6,
        "n_truncated": 1,
        "n_clustered": 5,
        "n_no_answer": 0,
        "inconsistent_triples": 1,
    }


def test_text_runs_are_clustered_by_normalised_match():
    clusters, _, diagnostics = cluster_runs(
        *_tables(["Paris", "the paris.", " ", None, "Lyon", "paris"], truncated=[5]), method="text"
    )
    assert clusters["cluster"].to_list() == [0, 0, None, None, 1, None, 0]
    assert (diagnostics["n_no_answer"], diagnostics["n_truncated"]) == (2, 1)


def test_judged_runs_come_with_their_relations():
    clusters, relations, diagnostics = cluster_runs(
        *_tables(["Paris", None, "Paris, France", "Paris"]), method="judge", strict=False, judge=AsyncJudge()
    )
    assert clusters["cluster"].to_list() == [0, None, 0, 0, 0]
    assert clusters["method"][0] == "judge loose first plain"
    assert relations["q1"].tolist() == [[2, 1, 2], [2, 2, 2], [2, 1, 2]]
    assert relations["q2"].shape == (1, 1)
    assert diagnostics["pairs_without_verdict"] == 0


def test_nli_runs_follow_their_relations():
    classifier = EntailmentClassifier(*_tiny_nli(["neutral", "entailment", "contradiction"]), name="tiny")
    clusters, relations, diagnostics = cluster_runs(
        *_tables(["paris", "lyon", "paris"]), method="nli", policy="components", classifier=classifier
    )
    assert clusters["cluster"].to_list()[:3] == cluster_by_entailment(relations["q1"], policy="components")
    assert clusters["cluster"][0] == clusters["cluster"][2]
    assert clusters["method"][0] == "nli strict components tiny"
    assert diagnostics["pairs_classified"] == 2


def test_cosine_runs_store_model_and_threshold():
    clusters, relations, diagnostics = cluster_runs(
        *_tables(["aa", "b", "aaa"]), method="cosine", threshold=0.1, embedder=Embedder(), embedder_name="letters"
    )
    assert clusters["cluster"].to_list() == [0, 1, 0, 0]
    assert clusters["method"][0] == "cosine threshold=0.1 letters"
    assert relations == {}
    assert (diagnostics["model"], diagnostics["threshold"]) == ("letters", 0.1)


def test_whole_responses_can_be_clustered():
    clusters, _, _ = cluster_runs(*_tables(["Paris", "paris", None]), method="text", source="response")
    assert clusters["cluster"].to_list() == [0, 0, 1, 0]
    assert clusters["method"][0] == "text response"


def test_the_order_of_rows_changes_no_cluster():
    labels, prompts, samples = _tables(["10", "10%", None, "0.1", "7"])
    mixed = labels.sample(fraction=1, shuffle=True, seed=2)
    one = cluster_runs(labels, prompts, samples, method="math")[0]
    assert one.equals(cluster_runs(mixed, prompts, samples, method="math")[0])


def test_a_method_without_what_it_needs_is_refused():
    tables = _tables(["a"])
    with pytest.raises(ValueError, match="unknown clustering method 'fuzzy'"):
        cluster_runs(*tables, method="fuzzy")
    for method, needed in [("nli", "classifier"), ("cosine", "embedder"), ("judge", "judge")]:
        with pytest.raises(ValueError, match=f"needs `{needed}`"):
            cluster_runs(*tables, method=method)
    with pytest.raises(ValueError, match="choose source answer"):
        cluster_runs(*tables, method="math", source="response")


def test_tables_of_different_collections_are_refused():
    labels, prompts, samples = _tables(["a", "b"])
    with pytest.raises(ValueError, match=r"not in prompts \(first: q2"):
        cluster_runs(labels, prompts.head(1), samples, method="text")
    with pytest.raises(ValueError, match=r"not in samples \(first: q2, sample 0"):
        cluster_runs(labels, prompts, samples.head(3), method="text")


def test_a_collection_without_runs_has_an_empty_table():
    labels, prompts, samples = _tables(["a"])
    for method, extra in [("math", {}), ("judge", {"judge": PlainJudge()}), ("cosine", {"embedder": Embedder()})]:
        clusters, relations, _ = cluster_runs(labels.clear(), prompts, samples, method=method, **extra)
        assert clusters.shape == (0, 4)
        assert relations == {}
