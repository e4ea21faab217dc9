"""`neucodex-bench edge`: one module for each thing that is measured, each with `measure` that gives `Measurement`s."""
