"""Models: fetching, loading, prompts, engines, hooks and replay. The only home of modules that import torch.

The submodules are imported by name (`from tells.models.loading import load_model`), so that reading this package, or
`tells.models.spans`, imports no torch.
"""
