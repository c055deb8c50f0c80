"""Convert quality verdicts to Dagster's check results."""

from collections.abc import Sequence

import dagster as dg

from rag_assets.vectors.quality import QualityVerdict, SpaceQuality

_SHOWN = 3  # faulty rows in the description; the metadata has up to ten per space


def check_result(
    asset: dg.AssetKey, verdict: QualityVerdict, spaces: Sequence[SpaceQuality], *, rows: str
) -> dg.AssetCheckResult:
    """Return the result of one check.

    :param rows: the kind of rows: verses or chunks.
    """
    return dg.AssetCheckResult(
        check_name=verdict.check,
        asset_key=asset,
        passed=not verdict.failures,
        severity=dg.AssetCheckSeverity.ERROR,
        description=_description(verdict),
        metadata={
            **{f"{rows}_{judged.space.role}": judged.counts.rows for judged in spaces},
            **{f"embedded_{judged.space.role}": judged.counts.embedded for judged in spaces},
            **{f"space_{judged.space.role}": str(judged.space.spec) for judged in spaces},
            "examples": dg.MetadataValue.md("\n".join(f"- {row}" for row in verdict.examples)),
        },
    )


def _description(verdict: QualityVerdict) -> str | None:
    """Return the failures and the first faulty rows, which notifications show."""
    if not verdict.failures:
        return None
    shown = "; ".join(verdict.examples[:_SHOWN])
    return "; ".join(verdict.failures) + (f" ({shown})" if shown else "")
