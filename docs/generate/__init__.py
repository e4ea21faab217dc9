"""Writes `docs/reference/` from the code: `make reference`. A test fails when a page there is not what this writes."""
