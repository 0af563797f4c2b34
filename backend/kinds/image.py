"""The images: images to boot VMs from."""

from backend.kinds.model import DAY, TAGS, Column, Kind, id_column, name_column

IMAGE = Kind(
    "image",
    "images",
    (
        name_column(48),
        id_column(),
        Column("architecture", "Arch", width=7, help="Processor architecture: x86_64, arm64, i386 …"),
        Column("owner", "Owner", width=14, help="Owner's alias (at EC2: amazon, aws-marketplace …), else account id"),
        Column("created", "Created", "time", 16),
        Column("state", "State", "state", 11),
        Column("platform", "Platform", width=12, help="Operating system family, as the cloud bills it"),
        TAGS,
    ),
    max_age=DAY,
    by_row=False,
    empty="No images here. r refreshes; `images:` in cloudmesh.yaml says whose images are listed.",
    aliases=("ami", "amis"),
    vast=True,
    tab=1,
)
