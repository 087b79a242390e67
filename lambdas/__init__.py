"""The guardrail itself: one package, one Lambda asset, shared by every function."""
