"""Pictures in metadata, embedded in Markdown as ``data:`` URLs."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def inline_picture(figure: Figure, alt: str) -> str:
    """Return Markdown with the figure as an embedded PNG."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    encoded = base64.b64encode(picture.getvalue()).decode("ascii")
    return f"![{alt}](data:image/png;base64,{encoded})"
