"""Sharing a finished run: its files, what they were made from, and what Snakemake knows of them."""
