"""Does the model know? Semantic entropy of sampled answers, and probes that predict it from one pass.

The study reads samples and replay tables and gives labels, clusters, entropies, splits, probes and their
evaluation. Modules are imported by name (`from tells.uncertainty.entropy import ...`), so that numbers alone
load no model library.
"""
