"""Contains all the data models used in inputs/outputs"""

from .book_model import BookModel
from .both_plans_model import BothPlansModel
from .corpus_response import CorpusResponse
from .dead_letters import DeadLetters
from .dead_letters_classes import DeadLettersClasses
from .document_answer import DocumentAnswer
from .document_hit_model import DocumentHitModel
from .document_list import DocumentList
from .document_model import DocumentModel
from .document_model_seconds_type_0 import DocumentModelSecondsType0
from .document_model_state import DocumentModelState
from .documents_model import DocumentsModel
from .element import Element
from .element_kind import ElementKind
from .element_tag_type_0 import ElementTagType0
from .eval_query import EvalQuery
from .eval_request import EvalRequest
from .eval_response import EvalResponse
from .eval_result import EvalResult
from .expected_model import ExpectedModel
from .expected_model_corpus import ExpectedModelCorpus
from .expected_model_stage import ExpectedModelStage
from .explain_request import ExplainRequest
from .explain_request_snippet import ExplainRequestSnippet
from .explain_response import ExplainResponse
from .explained_document_hit_model import ExplainedDocumentHitModel
from .explained_hit_model import ExplainedHitModel
from .health_response_health import HealthResponseHealth
from .hit_model import HitModel
from .lane_changed import LaneChanged
from .lane_changed_lane import LaneChangedLane
from .language_model import LanguageModel
from .list_all_lane_type_0 import ListAllLaneType0
from .list_all_state_type_0 import ListAllStateType0
from .listed_document_model import ListedDocumentModel
from .part import Part
from .pause_queue import PauseQueue
from .pause_queue_lane import PauseQueueLane
from .plan_model import PlanModel
from .plan_model_kind import PlanModelKind
from .plan_rank_model import PlanRankModel
from .plan_rank_model_kind import PlanRankModelKind
from .prioritize_queue import PrioritizeQueue
from .priority_rule import PriorityRule
from .priority_rule_priority import PriorityRulePriority
from .problem import Problem
from .queue_changed import QueueChanged
from .ranks_model import RanksModel
from .ready import Ready
from .ready_searched_type_0 import ReadySearchedType0
from .remark_model import RemarkModel
from .reorder_queue import ReorderQueue
from .reorder_queue_lane_type_0 import ReorderQueueLaneType0
from .report_model import ReportModel
from .reranking_model import RerankingModel
from .reranking_model_outcome import RerankingModelOutcome
from .resume_queue import ResumeQueue
from .resume_queue_lane import ResumeQueueLane
from .retrieve_request import RetrieveRequest
from .retrieve_request_snippet import RetrieveRequestSnippet
from .retrieve_response import RetrieveResponse
from .retrieve_simply_snippet import RetrieveSimplySnippet
from .retry_dead_letters import RetryDeadLetters
from .separate_large_jobs import SeparateLargeJobs
from .size_range import SizeRange
from .timing import Timing
from .upload_answer import UploadAnswer
from .upload_answer_how import UploadAnswerHow
from .verse_model import VerseModel
from .verses_response import VersesResponse
from .version_model import VersionModel
from .why_model import WhyModel

__all__ = (
    "BookModel",
    "BothPlansModel",
    "CorpusResponse",
    "DeadLetters",
    "DeadLettersClasses",
    "DocumentAnswer",
    "DocumentHitModel",
    "DocumentList",
    "DocumentModel",
    "DocumentModelSecondsType0",
    "DocumentModelState",
    "DocumentsModel",
    "Element",
    "ElementKind",
    "ElementTagType0",
    "EvalQuery",
    "EvalRequest",
    "EvalResponse",
    "EvalResult",
    "ExpectedModel",
    "ExpectedModelCorpus",
    "ExpectedModelStage",
    "ExplainRequest",
    "ExplainRequestSnippet",
    "ExplainResponse",
    "ExplainedDocumentHitModel",
    "ExplainedHitModel",
    "HealthResponseHealth",
    "HitModel",
    "LaneChanged",
    "LaneChangedLane",
    "LanguageModel",
    "ListAllLaneType0",
    "ListAllStateType0",
    "ListedDocumentModel",
    "Part",
    "PauseQueue",
    "PauseQueueLane",
    "PlanModel",
    "PlanModelKind",
    "PlanRankModel",
    "PlanRankModelKind",
    "PrioritizeQueue",
    "PriorityRule",
    "PriorityRulePriority",
    "Problem",
    "QueueChanged",
    "RanksModel",
    "Ready",
    "ReadySearchedType0",
    "RemarkModel",
    "ReorderQueue",
    "ReorderQueueLaneType0",
    "ReportModel",
    "RerankingModel",
    "RerankingModelOutcome",
    "ResumeQueue",
    "ResumeQueueLane",
    "RetrieveRequest",
    "RetrieveRequestSnippet",
    "RetrieveResponse",
    "RetrieveSimplySnippet",
    "RetryDeadLetters",
    "SeparateLargeJobs",
    "SizeRange",
    "Timing",
    "UploadAnswer",
    "UploadAnswerHow",
    "VerseModel",
    "VersesResponse",
    "VersionModel",
    "WhyModel",
)
