"""The files with the certificate and its key: their contents, and their permissions."""

from __future__ import annotations

import hashlib
import os
import ssl
import subprocess
from pathlib import Path

import pytest
from authority import Authority
from needs import needs
from processes import Run

from trio_chat import Settings, SettingsError, open_chat
from trio_chat.config.certificate import read_certificate


def problem(authority: Authority) -> str:
    """The one line that says what is wrong."""
    with pytest.raises(SettingsError) as caught:
        read_certificate(Settings(**authority.settings))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_pair_is_taken(authority: Authority) -> None:
    found = read_certificate(Settings(**authority.settings))
    assert found is not None
    assert found.context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert (
        found.fingerprint.replace(":", "") == hashlib.sha256(authority.issued).hexdigest().upper()
    )
    assert read_certificate(Settings()) is None


def test_both_in_one_file(authority: Authority) -> None:
    authority.key.write_bytes(authority.key.read_bytes() + authority.cert.read_bytes())
    one = str(authority.key)
    assert read_certificate(Settings(tls_cert=one, tls_key=one)) is not None


def test_one_needs_the_other(run: Run, authority: Authority) -> None:
    ran = run("--tls-cert", str(authority.cert))
    assert (ran.code, ran.err) == (
        2,
        "trio-chat: tls_cert needs tls_key too: a certificate and its key go together\n",
    )
    with pytest.raises(SettingsError, match="tls_key needs tls_cert too"):
        Settings(tls_key="key")


@pytest.mark.parametrize("name", ["cert", "key"])
def test_a_file_that_is_not_there_or_no_file(authority: Authority, name: str) -> None:
    path: Path = getattr(authority, name)
    path.unlink()
    assert problem(authority) == f"tls_{name}: cannot read {path}: No such file or directory"
    path.mkdir()
    assert problem(authority) == f"tls_{name}: {path} is not a file"
    path.rmdir()
    os.mkfifo(path)
    assert problem(authority) == f"tls_{name}: {path} is not a file"


@pytest.mark.parametrize("name", ["cert", "key"])
def test_a_file_that_is_not_ours_to_read(
    authority: Authority, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = getattr(authority, name), os.open

    def refusing(file, *rest) -> int:
        if Path(file) == path:  # as root one may read all there is
            raise PermissionError(13, "Permission denied")
        return real(file, *rest)

    monkeypatch.setattr(os, "open", refusing)
    assert problem(authority) == f"tls_{name}: cannot read {path}: Permission denied"


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o644, 0o601])
def test_a_key_that_others_can_see(authority: Authority, mode: int) -> None:
    authority.key.chmod(mode)
    authority.cert.chmod(0o644)
    assert problem(authority) == (
        f"tls_key: {authority.key} is open to other users: close it (chmod 600)"
    )
    authority.key.chmod(0o440)
    assert read_certificate(Settings(**authority.settings)) is not None


def test_invalid_certificates_and_keys_are_refused(authority: Authority) -> None:
    cert, key = authority.cert.read_bytes(), authority.key.read_bytes()
    authority.cert.write_bytes(key)
    assert problem(authority) == f"tls_cert: {authority.cert} holds no certificate in PEM"
    authority.cert.write_bytes(cert)
    authority.key.write_bytes(cert)
    assert problem(authority) == f"tls_key: {authority.key} holds no private key in PEM"
    authority.key.write_bytes(key.replace(b"M", b"?"))
    assert problem(authority).startswith(f"tls_cert: {authority.cert} and {authority.key} cannot")


def test_a_key_of_another_certificate(authority: Authority) -> None:
    cert = authority.cert.read_bytes()
    authority.issue()
    authority.cert.write_bytes(cert)
    assert problem(authority) == (
        f"tls_key: {authority.key} is not the key of the certificate in {authority.cert}"
    )


def test_an_encrypted_key(authority: Authority) -> None:
    plain = authority.key.with_name("plain")
    authority.key.rename(plain)
    subprocess.run(
        [
            *(needs("openssl"), "pkey", "-aes256", "-passout", "pass:x"),
            *("-in", plain, "-out", authority.key),
        ],
        check=True,
    )
    authority.key.chmod(0o600)
    assert problem(authority).startswith(
        f"tls_key: {authority.key} is encrypted, and the daemon cannot"
    )


async def test_a_chat_says_so_before_anything_runs(authority: Authority) -> None:
    authority.key.chmod(0o644)
    with pytest.raises(SettingsError, match="is open to other users"):
        async with open_chat(Settings(**authority.settings)):
            raise AssertionError


def test_the_command_line_says_so(run: Run, authority: Authority) -> None:
    authority.key.chmod(0o644)
    ran = run("serve", "--port", "0", *authority.flags)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert ran.err.startswith(f"trio-chat: tls_key: {authority.key} is open to other users")
