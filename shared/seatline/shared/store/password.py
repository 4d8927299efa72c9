"""The password that stands in a file of its own (``SEATLINE_PASSWORD_FILE``), beside a URL that names only the user.

The embedded server has no URL that a person named: there a login that is said takes the place of the operator's.

The file is read at every connection, so a password is changed by writing it there: whoever is connected stays so, whoever
connects has the new one.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import SplitResult, parse_qs, parse_qsl, quote, urlencode, urlsplit

from redis.credentials import CredentialProvider

from seatline.shared.errors import InvalidInput, LoginRefused

__all__ = ["FromFile", "has_password", "joined", "with_login", "without_user"]

_MOST = 4096


class FromFile(CredentialProvider):
    """Gives a connection the user and the first line of the file."""

    def __init__(self, user: str, path: str) -> None:
        self._user, self._path = user, path

    def get_credentials(self) -> tuple[str, str]:
        """Read the file.

        Raises:
            LoginRefused: it cannot be read, or has no password; a running worker waits until that is mended.

        """
        try:
            with Path(self._path).open("rb") as file:
                password = file.read(_MOST).decode().partition("\n")[0].rstrip("\r")
        except (OSError, UnicodeDecodeError) as error:
            said = error.strerror if isinstance(error, OSError) else "it is no text"
            raise LoginRefused(f"password_file: {self._path} cannot be read ({said}).") from None
        if not password:
            raise LoginRefused(f"password_file: {self._path} has no password in its first line.")
        return self._user, password


def has_password(url: str) -> bool:
    """Whether a URL has a password in it; one that cannot be read is told elsewhere."""
    try:
        parts = urlsplit(url)
        return bool(parts.password) or "password" in parse_qs(parts.query)
    except ValueError:
        return False


def with_login(url: str, user: str | None, password_file: str | None) -> str:
    """Return the embedded server's URL with the login that was said in place of its operator's.

    Nobody who says who he is becomes the operator (Q18), not even if he says only half of it: then the login is refused.
    """
    if not (user or password_file):
        return url
    parts = urlsplit(url)
    login = f"{quote(user, safe='')}@" if user else ""
    return joined(parts._replace(netloc=login + parts.netloc.rpartition("@")[2]))


def without_user(url: str) -> str:
    """Return a URL without its user, whom the connection is told with the password.

    Raises:
        InvalidInput: it has a password of its own.

    """
    if has_password(url):
        raise InvalidInput("password_file: the URL has a password too; leave it out there.")
    parts = urlsplit(url)
    query = urlencode([pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != "username"])
    return joined(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=query))


def joined(parts: SplitResult) -> str:
    """Return a URL again; a unix:// one keeps its empty host, which the library leaves out."""
    url = parts.geturl()
    return url if parts.netloc or "://" in url else url.replace(":", "://", 1)
