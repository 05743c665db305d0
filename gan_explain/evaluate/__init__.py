"""Measuring: a target by itself (`report_target`), and a generator against a target (`evaluate`)."""

from gan_explain.evaluate.classifier import report_target

__all__ = ["report_target"]
