"""Lanes: a run's tag says which it is in, ``dagster.yaml`` how many of each may be at work."""

LANE_TAG = "rag/lane"
BIBLE_LANE = "rag_bible"
