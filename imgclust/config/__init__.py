"""Settings: frozen types with their defaults, and the only reader of TOML and the environment.

Layers, later wins: default < files in the order given < environment < flag. The environment
variable of `[watch] settle_s` is `IMGCLUST_WATCH_SETTLE_S`.
"""

from imgclust.config.loader import (
    Effective,
    bundled_folder,
    check_template,
    default_toml,
    environment,
    find_file,
    flatten,
    load,
    variable_of,
)
from imgclust.config.settings import (
    Clustering,
    Decode,
    Embedding,
    Index,
    Links,
    Settings,
    Views,
    Watch,
)

__all__ = [
    "Clustering",
    "Decode",
    "Effective",
    "Embedding",
    "Index",
    "Links",
    "Settings",
    "Views",
    "Watch",
    "bundled_folder",
    "check_template",
    "default_toml",
    "environment",
    "find_file",
    "flatten",
    "load",
    "variable_of",
]
