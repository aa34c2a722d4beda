"""Which direction in a model is a trait, how well does it tell held-out texts apart, and does steering prove it?"""
