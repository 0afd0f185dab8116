"""The user's own key, by which what has to be unpickled is known to be the user's.

A pickle runs what it says, so one is read only where a code over its bytes (HMAC, RFC 2104) shows
that whoever has the key wrote them. The key lies outside of repositories and stores.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
import sys
from pathlib import Path

from pytest_multiplicity.errors import StoreError

VARIABLE = "MULTIPLICITY_STORE_KEY"
SHORTEST = 16  # characters of a key in the environment
_FILE = "store.key"


class Signer:
    """Signs bytes with a key, and tells its own signatures from others."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @property
    def name(self) -> str:
        """What tells this key from others, and nothing of what it is."""
        return self.sign(b"name")[:16]

    def sign(self, content: bytes) -> str:
        """Return the signature of bytes, in hex."""
        return hmac.new(self._key, content, hashlib.sha256).hexdigest()

    def holds(self, content: bytes, signature: object) -> bool:
        """Say whether a signature is this key's, of these bytes."""
        told = signature if isinstance(signature, str) else ""
        return hmac.compare_digest(self.sign(content).encode(), told.encode("utf-8", "replace"))


def signer() -> Signer:
    """Return the user's signer; the key is made on first use.

    Raises:
        StoreError: the key is too short, others can read it, or it can't be written.
    """
    if told := os.environ.get(VARIABLE):
        if len(told) < SHORTEST:
            raise StoreError(
                f"{VARIABLE} has {len(told)} characters: give it {SHORTEST} or more, best "
                "random ones, as from `openssl rand -hex 32`"
            )
        return Signer(hashlib.sha256(told.encode("utf-8", "surrogateescape")).digest())
    path = key_file()
    try:
        if not path.exists():
            _make(path)
        _check(path)
        return Signer(path.read_bytes())
    except OSError as error:
        raise StoreError(
            f"the key for what is kept, {path}, can't be used: {error.strerror or error}; make it "
            f"readable, or set {VARIABLE}"
        ) from error


def key_file() -> Path:
    """Return where the user's key lies: where this system has what programs keep for a user."""
    if os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "pytest-multiplicity" / _FILE


def _make(path: Path) -> None:
    """Write a new key, whole, for the user alone; whoever was faster has made it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{_FILE}.{secrets.token_hex(8)}")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(file, secrets.token_bytes(32))
        os.fsync(file)
    finally:
        os.close(file)
    with contextlib.suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()


def _check(path: Path) -> None:
    status = path.stat()
    if os.name == "posix" and stat.S_IMODE(status.st_mode) & 0o077:
        raise StoreError(
            f"others can read {path}, the key for what is kept: chmod 600 it; if somebody may have "
            "read it, remove it, and everything is trained again"
        )
    if status.st_size < SHORTEST:
        raise StoreError(f"{path}, the key for what is kept, is no key: remove it")
