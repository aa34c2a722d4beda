"""The arms: what each spends and decides, one by one and on many orders at once, replayed and online."""

from itertools import permutations

import numpy as np
import polars as pl
import pytest
from arm_helpers import (
    first_traces,
    one_by_one,
    online_rows,
    pools_of_traces,
    prompt,
    samples_of,
    study,
    tables,
    trace,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tells.config.safety import StoppingConfig
from tells.safety.adaptive import vote_of
from tells.safety.arms import (
    arms_summary,
    arms_table,
    build_pools,
    draw_orders,
    online_arm,
    replay_online,
    simulate_adaptive,
    simulate_arms,
)
from tells.safety.voting import majority_vote
from tells.tables import read_table, write_table
from tells.tables.schemas import SCHEMAS

RULES = ("consensus", "adaptive_consistency", "vote_entropy")
KEPT, LOST = [4.0, 4.0, 4.0], [4.0, 1.0, 1.0, 4.0]


def arms_of(rows, window=2, seed=0, **settings):
    budget = max(row["sample"] for row in rows) + 1
    stopping = StoppingConfig(**{"warmup": 3, "draws": 32, **settings})
    return arms_table(*tables(rows), stopping=stopping, window=window, budget=budget, seed=seed)


def row_of(table, arm, prompt_id="p"):
    return table.filter(pl.col("arm") == arm, pl.col("prompt_id") == prompt_id).row(0, named=True)


def means(spents, reference):
    """One row of the table from what an arm did on each order."""
    decided = [one for one in spents if one.decision is not None]
    known = [one.harmful for one in spents if one.harmful is not None]
    confident = [one.confidence for one in spents if one.confidence is not None]
    agree = [one.decision == reference for one in spents]
    return {
        "traces": np.mean([one.traces for one in spents]),
        "tokens": np.mean([one.tokens for one in spents]),
        "refused": np.mean([one.decision == "refusal" for one in decided]) if decided else None,
        "harmful_compliance": np.mean(known) if known else None,
        "agreement": None if reference is None else np.mean(agree),
        "confidence": np.mean(confident) if confident else None,
    }


def same(row, expected):
    for name, value in expected.items():
        assert row[name] == (None if value is None else pytest.approx(value, abs=1e-9)), name


@settings(max_examples=60, deadline=None)
@given(
    pools_of_traces(),
    st.sampled_from(RULES),
    st.sampled_from([0.1, 0.5, 0.75, 0.9]),
    st.integers(1, 3),
    st.integers(2, 4),
    st.sampled_from([0.6, 0.75, 0.95, 1.0]),
)
def test_simulated_arms_decide_as_one_trace_after_the_other(traces, rule, keep, window, warmup, consensus):
    stopping = StoppingConfig(warmup=warmup, keep=keep, rule=rule, consensus=consensus, draws=12)
    table = arms_table(*tables(prompt(traces)), stopping=stopping, window=window, budget=len(traces), seed=3)
    orders = [[traces[place] for place in order] for order in draw_orders("p", len(traces), 12, 3)]
    reference = majority_vote([vote_of(row["refusal"]) for row in traces])
    for arm, settled in {"adaptive": rule, "adaptive_consistency": RULES[1], "vote_entropy": RULES[2]}.items():
        config = stopping.model_copy(update={"rule": settled})
        same(row_of(table, arm), means([one_by_one(order, config, window) for order in orders], reference))
    same(row_of(table, "single"), means([first_traces([row]) for row in traces], reference))
    same(row_of(table, "fixed_5"), means([first_traces(order[:5]) for order in orders], reference))
    same(row_of(table, "fixed_budget"), means([first_traces(traces)], reference))


@settings(max_examples=60, deadline=None)
@given(pools_of_traces(), st.sampled_from(RULES), st.integers(1, 3), st.sampled_from([0.1, 0.5, 0.9]))
def test_online_sampling_and_its_replay_decide_alike_on_the_same_traces(traces, rule, window, keep):
    stopping = StoppingConfig(warmup=2, keep=keep, rule=rule)
    rows = prompt(traces)
    online = online_rows(rows, stopping, window)
    replayed = replay_online(online, stopping, window=window, budget=len(traces))
    assert replayed["threshold"].to_list() == online["threshold"].to_list()
    assert replayed["settled"].to_list() == online["settled"].to_list()
    assert replayed["warmup"].to_list() == online["warmup"].to_list()
    assert replayed["cut"].to_list() == (online["finish_reason"] == "confidence").to_list()
    last = (online["token_ids"].list.len().cast(pl.Int32) - 1).to_list()
    assert replayed["stop"].to_list() == [
        end if cut else None for end, cut in zip(last, replayed["cut"].to_list(), strict=True)
    ]
    # And as the simulated arm does where it meets the traces in the order of the pool.
    confidence, labels = tables(rows)
    row = online_arm(online, samples_of(rows), confidence, labels, window=window, budget=len(traces)).row(0, named=True)
    reference = majority_vote([vote_of(one["refusal"]) for one in traces])
    same(row, means([one_by_one(traces, stopping, window)], reference))
    assert (row["arm"], row["draws"], row["unmatched"]) == ("online", 1, 0)
    assert row["full_tokens"] == sum(len(one["confidence"]) for one in traces)


def test_a_cut_trace_costs_its_tokens_up_to_the_stop():
    # An unsure trace has four tokens; behind the warm-up it is cut after two: (4 + 1) / 2 is below the threshold of 4.
    traces = [trace(KEPT, "refusal")] * 4 + [trace(KEPT, "compliance", "harmful")] * 3 + [trace(LOST, "unclear")] * 2
    row = row_of(arms_of(prompt(traces), keep=0.1, consensus=1.0, draws=100), "adaptive")
    orders = [order.tolist() for order in draw_orders("p", 9, 100, 0)]
    tokens, cuts = [], 0
    for order in orders:
        votes = [{0: "r", 1: "c", 2: None}[(one >= 4) + (one >= 7)] for one in order]
        used = next((n for n in range(3, 10) if len({*votes[:n]} - {None}) == 1), 9)
        lost = [place for place, one in enumerate(order[:used]) if one >= 7]
        cuts += sum(place >= 3 for place in lost)
        tokens.append(3 * used + sum(1 if place < 3 else -1 for place in lost))
    assert cuts > 20
    assert row["tokens"] == pytest.approx(np.mean(tokens))


def test_traces_that_are_cut_lose_their_vote():
    # Three sure refusals; the rest would outvote them, but is cut behind any warm-up that holds a sure trace alone.
    traces = [trace(KEPT, "refusal")] * 3 + [trace(LOST, "compliance", "harmful")] * 4
    orders = draw_orders("p", 7, 400, 0)
    table = arms_of(prompt(traces), keep=0.1, consensus=1.0, draws=400)
    sure_first = np.mean([set(order[:3]) == {0, 1, 2} for order in orders.tolist()])
    assert 0 < sure_first < 0.1
    row = row_of(table, "adaptive")
    assert row["refused"] >= sure_first
    assert row_of(table, "fixed_budget")["refused"] == 0.0
    assert row_of(table, "fixed_budget")["harmful_compliance"] == 1.0


def test_ties_go_to_the_first_seen_in_each_order():
    traces = [trace(KEPT, "refusal")] * 3 + [trace(KEPT, "compliance", "harmful")] * 3
    table = arms_of(prompt(traces), draws=500, consensus=1.0)
    whole = row_of(table, "fixed_budget")
    assert (whole["refused"], whole["harmful_compliance"], whole["agreement"]) == (1.0, 0.0, 1.0)
    turned = row_of(arms_of(prompt(traces[::-1])), "fixed_budget")
    assert (turned["refused"], turned["harmful_compliance"]) == (0.0, 1.0)
    assert 0.4 < row_of(table, "adaptive")["refused"] < 0.6
    assert row_of(table, "single")["agreement"] == 0.5


def test_a_compliance_is_harmful_by_the_majority_of_its_scored_replies():
    complied = [trace(KEPT, "compliance", harm) for harm in ("unscored", "unscored", None, "harmful", "unharmful")]
    ends = [trace(KEPT, "compliance", "unharmful"), trace(KEPT, "refusal"), trace(KEPT, "partial", "harmful")]
    assert row_of(arms_of(prompt([*complied, *ends])), "fixed_budget")["harmful_compliance"] == 0.0
    tied = row_of(arms_of(prompt(complied)), "fixed_budget")
    assert (tied["harmful_compliance"], tied["unscored"]) == (1.0, 0.0)
    unscored = row_of(arms_of(prompt(complied[:3] + ends[1:] + [trace(KEPT, None)])), "fixed_budget")
    assert (unscored["harmful_compliance"], unscored["refused"], unscored["unscored"]) == (None, 0.0, 1.0)


def test_a_pool_without_any_vote_is_undefined_and_counted():
    rows = prompt([trace(KEPT, "unclear")] * 3 + [trace([], None, stop_label="unclear")] * 3)
    table = arms_of(rows)
    for row in table.iter_rows(named=True):
        assert [row[name] for name in ("refused", "harmful_compliance", "agreement")] == [None] * 3
        assert row["undecided"] == 1.0
    assert row_of(table, "adaptive")["traces"] == 6
    record = next(one for one in arms_summary(table, bootstrap=20, level=0.95, seed=0) if one["arm"] == "adaptive")
    assert (record["n"], record["n_undecided"]) == (1, 1)
    assert (record["harmful_compliance"]["n"], record["harmful_compliance"]["n_undefined"]) == (0, 1)
    assert record["harmful_compliance"]["estimate"] is None
    assert record["difference"]["agreement"]["difference"] is None


def test_an_order_without_a_decision_agrees_with_nothing():
    traces = [trace(KEPT, "refusal")] + [trace(KEPT, "unclear")] * 3
    row = row_of(arms_of(prompt(traces)), "single")
    assert (row["agreement"], row["refused"], row["undecided"]) == (0.25, 1.0, 0.75)


def test_pools_of_empty_traces_cost_nothing():
    table = arms_of(prompt([trace([], "unclear")] * 6))
    assert table["tokens"].to_list() == [0.0] * len(table)
    assert table["confidence"].null_count() == len(table)
    assert arms_summary(table, bootstrap=20, level=0.95, seed=0)[0]["saving"]["estimate"] is None


def test_a_share_that_stands_on_the_limit_but_for_rounding_settles_in_simulation_too():
    # Weights of 9, 9 and 27 twelfths against 5: a share of 0.9, which floating point puts just below.
    means_of = ([0.75] * 3, [0.75] * 3, [2.25] * 3)
    votes = [trace(values, "refusal") for values in means_of] + [trace([0.25, 0.5, 0.5], "compliance", "harmful")]
    row = row_of(arms_of(prompt([*votes, trace(KEPT, "unclear")]), warmup=4, consensus=0.9, draws=100), "adaptive")
    orders = draw_orders("p", 5, 100, 0)
    # Without the unclear one the warm-up settles; so does one without the dissenter.
    settled = np.isin(orders[:, 4], [3, 4])
    assert row["traces"] == 5 - settled.mean()


def test_agreed_prompts_stop_after_the_warm_up():
    row = row_of(arms_of(prompt([trace(KEPT, "refusal")] * 8)), "adaptive")
    assert (row["traces"], row["tokens"], row["full_tokens"]) == (3.0, 9.0, 24.0)


def test_the_budget_is_never_exceeded_and_no_arm_costs_more_than_the_pool():
    table = arms_of(study(10, 8, 40))
    assert table["traces"].max() <= 8
    assert (table["tokens"] <= table["full_tokens"] + 1e-9).all()
    adaptive = table.filter(pl.col("arm") == "adaptive")
    assert adaptive["traces"].min() >= 3
    assert adaptive["tokens"].n_unique() > 5


def test_the_matched_arm_spends_the_tokens_of_the_adaptive_one():
    rows = study(12, 8, 40)
    table = arms_of(rows)
    tokens = {arm: table.filter(pl.col("arm") == arm)["tokens"].sum() for arm in ("adaptive", "fixed_matched")}
    assert tokens["fixed_matched"] == pytest.approx(tokens["adaptive"], rel=1e-12)
    matched = table.filter(pl.col("arm") == "fixed_matched")
    number = matched["traces"].unique().to_list()
    assert len(matched["draws"].unique()) == 1
    assert number == pytest.approx([number[0]] * len(number))
    assert 3 <= number[0] < 8
    assert number[0] % 1 > 0.001


def test_the_matched_arm_mixes_the_numbers_below_and_above():
    rows = study(6, 8, 40)
    table = arms_of(rows)
    number = row_of(table, "fixed_matched", "p0001")["traces"]
    traces = [row for row in rows if row["prompt_id"] == "p0001"]
    orders = [[traces[place] for place in order] for order in draw_orders("p0001", 8, 32, 0)]
    below, above = (
        means([first_traces(order[:n]) for order in orders], "refusal") for n in (int(number), int(number) + 1)
    )
    share = number - int(number)
    assert row_of(table, "fixed_matched", "p0001")["tokens"] == pytest.approx(
        (1 - share) * below["tokens"] + share * above["tokens"]
    )


def test_the_matched_arm_is_the_pool_where_adaptive_saves_nothing():
    # All-unclear prompts never settle, and equal confidences are never cut.
    traces = [trace(KEPT, "refusal", stop_label="unclear")] * 4
    assert row_of(arms_of(prompt(traces)), "fixed_matched")["traces"] == pytest.approx(4)


def test_small_pools_have_no_arm_of_five():
    assert "fixed_5" not in arms_of(prompt([trace(KEPT)] * 4))["arm"].to_list()
    assert row_of(arms_of(prompt([trace(KEPT)] * 5)), "fixed_5")["traces"] == 5


def test_neither_the_order_of_rows_nor_other_prompts_change_a_row():
    rows = study(6, 8, 30)
    table = arms_of(rows).filter(pl.col("arm") != "fixed_matched")
    shuffled = [rows[place] for place in np.random.default_rng(0).permutation(len(rows))]
    assert arms_of(shuffled).filter(pl.col("arm") != "fixed_matched").equals(table)
    alone = arms_of([row for row in rows if row["prompt_id"] == "p0003"])
    keep = (pl.col("prompt_id") == "p0003") & (pl.col("arm") != "fixed_matched")
    assert alone.filter(keep).equals(table.filter(keep))


def test_another_seed_draws_other_orders_and_another_prompt_too():
    assert not np.array_equal(draw_orders("p", 10, 5, 0), draw_orders("p", 10, 5, 1))
    assert not np.array_equal(draw_orders("p", 10, 5, 0), draw_orders("q", 10, 5, 0))
    assert np.array_equal(np.sort(draw_orders("p", 10, 5, 0), axis=1), np.tile(np.arange(10), (5, 1)))


def test_orders_are_drawn_evenly():
    orders = draw_orders("p", 3, 6000, 0)
    counts = [int((orders == order).all(axis=1).sum()) for order in permutations(range(3))]
    assert min(counts) > 850
    assert max(counts) < 1150


def test_the_arms_table_is_written_and_read(tmp_path):
    table = arms_of(study(4, 6, 20))
    write_table(tmp_path / "arms.parquet", table, "arms", {})
    found = read_table(tmp_path / "arms.parquet", "arms")
    assert found.equals(table)
    assert table.select(list(SCHEMAS["arms"].columns)).schema == SCHEMAS["arms"].columns


def test_no_prompt_gives_an_empty_table():
    confidence, labels = tables([])
    found = arms_table(confidence, labels, stopping=StoppingConfig(), window=2, budget=10, seed=0)
    assert found.is_empty()
    assert arms_summary(found, bootstrap=10, level=0.95, seed=0) == []


def test_a_prompt_with_fewer_traces_than_the_budget_is_refused():
    confidence, labels = tables(prompt([trace(KEPT)] * 4))
    with pytest.raises(ValueError, match="prompt p has 4 traces, not the budget of 5"):
        build_pools(confidence, labels, window=2, budget=5)


def test_tables_of_other_traces_are_refused():
    confidence, labels = tables(prompt([trace(KEPT)] * 4))
    with pytest.raises(ValueError, match=r"1 traces are not in confidence \(first: p, sample 3\)"):
        build_pools(confidence.head(3), labels, window=2, budget=4)
    with pytest.raises(ValueError, match=r"1 traces are not in reply_labels \(first: p, sample 3\)"):
        build_pools(confidence, labels.head(3), window=2, budget=4)


def test_confidences_that_are_not_one_a_token_are_refused():
    confidence, labels = tables(prompt([trace(KEPT)] * 4))
    with pytest.raises(ValueError, match="prompt p, sample 0: 3 confidences for 4 tokens"):
        build_pools(confidence.with_columns(n_tokens=pl.lit(4, pl.Int32)), labels, window=2, budget=4)


def test_a_pool_within_the_warm_up_is_refused():
    with pytest.raises(ValueError, match="prompt p has 3 traces: the warm-up of 3 leaves none"):
        arms_of(prompt([trace(KEPT)] * 3))


def test_the_summary_recomputes_from_the_table():
    table = arms_of(study(24, 8, 40))
    for record in arms_summary(table, bootstrap=50, level=0.9, seed=1):
        rows = table.filter(pl.col("arm") == record["arm"])
        saving = 1 - rows["tokens"].sum() / rows["full_tokens"].sum()
        assert record["saving"]["estimate"] == pytest.approx(saving)
        assert record["traces"]["estimate"] == pytest.approx(rows["traces"].mean())
        harmful, benign = (rows.filter(pl.col("label") == label) for label in ("harmful", "benign"))
        assert record["harmful_compliance"]["estimate"] == pytest.approx(harmful["harmful_compliance"].mean())
        assert record["over_refusal"]["estimate"] == pytest.approx(benign["refused"].mean())
        assert record["over_refusal"]["n"] == 12
        if record["arm"] != "fixed_budget":
            assert record["saving"]["low"] <= saving <= record["saving"]["high"]
        assert (record["n"], record["n_groups"], record["n_unlabelled"]) == (24, 12, 0)


def test_differences_are_to_the_full_budget_and_paired():
    table = arms_of(study(24, 8, 40))
    records = {record["arm"]: record for record in arms_summary(table, bootstrap=50, level=0.9, seed=1)}
    assert records["fixed_budget"]["difference"] is None
    for figure, value in (("saving", 0.0), ("agreement", 1.0)):
        own = records["fixed_budget"][figure]
        assert (own["estimate"], own["low"], own["high"], own["interval"]) == (value, None, None, None)
        assert "itself" in own["reason"]
    for figure in ("traces", "tokens", "saving", "agreement", "over_refusal", "confidence"):
        found = records["adaptive"]["difference"][figure]
        expected = records["adaptive"][figure]["estimate"] - records["fixed_budget"][figure]["estimate"]
        assert found["difference"] == pytest.approx(expected)
        assert found["low"] <= found["difference"] <= found["high"]
    assert records["adaptive"]["difference"]["saving"]["low"] > 0


def test_intervals_draw_twins_together():
    # Ten groups of two equal prompts: drawn apart they would make the interval narrower.
    rows = []
    for number in range(20):
        refusing = number // 2 % 2 == 0
        traces = [trace(KEPT, "refusal" if refusing else "compliance", "unharmful")] * 4
        rows += prompt(traces, f"p{number:02d}", "benign", f"g{number // 2}")
    table = arms_of(rows)
    apart = table.with_columns(group=pl.col("prompt_id"))
    widths = []
    for one in (table, apart):
        found = arms_summary(one, bootstrap=400, level=0.95, seed=0)[0]["over_refusal"]
        widths.append(found["high"] - found["low"])
    assert widths[0] > 1.2 * widths[1]


def test_unlabelled_prompts_are_in_no_safety_figure_and_counted():
    rows = prompt([trace(KEPT, "compliance", "harmful")] * 4, "p", None)
    rows += prompt([trace(KEPT, "refusal")] * 4, "q", "harmful")
    for record in arms_summary(arms_of(rows), bootstrap=20, level=0.95, seed=0):
        assert (record["n"], record["n_unlabelled"]) == (2, 1)
        assert (record["harmful_compliance"]["estimate"], record["harmful_compliance"]["n"]) == (0.0, 1)
        assert record["over_refusal"]["n"] == 0


def test_a_summary_of_two_collections_at_once_is_refused():
    table = arms_of(prompt([trace(KEPT)] * 4))
    with pytest.raises(ValueError, match="more than once"):
        arms_summary(pl.concat([table, table]), bootstrap=10, level=0.95, seed=0)


def test_the_adaptive_arm_alone_is_that_among_all():
    pools = build_pools(*tables(study(6, 8, 30)), window=4, budget=8)
    stopping = StoppingConfig(draws=16)
    whole = simulate_arms(pools, stopping, seed=5).filter(pl.col("arm") == "adaptive")
    assert simulate_adaptive(pools, stopping, seed=5).equals(whole)


def test_the_rivals_differ_in_the_rule_alone():
    rows = study(6, 8, 30)
    table = arms_of(rows, window=4)
    for rule in RULES[1:]:
        rival = table.filter(pl.col("arm") == rule).drop("arm")
        assert arms_of(rows, window=4, rule=rule).filter(pl.col("arm") == "adaptive").drop("arm").equals(rival)
    rival = table.filter(pl.col("arm") == "adaptive_consistency")
    assert table.filter(pl.col("arm") == "adaptive")["traces"].sum() < rival["traces"].sum()


def test_an_online_trace_that_is_not_the_pools_has_no_final_label_and_is_counted():
    rows = prompt([trace(KEPT, "refusal")] * 3 + [trace(KEPT, "compliance", "harmful")] * 3)
    stopping = StoppingConfig(warmup=3)
    online = online_rows(rows, stopping, 2)
    strange = online.with_columns(token_ids=pl.when(pl.col("sample") == 0).then([1, 2, 3]).otherwise("token_ids"))
    strange = strange.cast({"token_ids": pl.List(pl.Int32)})
    confidence, labels = tables(rows)
    found = online_arm(strange, samples_of(rows), confidence, labels, window=2, budget=6).row(0, named=True)
    assert (found["unmatched"], found["refused"], found["traces"]) == (1, 1.0, 3.0)
    none = strange.with_columns(token_ids=pl.lit([7], pl.List(pl.Int32)))
    found = online_arm(none, samples_of(rows), confidence, labels, window=2, budget=6).row(0, named=True)
    assert (found["unmatched"], found["refused"], found["agreement"], found["undecided"]) == (3, None, 0.0, 1.0)


def test_the_online_arm_stands_beside_the_replayed_ones():
    rows = study(12, 8, 40)
    stopping = StoppingConfig(warmup=3, draws=16)
    confidence, labels = tables(rows)
    replayed = arms_table(confidence, labels, stopping=stopping, window=4, budget=8, seed=0)
    online = online_arm(online_rows(rows, stopping, 4), samples_of(rows), confidence, labels, window=4, budget=8)
    records = arms_summary(pl.concat([replayed, online]), bootstrap=20, level=0.95, seed=0)
    record = next(one for one in records if one["arm"] == "online")
    assert (record["n"], record["n_unmatched"]) == (12, 0)
    assert 0 < record["saving"]["estimate"] < 1
    assert record["difference"]["saving"]["n"] == 12


def test_an_online_prompt_without_a_pool_or_beyond_its_budget_is_refused():
    rows = prompt([trace(KEPT, "refusal")] * 3 + [trace(KEPT, "compliance")] * 3)
    online = online_rows(rows, StoppingConfig(warmup=2), 2)
    confidence, labels = tables(rows)
    with pytest.raises(ValueError, match="prompt q was sampled online, but has no full-budget pool"):
        online_arm(online.with_columns(prompt_id=pl.lit("q")), samples_of(rows), confidence, labels, window=2, budget=6)
    seven = pl.concat([online.head(1).with_columns(sample=pl.lit(n, pl.Int32)) for n in range(7)])
    with pytest.raises(ValueError, match="prompt p has 7 online traces, above the budget of 6"):
        online_arm(seven, samples_of(rows), confidence, labels, window=2, budget=6)


def test_traces_behind_a_settled_prompt_are_refused():
    rows = prompt([trace(KEPT, "refusal")] * 6)
    stopping = StoppingConfig(warmup=2)
    online = online_rows(rows, stopping, 2)
    extra = pl.concat([online, online.tail(1).with_columns(sample=pl.lit(2, pl.Int32))])
    with pytest.raises(ValueError, match="prompt p is done before sample 2"):
        replay_online(extra, stopping, window=2, budget=6)


def test_a_replay_shows_a_stop_that_came_too_late():
    traces = [trace(KEPT, "refusal"), trace(KEPT, "compliance"), trace(LOST, "refusal"), trace(KEPT, "refusal")]
    stopping = StoppingConfig(warmup=2)
    rows = prompt(traces)
    online = online_rows(rows, stopping, 2)
    late = online.with_columns(
        confidence=pl.when(pl.col("sample") == 2).then(pl.lit(LOST, pl.List(pl.Float32))).otherwise("confidence")
    )
    assert online["confidence"].list.len().to_list() == [3, 3, 2, 3]
    assert replay_online(late, stopping, window=2, budget=4)["stop"].to_list() == [None, None, 1, None]
