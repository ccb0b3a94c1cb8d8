"""An upgrade: a running daemon hands its chat over to a new process, or takes it back."""
