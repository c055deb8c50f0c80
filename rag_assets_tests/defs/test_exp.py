from rag_assets_tests.defs.conftest import Lane
from rag_assets_tests.corpora import sentences
from rag_assets.definitions import build_defs
import dagster as dg
import pytest
def test_x(instance, monkeypatch, tmp_path):
    monkeypatch.setenv("RAG_DATABASE_URL", f"postgresql://u:s3cr3t-word@localhost:1/x")
    instance.add_dynamic_partitions("bible_version", ["EN_A"])
    r = build_defs().resolve_job_def("bible_verses").execute_in_process(instance=instance, partition_key="EN_A", raise_on_error=False)
    for e in r.all_events:
        print(e.event_type_value, (e.message or "")[:300])
        if e.event_type_value=="PIPELINE_FAILURE": print(e.event_specific_data)
    for e in instance.all_logs(r.run_id): print("LOG", e.level, e.user_message[:200], type(e))
