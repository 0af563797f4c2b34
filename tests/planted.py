"""Planted secrets, and the search for them in every form in which they may be written."""

import base64
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, quote_plus, unquote, unquote_plus
from uuid import uuid4

LARGE = 1_000_000
"""Characters from which data are a database's files: there nothing is percent-encoded or has escapes."""

PEM_LINE = re.compile(r"[A-Za-z0-9+/=]{20,}")


@dataclass(frozen=True)
class Planted:
    """Secrets by what they are; each is one of a kind, and has letters that are written otherwise in URLs and JSON."""

    secrets: Mapping[str, str]

    def found_in(self, data: bytes | str) -> list[str]:
        """Return "what it is (form)" of every secret that is in `data`."""
        text = data if isinstance(data, str) else data.decode("utf-8", "surrogateescape")
        forms = {"as it is": text}
        if len(text) < LARGE:
            forms |= {"percent-encoded": _decoded(text), "in a form": unquote_plus(text)}
            forms |= {"with escapes": _unescaped(text), "in XML": html.unescape(text)}
        texts = {one: form for form, one in reversed(forms.items())}  # each once, by its plainest form
        found = [f"{name} ({texts[one]})" for one in texts for name, value in self.secrets.items() if value in one]
        folded, lower = text.replace("-", "+").replace("_", "/"), text.lower()
        for name, value in self.secrets.items():
            if any(one in folded for one in _base64_forms(value)):
                found.append(f"{name} (base64)")
            if value.encode().hex() in lower:
                found.append(f"{name} (hexadecimal)")
            if value[::-1] in text:
                found.append(f"{name} (backwards)")
        return found

    def with_key(self, pem: str) -> "Planted":
        """Return the same and each line of a private key."""
        lines = PEM_LINE.findall("\n".join(pem.splitlines()[1:-1]))
        return Planted(
            {**self.secrets, **{f"private key, line {number}": line for number, line in enumerate(lines, 1)}}
        )


def fresh() -> Planted:
    """Return secrets that nobody else has."""

    def one(kind: str) -> str:
        return f"{kind}/{uuid4().hex[:12]}+{uuid4().hex[:8]}="

    return Planted(
        {
            "access key": f"AKIA{uuid4().hex[:16].upper()}",
            "secret key": one("sk"),
            "session token": one("st") + one("more"),
            "MongoDB password": one("m@:%"),
            "proxy password": one("px"),
            "AWS_SECRET_ACCESS_KEY": one("env"),
            "AWS_SESSION_TOKEN": one("envtoken"),
        }
    )


def written(secret: str) -> dict[str, str]:
    """Return a secret in the forms in which text holds it."""
    data = secret.encode()
    return {
        "as it is": secret,
        "repr": repr(secret),
        "in a URL": quote(secret),
        "in a user's part": quote(secret, safe=""),
        "in a form": quote_plus(secret),
        "in a URL in a URL": quote(quote(secret, safe=""), safe=""),
        "in lower case": re.sub("%..", lambda found: found[0].lower(), quote(secret, safe="")),
        "JSON": json.dumps(secret),
        "JSON for HTML": json.dumps(secret).replace("/", "\\/").replace("&", "\\u0026").replace("+", "\\u002B"),
        "XML": html.escape(secret),
        "XML in numbers": "".join(char if char.isalnum() else f"&#{ord(char)};" for char in secret),
        "base64": base64.b64encode(data).decode(),
        "base64 after a user": base64.b64encode(b"u:" + data).decode(),
        "base64 of a line": base64.b64encode(b"x" + data + b"\n").decode(),
        "base64 for URLs": base64.urlsafe_b64encode(data).decode(),
        "hexadecimal": data.hex(),
        "HEXADECIMAL": data.hex().upper(),
    }


def _decoded(text: str) -> str:
    return unquote(unquote(text.replace("+", "%2B")))


def _unescaped(text: str) -> str:
    def char(found: re.Match[str]) -> str:
        return chr(int(found[1] or found[2], 16)) if found[1] or found[2] else found[3]

    return re.sub(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})|\\(.)", char, text)


def _base64_forms(secret: str) -> list[str]:
    """Return what stands in base64 wherever the secret is in the data; `+` and `/` as in its own alphabet."""
    forms = []
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + secret.encode() + b"\0" * 3).decode()
        forms.append(whole[4 if before else 0 :][: len(secret) * 4 // 3 - 6])
    return forms
