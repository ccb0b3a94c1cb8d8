"""Names this node among those of the same chat."""

from __future__ import annotations

import re
import socket
from typing import Final

from trio_chat.config.validators import must_be

MOST: Final = 64
NAME: Final = re.compile(rf"[A-Za-z0-9._:-]{{1,{MOST}}}")
UNFIT: Final = re.compile(r"[^A-Za-z0-9._:-]")


a_node = must_be(
    f"a name of at most {MOST} letters, digits and .-_:, or nothing",
    lambda value: value == "" or (type(value) is str and NAME.fullmatch(value) is not None),
)


def default_node(instance: str) -> str:
    """Return the name for `node = ""`: that of the machine, and of the daemon (`instance`) there.

    If it is too long, the machine's name loses its end.
    """
    instance = UNFIT.sub("-", instance)[-(MOST - 2) :]
    machine = UNFIT.sub("-", socket.gethostname()) or "node"
    return f"{machine[: MOST - 1 - len(instance)]}:{instance}"
