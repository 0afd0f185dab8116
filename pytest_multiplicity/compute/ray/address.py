"""Addresses of Ray clusters, and whether anything answers there: Ray itself tries for minutes."""

from __future__ import annotations

import os
import socket

ADDRESS = "RAY_ADDRESS"  # in the environment: the user's cluster
AUTHENTICATION = "RAY_AUTH_MODE"  # Ray sets it in a process that starts a cluster
AUTO, LOCAL = "auto", "local"  # addresses with a meaning of their own to Ray
ANSWER_SECONDS = 5.0
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # RFC 9113, 3.4
SETTINGS = 4  # the kind of frame that a server's own greeting is


def silence(address: str) -> str | None:
    """Say why nothing at an address could be a cluster, or None."""
    if address in ("", AUTO, LOCAL):
        return None
    if "://" in address:
        return (
            f"RAY_ADDRESS is {address!r}, and Ray's client can't stream what tasks report: give "
            "the address of the cluster itself, such as 10.0.0.1:6379, or start pytest on it with "
            "`ray job submit`"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return f"RAY_ADDRESS is {address!r}: give host:port, such as 10.0.0.1:6379, or auto"
    why = _answer(host, int(port))
    if why is None:
        return None
    return (
        f"no Ray cluster answers at RAY_ADDRESS={address} ({why}): start it, or unset RAY_ADDRESS "
        "for one on this machine"
    )


def _answer(host: str, port: int) -> str | None:
    """Greet as gRPC does; None if the answer is that of a server that speaks it."""
    try:
        with socket.create_connection((host, port), ANSWER_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") != "0":
                return None
            connection.settimeout(ANSWER_SECONDS)
            connection.sendall(GREETING)
            answer = connection.recv(9)
    except OSError as error:
        return str(error) or type(error).__name__
    return None if len(answer) > 3 and answer[3] == SETTINGS else "something else answers there"
