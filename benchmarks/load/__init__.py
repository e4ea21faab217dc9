"""The load on a cloud: streams, their generators, the bare loop beside them, and what they found."""
