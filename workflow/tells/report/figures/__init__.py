"""Figures of the studies' tables: frames and records in, Plotly figures out, nothing read and nothing drawn on disk."""
