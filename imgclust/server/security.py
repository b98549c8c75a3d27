"""Who may ask: hosts, origins, the token; what every answer says to browsers; how much is read."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import os
import secrets
import socket
import stat
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

from starlette.exceptions import HTTPException

from imgclust.errors import StorageError, UsageError, reason_of
from imgclust.server.answers import Documents, Page, failed, wants_page
from imgclust.wording import printable

COOKIE = "imgclust"
# The bodies of commands are small. Those of pictures have a limit of their own.
_MOST_BYTES = 1 << 20
# A body has so many seconds, and one more for so many bytes that have come.
_BODY_S, _LEAST_BYTES_A_SECOND = 20.0, 10_000
_LEAST_TOKEN = 16
_VERSIONS = {"1.0", "1.1"}
# Paths that say nothing of the collections: probes have no token.
_OPEN = {"/livez", "/readyz"}

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


def is_loopback(host: str) -> bool:
    """True for an address that only this machine reaches."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def token_in(path: Path) -> str:
    """The token in a file, which is made, with mode 0600, where there is none.

    Raises
    ------
    UsageError
        When the file can be read by others, is not a regular file, or holds no token.
    StorageError
        When it can be neither made nor read.
    """
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        return _read(path)
    except OSError as error:
        raise StorageError(
            f"the token {printable(path)} cannot be made: {reason_of(error)}"
        ) from None
    token = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{token}\n")
    return token


def _read(path: Path) -> str:
    shown = printable(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise UsageError(f"{shown} is not a regular file; name another one")
            if found.st_mode & 0o077:
                raise UsageError(
                    f"others can read the token in {shown}; run chmod 600 on it, or delete it for "
                    "a new one"
                )
            token = file.read(4096).strip()
    except OSError as error:
        raise StorageError(f"the token {shown} cannot be read: {reason_of(error)}") from None
    if len(token) < _LEAST_TOKEN or not token.isascii() or not token.isprintable():
        raise UsageError(
            f"{shown} holds no token of at least {_LEAST_TOKEN} characters; delete it to get a "
            "new one"
        )
    return token


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Parameters
    ----------
    host, port
        Where the service listens.
    token
        What others have to know; None on a machine of one's own.
    names
        Further names that the service has, behind a proxy say.
    """

    host: str
    port: int
    token: str | None = None
    names: tuple[str, ...] = ()

    def knows_host(self, header: str) -> bool:
        """Whether a Host header names this service, and not a name that leads here by a trick.

        Other names would let a page of another site read what is served here (DNS rebinding); an
        address cannot be made to lead elsewhere.
        """
        host, port = _parts(header)
        if host is None:
            return False
        if host in self.names:  # a proxy has a port of its own
            return True
        if port not in {self.port, None} or (port is None and self.port not in {80, 443}):
            return False
        if host == "localhost" or is_loopback(host):
            return True
        if is_loopback(self.host):
            return False
        if host in {self.host, socket.gethostname().lower()}:
            return True
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True

    def knows_origin(self, origin: str, host: str) -> bool:
        """Whether a page of this service asks: its Origin is the host that it asks."""
        scheme, _, rest = origin.partition("://")
        return scheme in {"http", "https"} and rest.lower() == host.lower()

    @property
    def cookie(self) -> str:
        """What a browser keeps instead of the token."""
        return hashlib.sha256(f"imgclust cookie {self.token}".encode()).hexdigest()

    def knows(self, headers: dict[str, str]) -> bool:
        """Whether a request has the token, as a cookie or as `Authorization: Bearer`."""
        if self.token is None:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and _same(given.strip(), self.token):
            return True
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return False
        return COOKIE in cookies and _same(cookies[COOKIE].value, self.cookie)


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), right.encode())


def _parts(header: str) -> tuple[str | None, int | None]:
    """Host and port of a Host header, in lower case; (None, None) for one that is none."""
    text = header.strip().lower()
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket:
            return None, None
    else:
        host, colon, number = text.partition(":")
        rest = colon + number
    if not host or any(sign in host for sign in "@/\\?# ,"):
        return None, None
    if not rest:
        return host, None
    digits = rest[1:]
    if rest[0] != ":" or not digits.isascii() or not digits.isdigit() or len(digits) > 5:
        return None, None
    return host, int(digits)


class Guard:
    """Comes before the application: refuses, bounds what is read, and adds headers."""

    def __init__(self, app: App, *, access: Access, large: dict[str, int], page: Page) -> None:
        self._app = app
        self._access = access
        self._page = page
        # The most bytes of a body, by the last part of its path.
        self._large = large

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                message["headers"] = list(message["headers"]) + [
                    (name.encode(), value.encode())
                    for name, value in HEADERS.items()
                    if name.encode() not in given
                ]
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, answer)
            return
        await self._app(scope, self._bounded(scope, receive), answer)

    def _refusal(self, scope: MutableMapping[str, Any]) -> Any:
        raw = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
        ]
        headers = dict(raw)
        found = self._fault(scope, headers, [value for name, value in raw if name == "host"])
        if found is None:
            return None
        status, code, message = found
        if status == 401 and (redirect := self._first_click(scope)):
            return redirect
        if wants_page(scope, headers.get("accept", "")):
            return self._page(status, message)
        return failed(status, code, message)

    def _fault(
        self, scope: MutableMapping[str, Any], headers: dict[str, str], hosts: list[str]
    ) -> tuple[int, str, str] | None:
        """Why a request is refused: status, code, sentence."""
        if scope["http_version"] not in _VERSIONS:
            return 400, "usage", "this version of HTTP is not known here; use 1.1"
        if len(hosts) != 1 or not self._access.knows_host(hosts[0]):
            return 403, "forbidden", "this host name is not known here; see imgclust serve --help"
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        changes = scope["method"] not in {"GET", "HEAD", "OPTIONS"}
        foreign = origin is not None and not self._access.knows_origin(origin, hosts[0])
        if foreign or (
            site in {"cross-site", "same-site"} and (changes or not _navigates(headers))
        ):
            return 403, "forbidden", "the request comes from a page of another site"
        if scope["path"] in _OPEN or self._access.knows(headers):
            return None
        said = "the token is absent or wrong; open the address that imgclust serve shows"
        return 401, "token", said

    def _first_click(self, scope: MutableMapping[str, Any]) -> Any:
        """A right token in the address becomes a cookie, and leaves the address."""
        if scope["method"] != "GET" or self._access.token is None:
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = query.pop("token", [])
        if len(given) != 1 or not _same(given[0], self._access.token):
            return None
        rest = urlencode(query, doseq=True)
        path = "/" + scope["path"].lstrip("/")  # never //elsewhere
        redirect = Documents({}, status_code=303)
        redirect.headers["location"] = scope.get("root_path", "") + (
            f"{_quoted(path)}?{rest}" if rest else _quoted(path)
        )
        redirect.headers["cache-control"] = "no-store"
        redirect.set_cookie(
            COOKIE, self._access.cookie, max_age=365 * 86400, httponly=True, samesite="strict"
        )
        return redirect

    def _bounded(self, scope: MutableMapping[str, Any], receive: Receive) -> Receive:
        most = self._large.get(scope["path"].rpartition("/")[2], _MOST_BYTES)
        if scope["method"] in {"GET", "HEAD"}:
            most = _MOST_BYTES
        taken = 0
        complete = False
        began = asyncio.get_running_loop().time()

        async def bounded() -> Message:
            nonlocal taken, complete
            if complete:  # waits for the end of the connection
                return await receive()
            try:
                late = began + _BODY_S + taken / _LEAST_BYTES_A_SECOND
                async with asyncio.timeout_at(late):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "the body comes too slowly; send it again") from None
            taken += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if taken > most:
                raise HTTPException(413, f"the body is larger than {most:,} bytes")
            return message

        return bounded


def _navigates(headers: dict[str, str]) -> bool:
    """Whether a person follows a link to a page here."""
    return headers.get("sec-fetch-mode") == "navigate" and (
        headers.get("sec-fetch-dest") == "document"
    )


def _quoted(path: str) -> str:
    from urllib.parse import quote

    return quote(path, safe="/")
