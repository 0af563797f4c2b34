"""Asks our chain and botocore itself for the keys of the same settings; one process for a table of them.

Reads cases as JSON from stdin and prints a result for each. Its HOME is the folder of the settings.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import botocore.session

from backend.account import Account, Role
from backend.discovery import discovered, with_profile
from backend.errors import CloudmeshError, LoginNeededError
from backend.providers.ec2.chain import Chain

ENVIRON = dict(os.environ)


def main() -> None:
    print(json.dumps([result(case) for case in json.load(sys.stdin)]))


def result(case: dict[str, Any]) -> dict[str, Any]:
    os.environ.clear()
    os.environ.update(ENVIRON | case["environ"])
    folder = Path(ENVIRON["HOME"]) / ".aws"
    folder.mkdir(exist_ok=True)
    for name in ("config", "credentials"):
        (folder / name).unlink(missing_ok=True)
        if case[name]:
            (folder / name).write_text(case[name])
    began = time.monotonic()
    ours = mine(case)
    return {"ours": ours, "seconds": time.monotonic() - began, "theirs": theirs(case)}


def mine(case: dict[str, Any]) -> dict[str, Any]:
    chain = Chain(os.environ, ask=lambda _text: "123456", process_seconds=1)
    try:
        settings = discovered(os.environ)
        if case["profile"]:
            settings = with_profile(settings, case["profile"])
        cloud = settings.clouds[settings.cloud]
        account = cloud.account
        assert account is not None
        if case["role"]:
            account = Account(account.profile, Role(**case["role"]))
        keys = chain.of(account)
        found = {name: secret.reveal() for name, secret in keys.get().items()}
        assert found["EC2_SECRET_KEY"] not in f"{keys!r}{cloud!r}{settings!r}"
        region = cloud.region or keys.region
        return {
            "keys": list(found.values()),
            "arn": chain.of(account).client("sts", "us-east-1").get_caller_identity()["Arn"],
            "region": region,
            "url": chain.of(account).url("ec2", region or "us-east-1"),
        }
    except LoginNeededError as error:
        return {"error": str(error), "command": error.command}
    except CloudmeshError as error:
        return {"error": str(error)}


def theirs(case: dict[str, Any]) -> dict[str, Any]:
    """Return what botocore finds by itself; AWS_REGION as the AWS CLI reads it."""
    try:
        session = botocore.session.Session(profile=case["profile"])
        session.register_component("data_loader", LOADER)
        session.set_config_variable("region", os.environ.get("AWS_REGION"))
        for provider in session.get_component("credential_provider").providers:
            if provider.METHOD == "assume-role":
                provider._prompter = lambda _text: "123456"
        if case["hangs"]:
            return {"error": "botocore would wait for it"}
        found = session.get_credentials()
        if found is None:
            return {"error": "none"}
        keys = found.get_frozen_credentials()
        region = session.get_config_variable("region")
        return {
            "keys": [one for one in (keys.access_key, keys.secret_key, keys.token) if one],
            "arn": session.create_client("sts", "us-east-1").get_caller_identity()["Arn"],
            "region": region or "",
            "url": session.create_client("ec2", region or "us-east-1").meta.endpoint_url,
        }
    except Exception as error:  # noqa: BLE001 - any failure is a failure
        return {"error": type(error).__name__}


LOADER = botocore.session.Session().get_component("data_loader")

if __name__ == "__main__":
    main()
