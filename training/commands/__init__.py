"""The subcommands of `neucodex-train`, one file for each group."""
