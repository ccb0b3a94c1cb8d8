"""Builds the Go server of the tutorial that trio_chat grew from, out of the tutorial's own text.

The listing is the one in `seed.txt`. Only `main` is written here, because the text has it in two
halves; it takes the address to listen on as its argument.

The server reads each line with a new buffer, and loses everything that arrived with the line. So
measure it with one message in flight.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

SEED = Path(__file__).with_name("seed.txt")

HEADER = """package main

import (
	"bufio"
	"fmt"
	"log"
	"net"
	"os"
	"strings"
)
"""

# The first and last lines of the listing's pieces.
PIECES = [
    r"^type commandID int\n.*?^\targs   \[\]string\n}\n",
    r"^type client struct {\n.*?^}\n",
    r"^type room struct {\n.*?^}\n",
    r"^type server struct {\n.*?^}\n\nfunc newServer\(.*?^}\n",
    r"^func \([a-z] \*(?:server|client|room)\) \w+\(.*?^}\n",
]

MAIN = """func main() {
	s := newServer()
	go s.run()
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatalf("unable to start server: %s", err.Error())
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Printf("failed to accept connection: %s", err.Error())
			continue
		}
		go s.newClient(conn)
	}
}
"""


def program() -> str:
    """The whole Go program."""
    seed = SEED.read_text(encoding="utf-8")
    pieces = [
        match.group()
        for piece in PIECES
        for match in re.finditer(piece, seed, re.MULTILINE | re.DOTALL)
    ]
    return "\n".join([HEADER, *pieces, MAIN])


def build(go: str, directory: Path) -> Path:
    """Build the server in DIRECTORY with the program GO and return its path.

    Raises `subprocess.CalledProcessError` if the compiler refuses it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "main.go").write_text(program(), encoding="utf-8")
    (directory / "go.mod").write_text("module gochat\n\ngo 1.21\n", encoding="utf-8")
    # The server needs only the standard library, so the build must fetch nothing.
    offline = {"GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "GOPROXY": "off"}
    subprocess.run(
        [go, "build", "-o", "gochat", "."], cwd=directory, check=True, env=os.environ | offline
    )
    return directory / "gochat"
