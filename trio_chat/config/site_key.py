"""Reads the key by which a site signs tokens for its people (JSON Web Tokens, RFC 7519).

The key alone says which algorithms count. So no token can choose one (RFC 8725, 3.1).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from trio_chat.config.files import read_file
from trio_chat.errors import SettingsError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from trio_chat.config.settings import Settings

SETTING: Final = "jwt_key"
MOST: Final = 16_384
# A shorter secret, or RSA key, can be found (RFC 7518, 3.2 and 3.3).
LEAST_BYTES: Final = 32
LEAST_BITS: Final = 2_048

PEM: Final = b"-----BEGIN "
PUBLIC: Final = b"-----BEGIN PUBLIC KEY-----"
CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
WANTED: Final = "a public key of RSA, EC or Ed25519 in PEM, or a secret of 32 bytes or more"


@frozen
class SiteKey:
    """A key, and the algorithms of the signatures that it checks."""

    key: RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | bytes = field(repr=False)
    algorithms: tuple[str, ...]


def read_site_key(settings: Settings) -> SiteKey | None:
    """Return the key that the settings name, if they name one.

    It reads a file, so it blocks. Raises `SettingsError`, with one line, if the packages for it are
    missing, or the file has no such key. A secret has to be closed to other users.
    """
    if not settings.jwt_key:
        return None
    if find_spec("jwt") is None or find_spec("cryptography") is None:
        raise SettingsError('jwt_key needs the extra: pip install "trio-chat[jwt]"')
    path = Path(settings.jwt_key)
    data = read_file(SETTING, path, MOST + 1, secret=False).strip()
    if data.startswith(PEM):
        return _public(data, path)
    data = read_file(SETTING, path, MOST + 1, secret=True).strip()
    if not LEAST_BYTES <= len(data) <= MOST:
        raise _wrong(path)
    return SiteKey(data, ("HS256",))


def _public(data: bytes, path: Path) -> SiteKey:
    # Only a chat with such a key has the package.
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - as said above
    from cryptography.hazmat.primitives.asymmetric import (  # noqa: PLC0415 - and this
        ec,
        ed25519,
        rsa,
    )
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - and this
        load_pem_public_key,
    )

    if not data.startswith(PUBLIC):
        raise _wrong(path)
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise _wrong(path) from None
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= LEAST_BITS:
        return SiteKey(key, ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"))
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES:
        return SiteKey(key, (CURVES[key.curve.name],))
    if isinstance(key, ed25519.Ed25519PublicKey):
        return SiteKey(key, ("EdDSA",))
    raise _wrong(path)


def _wrong(path: Path) -> SettingsError:
    return SettingsError(f"{SETTING}: {path} must hold {WANTED}")
