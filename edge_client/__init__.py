"""The edge, as a command (`neucodex-edge`) and for programs, which import it from `neucodex`."""
