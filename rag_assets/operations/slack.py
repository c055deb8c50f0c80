"""Slack's incoming webhook: the only importer of ``slack_sdk``."""
