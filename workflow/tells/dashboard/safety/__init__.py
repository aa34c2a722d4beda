"""The safety page: its state, rows, cards, tables, and a prompt's traces with their cuts."""
