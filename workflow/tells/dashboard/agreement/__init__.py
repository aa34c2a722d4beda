"""The agreement page: its state, its one table, any two signals against each other, and the opened sample."""
