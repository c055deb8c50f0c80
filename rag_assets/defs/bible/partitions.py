"""One partition per Bible version; the sensor adds them."""

from __future__ import annotations

import dagster as dg

BIBLE_VERSIONS = "bible_version"

bible_versions = dg.DynamicPartitionsDefinition(name=BIBLE_VERSIONS)
