"""`python -m trio_chat`: the same as the `trio-chat` command."""

from __future__ import annotations

from trio_chat.cli import main

main()
