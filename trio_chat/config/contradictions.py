"""Says which settings contradict each other, although each has a value in its range."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from trio_chat.config.endpoints import ALL
from trio_chat.config.store_url import is_store_url, parse_store_url

if TYPE_CHECKING:
    from trio_chat.config.settings import Settings

BYTES_A_CHARACTER: Final = 4  # UTF-8 at its longest, RFC 3629


def contradictions(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each contradiction, which names the settings and says what to do."""
    yield from _of_sizes(settings)
    yield from _of_endpoints(settings)
    yield from _of_tokens(settings)
    if is_store_url(settings.store):
        yield from _of_passwords(settings)


def _of_sizes(settings: Settings) -> Iterator[str]:
    if settings.line_bytes < (need := BYTES_A_CHARACTER * settings.message_chars):
        yield (
            f"line_bytes must be at least {need} for message_chars {settings.message_chars}, "
            f"not {settings.line_bytes}: a character takes up to {BYTES_A_CHARACTER} bytes"
        )
    if settings.outbox_bytes < (need := 2 * settings.line_bytes):
        yield (
            f"outbox_bytes must be at least {need} for line_bytes {settings.line_bytes}, "
            f"not {settings.outbox_bytes}: half of it must hold the longest line"
        )
    if settings.max_rooms < (need := len(settings.keep_rooms)):
        yield f"max_rooms must be at least {need} for {need} keep_rooms, not {settings.max_rooms}"


def _of_endpoints(settings: Settings) -> Iterator[str]:
    cert, key = settings.tls_cert, settings.tls_key
    if bool(cert) != bool(key):
        given, missing = ("tls_cert", "tls_key") if cert else ("tls_key", "tls_cert")
        yield f"{given} needs {missing} too: a certificate and its key go together"
    if settings.sts_duration and not cert:
        yield "sts_duration needs tls_cert and tls_key: clients are to come with TLS"
    if settings.listen and (settings.host, settings.port) != ("127.0.0.1", 8888):
        yield "listen takes the place of host and port: put these into one of its entries"
    for endpoint in settings.listen:
        if "tls" in endpoint.accept and endpoint.accept != ALL and not cert:
            yield f"listen takes TLS at {endpoint.place}: that needs tls_cert and tls_key"


def _of_tokens(settings: Settings) -> Iterator[str]:
    key, audience = settings.jwt_key, settings.jwt_audience
    if bool(key) != bool(audience):
        given, missing = ("jwt_key", "jwt_audience") if key else ("jwt_audience", "jwt_key")
        yield f"{given} needs {missing} too: tokens for other services must not count here"


def _of_passwords(settings: Settings) -> Iterator[str]:
    address, in_file = parse_store_url(settings.store), bool(settings.store_password_file)
    if address.password and in_file:
        yield (
            "store has a password, and store_password_file names another: leave one of the two out"
        )
    if address.user and not address.password and not in_file:
        yield (
            f"store has the user {address.user} without a password: put it into a file, and "
            "name that with store_password_file"
        )
