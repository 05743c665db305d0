"""Measuring: a target by itself (`report_target`), a generator by itself (`evaluate_reader`), and both (`evaluate`)."""

from gan_explain.evaluate.classifier import TargetReport, full_report, report_target
from gan_explain.evaluate.result import EvaluationResult
from gan_explain.evaluate.run import evaluate, evaluate_reader

__all__ = ["EvaluationResult", "TargetReport", "evaluate", "evaluate_reader", "full_report", "report_target"]
