"""Lanes: a run's tag says which it is in, ``dagster.yaml`` how many of each may be at work."""

from rag_assets.operations.sql.dagster_state import BIBLE_LANE, LANE_TAG

__all__ = ["BIBLE_LANE", "LANE_TAG"]
