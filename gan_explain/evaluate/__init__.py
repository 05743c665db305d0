"""Measuring: a target by itself (`report_target`), and a generator against a target (`evaluate`)."""

from gan_explain.evaluate.classifier import TargetReport, full_report, report_target
from gan_explain.evaluate.result import EvaluationResult
from gan_explain.evaluate.run import evaluate

__all__ = ["EvaluationResult", "TargetReport", "evaluate", "full_report", "report_target"]
