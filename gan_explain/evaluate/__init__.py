"""Measuring: one engine that streams samples, asked for sets of measures of a generator, of a target, and of both."""

from gan_explain.evaluate.result import EvaluationResult
from gan_explain.evaluate.run import Options, classification, evaluate
from gan_explain.evaluate.samples import Sample
from gan_explain.metrics.change import Models, Settings

__all__ = ["EvaluationResult", "Models", "Options", "Sample", "Settings", "classification", "evaluate"]
