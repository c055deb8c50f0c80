"""Imported by the process from which runs are forked: loads what a run needs.

Opens no connection and starts no thread, because a fork would not have them.
"""

import gc
import importlib

import rag_assets.embedding.providers.openai_client  # noqa: F401 -- half a second

importlib.import_module("rag_assets.definitions").defs.get_repository_def().get_all_jobs()
gc.collect()
gc.freeze()  # what the collector does not touch stays shared between the runs
