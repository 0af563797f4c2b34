"""Reads EC2's message about a failure: removes the signed text, and interprets encoded messages and policies."""

import base64
import logging
import re
from urllib.parse import unquote

from backend.providers.ec2 import rules
from backend.providers.failures import CloudMessage, Dialect, Request, short

log = logging.getLogger(__name__)

_ENCODED = re.compile(r"\s*Encoded authorization failure message:\s*(\S+)", re.IGNORECASE)
"""EC2's message for administrators: hundreds of characters that only STS can decode."""

_SIGNED = re.compile(
    r"\s*(?:The Canonical String|The String-to-Sign|\S*Authorization['\"]?\s*[=:]|'?AWS4-HMAC).*", re.DOTALL
)
"""The part of a message that repeats the signed text, which includes the session token."""

_DENIED = re.compile(r"not authorized to perform: ([\w:*-]+)|\"action\"\s*:\s*\"([\w:*-]+)\"")


def read(words: str, request: Request) -> CloudMessage:
    """Return EC2's message, interpreted.

    Its template fields: denied (the missing permission), policy (the kind of policy that denies it) and who (who can
    change that policy).
    """
    words = _SIGNED.sub("", words)
    encoded = _ENCODED.search(words)
    said = _ENCODED.sub("", words)
    whole = f"{words} {_decoded(encoded[1])}".rstrip() if encoded else words
    denied = _DENIED.search(whole)
    policy, who = rules.policy(said)
    more = ""
    if encoded:
        kept = "journal and the log keep" if request.changes and not request.trial else "log keeps"
        more = f"The {kept} EC2's encoded message; aws sts decode-authorization-message explains it."
        log.warning("%s was refused; EC2 says: %s", request.action, whole)
    fields = {
        "denied": short(denied[1] or denied[2]) if denied else f"ec2:{request.action}",
        "policy": short(policy),
        "who": who,
    }
    return CloudMessage(said, whole, fields, more)


def _decoded(encoded: str) -> str:
    """Return an encoded message decoded from base64; "" if it is encrypted, as AWS's messages are."""
    text = unquote(encoded).rstrip(".").replace("-", "+").replace("_", "/")
    try:
        found = base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
    except ValueError:
        return ""
    return found if found.isprintable() else ""


DIALECT = Dialect(rules.RULES, read)
