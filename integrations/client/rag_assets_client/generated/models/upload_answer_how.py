from typing import Literal

UploadAnswerHow = Literal["added", "replaced", "unchanged"]

UPLOAD_ANSWER_HOW_VALUES: set[UploadAnswerHow] = {
    "added",
    "replaced",
    "unchanged",
}


def check_upload_answer_how(value: str) -> UploadAnswerHow:
    if value in UPLOAD_ANSWER_HOW_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {UPLOAD_ANSWER_HOW_VALUES!r}"
    )
