"""Studies: runs keyed by content, resumed, spread over workers; tables and claims."""

from thesis_lib.study.claims import Claim, Decision, Effect, decide, read_claims
from thesis_lib.study.loss_study import LossRun, LossStudy, run_losses, score_table
from thesis_lib.study.runs import Outcome, Run, complete, source_hash, write_json
from thesis_lib.study.segmentation import (
    SegmentationConfig,
    load_model,
    load_sections,
    read_run,
)
from thesis_lib.study.splits import (
    Splits,
    StudyData,
    describe_data,
    load_splits,
    middle_section,
    open_source,
)
from thesis_lib.study.tables import (
    LOSS_NAMES,
    REFERENCE,
    effect_table,
    format_claims,
    format_table1,
    list_claims,
    rank_correlation,
    read_thesis_table,
)

__all__ = [
    "LOSS_NAMES",
    "REFERENCE",
    "Claim",
    "Decision",
    "Effect",
    "LossRun",
    "LossStudy",
    "Outcome",
    "Run",
    "SegmentationConfig",
    "Splits",
    "StudyData",
    "complete",
    "decide",
    "describe_data",
    "effect_table",
    "format_claims",
    "format_table1",
    "list_claims",
    "load_model",
    "load_sections",
    "load_splits",
    "middle_section",
    "open_source",
    "rank_correlation",
    "read_claims",
    "read_run",
    "read_thesis_table",
    "run_losses",
    "score_table",
    "source_hash",
    "write_json",
]
