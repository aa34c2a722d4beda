"""Tells: tell-tale signals of language models, from their samples and hidden states."""

__version__ = "0.1.0"
