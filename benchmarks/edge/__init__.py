"""`neucodex-bench edge`: one module for each thing that is measured, each with a `measure` that gives `Findings`."""
