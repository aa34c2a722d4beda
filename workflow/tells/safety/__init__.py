"""Is an unsure "yes" the dangerous one? Confidence of traces, refusal and harm of replies, and when to stop asking.

The submodules are imported by name (`from tells.safety.confidence import token_confidence`); none needs torch to load.
"""
