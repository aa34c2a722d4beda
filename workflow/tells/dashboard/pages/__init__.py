"""The pages, each registered under its address."""
