"""The real pair, its alternatives, links and edges, measured in one run: `neucodex-bench testbed`."""
