"""How long the probe search takes at the size of the demo: 30 layers, 4 positions, 4 values of C, 5 folds."""

import time

import numpy as np
from sklearn.linear_model import LogisticRegression

from tells.uncertainty.probe_search import SearchRows, Task, search
from tells.uncertainty.probe_solver import WeightedDesign
from tells.uncertainty.probe_targets import question_folds

LAYERS, POSITIONS, WIDTH, QUESTIONS, RUNS, STRENGTHS = 30, 4, 576, 90, 10, (0.001, 0.01, 0.1, 1.0)


class RandomStates:
    """One correlated random slice for every place, so that reading costs nothing."""

    def __init__(self, groups: np.ndarray) -> None:
        generator = np.random.default_rng(0)
        self.layers, self.positions = list(range(LAYERS)), [f"position-{i}" for i in range(POSITIONS)]
        mixing = generator.normal(size=(WIDTH, WIDTH)) / np.sqrt(1 + np.arange(WIDTH))[:, None]
        states = generator.normal(size=(QUESTIONS, WIDTH))[groups] + generator.normal(size=(groups.size, WIDTH))
        self.slice = (states @ mixing).astype(np.float32)

    def states(self, layer_index: int, position_index: int) -> tuple[np.ndarray, np.ndarray]:
        """The slice, valid everywhere."""
        return self.slice, np.ones(len(self.slice), dtype=bool)


def main() -> None:
    """Print the seconds of a search, and of scikit-learn for the fits of one slice."""
    generator = np.random.default_rng(1)
    groups = np.repeat(np.arange(QUESTIONS), RUNS)
    labels = (generator.random(groups.size) < generator.random(QUESTIONS)[groups]).astype(float)
    source = RandomStates(groups)
    everything = np.ones(groups.size, dtype=bool)
    folds = question_folds(labels, groups, folds=5, seed=0)
    rows = SearchRows(everything, everything, groups, folds)
    for workers in (1, 2):
        start = time.perf_counter()
        task = Task("bench", labels, True)
        search(source, [task], rows, positions=source.positions, strengths=STRENGTHS, workers=workers)
        fits = LAYERS * POSITIONS * len(STRENGTHS) * 5
        print(f"search of {fits} fits, {workers} worker(s): {time.perf_counter() - start:.1f} s")
    weights = np.full(groups.size, 1 / RUNS)
    standard = (source.slice - source.slice.mean(0)) / source.slice.std(0)
    start = time.perf_counter()
    for strength in STRENGTHS:
        LogisticRegression(C=strength, max_iter=10_000).fit(standard, labels, sample_weight=weights)
    print(f"scikit-learn, {len(STRENGTHS)} fits: {time.perf_counter() - start:.3f} s")
    start = time.perf_counter()
    design, solution = WeightedDesign(source.slice, weights), None
    for strength in STRENGTHS:
        design.set_strength(strength)
        solution = design.fit_logistic(labels, solution, 1e-9)
    print(f"ours to 1e-9 in double precision, {len(STRENGTHS)} fits: {time.perf_counter() - start:.3f} s")


if __name__ == "__main__":
    main()
