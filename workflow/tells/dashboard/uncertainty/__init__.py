"""The uncertainty page: its state, runs, scatters, scores and opened runs."""
