"""Take the tutorial's screenshots from a running ``make up``, after the tutorial's steps.

python -m docs.make_screenshots http://127.0.0.1:3000      writes docs/images/*.png
"""

from __future__ import annotations

import base64
import sys
import time
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from rag_assets_tests.api.chromium import Page, running_chromium

IMAGES = Path(__file__).parent / "images"
VIEWS = {
    "lineage": (
        "/assets/release?view=lineage&lineageScope=upstream&lineageDepth=6",
        640,
        "retrieval_quality",
    ),
    "partition": (
        "/assets/verse_embeddings?view=partitions&partition=EN_MINE",
        900,
        "rows_per_second",
    ),
    "checks": ("/assets/verse_embeddings_index?view=checks", 800, "golden_queries"),
}
"""Path in Dagster's UI, height, and a word by which the page is seen to be complete."""
WIDTH = 1300
LARGEST_KB = 150
SETTLE_S = 5  # the lineage is laid out after its words are there


def main(origin: str) -> int:
    """Photograph each view."""
    IMAGES.mkdir(exist_ok=True)
    with (
        TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        running_chromium(Path(folder)) as browser,
    ):
        page = Page(browser)
        page.prefer("light")
        for name, (path, height, word) in VIEWS.items():
            page.open(
                origin + path,
                width=WIDTH,
                height=height,
                until=f"document.body?.innerText.includes({word!r})",
            )
            time.sleep(SETTLE_S)
            picture = _small(page.picture())
            (IMAGES / f"{name}.png").write_bytes(picture)
            print(f"{name}.png: {len(picture) / 1000:.0f} kB")  # noqa: T201 -- a command's output
            if len(picture) > LARGEST_KB * 1000:
                return 1
    return 0


def _small(png: str) -> bytes:
    """With a palette of 64 colours, which is enough for a user interface."""
    out = BytesIO()
    image = Image.open(BytesIO(base64.b64decode(png))).convert("RGB")
    image.quantize(64, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1].rstrip("/")))
