"""A CNN that reads the source of a radiograph, trained again with counterfactuals, and the audit before and after."""

from gan_explain.repair.options import Making, RepairOptions
from gan_explain.repair.result import RepairResult
from gan_explain.repair.run import mend, prepare, repair

__all__ = ["Making", "RepairOptions", "RepairResult", "mend", "prepare", "repair"]
