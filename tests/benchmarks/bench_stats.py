"""How long inference takes at the size of a real study, and how much memory; run by `make bench`."""

import time
import tracemalloc
from collections.abc import Callable

import numpy as np
from sklearn.metrics import roc_auc_score

from tells.stats import auroc, average_precision, bootstrap_ci, paired_bootstrap, permutation_p

QUESTIONS, RUNS, DRAWS, TARGET_SECONDS = 500, 10, 1000, 1.0


def study(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores and questions of 500 questions with 10 runs each."""
    generator = np.random.default_rng(seed)
    groups = np.repeat([f"question-{i:05d}" for i in range(QUESTIONS)], RUNS)
    rate = generator.random(QUESTIONS).repeat(RUNS)
    y = (generator.random(groups.size) < rate).astype(int)
    return y, 0.2 * rate + generator.normal(size=groups.size), groups


def naive_permutation_p(y: np.ndarray, score: np.ndarray, n: int) -> float:
    """Blocks of equal size permuted in a plain loop, each AUROC by scikit-learn."""
    generator = np.random.default_rng(0)
    observed, blocks = roc_auc_score(y, score), score.reshape(QUESTIONS, RUNS)
    reached = sum(roc_auc_score(y, blocks[generator.permutation(QUESTIONS)].ravel()) >= observed for _ in range(n))
    return (1 + reached) / (n + 1)


def seconds(function: Callable[[], object], repeats: int = 3) -> float:
    """Best wall time of a few calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def peak_mebibytes(function: Callable[[], object]) -> float:
    """Most memory that the call holds at once beyond its arguments."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def main() -> None:
    """Print the figures."""
    y, score, groups = study()
    other = np.random.default_rng(1).normal(size=y.size)
    ragged = np.random.default_rng(2).random(y.size) < 0.9
    print(f"{QUESTIONS} questions x {RUNS} runs, {DRAWS} draws")
    cases: dict[str, Callable[[], object]] = {
        "permutation p, auroc": lambda: permutation_p(auroc, y, score, groups, n=DRAWS),
        "permutation p, auroc, uneven questions": lambda: permutation_p(
            auroc, y[ragged], score[ragged], groups[ragged], n=DRAWS
        ),
        "permutation p, auroc, generic loop": lambda: permutation_p(
            lambda a, b: auroc(a, b), y, score, groups, n=DRAWS
        ),
        "permutation p, average precision": lambda: permutation_p(average_precision, y, score, groups, n=DRAWS),
        "bootstrap, auroc": lambda: bootstrap_ci(auroc, y, score, groups, n=DRAWS),
        "bootstrap, auroc, generic loop": lambda: bootstrap_ci(lambda a, b: auroc(a, b), y, score, groups, n=DRAWS),
        "paired bootstrap, auroc": lambda: paired_bootstrap(auroc, y, score, other, groups, n=DRAWS),
    }
    for name, function in cases.items():
        print(f"  {name:42s} {seconds(function):7.3f} s   peak {peak_mebibytes(function):6.1f} MiB")
    naive = seconds(lambda: naive_permutation_p(y, score, DRAWS), repeats=1)
    fast = seconds(cases["permutation p, auroc"])
    print(f"  {'naive loop over scikit-learn':42s} {naive:7.3f} s   {naive / fast:.0f} times as long")
    verdict = "met" if fast < TARGET_SECONDS else "MISSED"
    print(f"  target: grouped permutation of an auroc under {TARGET_SECONDS:.0f} s: {verdict}")


if __name__ == "__main__":
    main()
