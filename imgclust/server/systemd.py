"""Messages to systemd: ready, alive, ending; none where it did not start this process."""

from __future__ import annotations

import contextlib
import socket

from imgclust import config


def notify(state: str) -> bool:
    """Tell systemd something, such as "READY=1"; False where it does not listen.

    See sd_notify(3): a datagram to the socket that NOTIFY_SOCKET names.
    """
    address = config.environment("NOTIFY_SOCKET")
    if not address or address[0] not in "/@":
        return False
    if address[0] == "@":  # the abstract namespace
        address = f"\0{address[1:]}"
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel,
    ):
        channel.setblocking(False)  # whoever does not read must not stop the service
        channel.connect(address)
        channel.sendall(state.encode())
        return True
    return False


def watchdog_s() -> float | None:
    """How often systemd wants to hear that the process lives; None where it does not ask."""
    given = config.environment("WATCHDOG_USEC")
    if given is None or not given.isascii() or not given.isdigit() or int(given) == 0:
        return None
    return int(given) / 1e6
