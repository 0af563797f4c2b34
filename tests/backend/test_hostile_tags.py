"""Tags with keys that look like paths or operators of MongoDB, or control a terminal, live in the cache."""

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.cache import Cache
from backend.cache.documents import flatten
from backend.catalog import KINDS
from backend.config import Cloud
from backend.kinds.model import Kind
from backend.providers.registry import connect
from backend.text import safe
from tests.backend.cache_support import HERE, item
from tests.backend.cloud_support import behind_proxy, boot_many, run
from tests.hostile import sayable

KEYS = [
    "a.b$c",
    "$set",
    "$",
    ".",
    "..",
    "a.",
    "_id",
    "id",
    "tags.0",
    "k" * 127,
    "k" * 128,
    "ключ.キー",
    "🔑\u200d",
    "[/]",
    "=x",
]


@pytest.mark.parametrize("kind", [KINDS["vm"], KINDS["image"]], ids=lambda kind: kind.name)
@given(first=st.dictionaries(sayable, sayable, max_size=4), then=st.dictionaries(sayable, sayable, max_size=4))
def test_any_tags_are_written_changed_and_read(
    cache: Cache, kind: Kind, first: dict[str, str], then: dict[str, str]
) -> None:
    cache.rows.remove(kind, HERE, ["x"])
    for tags in (first, then, dict.fromkeys(KEYS, "")):
        cache.rows.put(kind, HERE, [item(kind, "x", tags=tags)])
        document = cache.rows.document(kind, HERE, "x")
        assert document is not None
        assert {tag["key"]: tag["value"] for tag in document["extra"]["tags"]} == tags
        shown = list(flatten({"tags": document["extra"]["tags"]}))
        assert sorted(shown) == sorted((safe(f"tags.{key}"), safe(value)) for key, value in tags.items())


def test_a_vm_is_tagged_and_untagged_by_any_key(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    with behind_proxy(cloud, cache, tmp_path) as (session, _):
        [native] = boot_many(cloud, 1)
        run(session, "vm refresh")
        said = {key: f"{key}= .$" for key in KEYS if "=" not in key}
        for key, value in said.items():
            run(session, f"vm tag {native} {shlex.quote(f'{key}={value}')}")
        document = session.details(KINDS["vm"], native)
        assert document is not None
        assert {tag["key"]: tag["value"] for tag in document["tags"]} == said
        assert "tags" not in document["extra"]  # they are shown once
        ((found,),) = connect(cloud).of("vm").list([native])
        assert found["tags"] == said
        for key in said:
            run(session, f"vm untag {native} {shlex.quote(key)}")
        document = session.details(KINDS["vm"], native)
        assert document is not None
        assert document["tags"] is None
