"""Pictures in metadata: Dagster's UI shows Markdown, and a picture in it as a ``data:`` address."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def inline_picture(figure: Figure, alt: str) -> str:
    """The figure as Markdown that holds it, as PNG."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    encoded = base64.b64encode(picture.getvalue()).decode("ascii")
    return f"![{alt}](data:image/png;base64,{encoded})"
