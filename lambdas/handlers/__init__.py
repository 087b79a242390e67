"""One file for each Lambda: parse, call, return."""
