"""Reads what EC2 says about a failure: what was signed is dropped, and encoded messages and policies are understood."""

import base64
import logging
import re
from urllib.parse import unquote

from backend.providers.ec2 import rules
from backend.providers.failures import CloudMessage, Dialect, Request, short

log = logging.getLogger(__name__)

_ENCODED = re.compile(r"\s*Encoded authorization failure message:\s*(\S+)", re.IGNORECASE)
"""What EC2 says to administrators alone: hundreds of characters that only STS can read."""

_SIGNED = re.compile(
    r"\s*(?:The Canonical String|The String-to-Sign|\S*Authorization['\"]?\s*[=:]|'?AWS4-HMAC).*", re.DOTALL
)
"""Where an answer goes on with what was signed, the session token included."""

_DENIED = re.compile(r"not authorized to perform: ([\w:*-]+)|\"action\"\s*:\s*\"([\w:*-]+)\"")


def read(words: str, request: Request) -> CloudMessage:
    """Return what EC2's words say.

    The fields: denied (the permission that is missing), policy and who (the kind of policy that denies it, and who can
    change that).
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
        log.warning("%s was refused, and EC2 says: %s", request.action, whole)
    fields = {
        "denied": short(denied[1] or denied[2]) if denied else f"ec2:{request.action}",
        "policy": short(policy),
        "who": who,
    }
    return CloudMessage(said, whole, fields, more)


def _decoded(encoded: str) -> str:
    """Return what an encoded message says where it is plain text in base64; "" where it is encrypted, as AWS's are."""
    text = unquote(encoded).rstrip(".").replace("-", "+").replace("_", "/")
    try:
        found = base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
    except ValueError:
        return ""
    return found if found.isprintable() else ""


DIALECT = Dialect(rules.RULES, read)
