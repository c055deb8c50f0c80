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
from .eval_query import EvalQuery
from .eval_request import EvalRequest
from .eval_response import EvalResponse
from .eval_result import EvalResult
from .health_response_health import HealthResponseHealth
from .hit_model import HitModel
from .lane_changed import LaneChanged
from .lane_changed_lane import LaneChangedLane
from .language_model import LanguageModel
from .list_all_lane_type_0 import ListAllLaneType0
from .list_all_state_type_0 import ListAllStateType0
from .listed_document_model import ListedDocumentModel
from .pause_queue import PauseQueue
from .pause_queue_lane import PauseQueueLane
from .plan_model import PlanModel
from .plan_model_kind import PlanModelKind
from .prioritize_queue import PrioritizeQueue
from .priority_rule import PriorityRule
from .priority_rule_priority import PriorityRulePriority
from .problem import Problem
from .queue_changed import QueueChanged
from .ready import Ready
from .ready_searched_type_0 import ReadySearchedType0
from .remark_model import RemarkModel
from .reorder_queue import ReorderQueue
from .reorder_queue_lane_type_0 import ReorderQueueLaneType0
from .report_model import ReportModel
from .resume_queue import ResumeQueue
from .resume_queue_lane import ResumeQueueLane
from .retrieve_request import RetrieveRequest
from .retrieve_response import RetrieveResponse
from .retry_dead_letters import RetryDeadLetters
from .separate_large_jobs import SeparateLargeJobs
from .size_range import SizeRange
from .timing import Timing
from .upload_answer import UploadAnswer
from .upload_answer_how import UploadAnswerHow
from .version_model import VersionModel

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
    "EvalQuery",
    "EvalRequest",
    "EvalResponse",
    "EvalResult",
    "HealthResponseHealth",
    "HitModel",
    "LaneChanged",
    "LaneChangedLane",
    "LanguageModel",
    "ListAllLaneType0",
    "ListAllStateType0",
    "ListedDocumentModel",
    "PauseQueue",
    "PauseQueueLane",
    "PlanModel",
    "PlanModelKind",
    "PrioritizeQueue",
    "PriorityRule",
    "PriorityRulePriority",
    "Problem",
    "QueueChanged",
    "Ready",
    "ReadySearchedType0",
    "RemarkModel",
    "ReorderQueue",
    "ReorderQueueLaneType0",
    "ReportModel",
    "ResumeQueue",
    "ResumeQueueLane",
    "RetrieveRequest",
    "RetrieveResponse",
    "RetryDeadLetters",
    "SeparateLargeJobs",
    "SizeRange",
    "Timing",
    "UploadAnswer",
    "UploadAnswerHow",
    "VersionModel",
)
