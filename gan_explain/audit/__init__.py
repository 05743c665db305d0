"""The audit: how a CNN responds to pathology, how sure that is, and what else it responds to."""

from gan_explain.audit.gathered import Gathered, union
from gan_explain.audit.result import AuditResult
from gan_explain.audit.run import audit, gather
from gan_explain.audit.setup import Plan, Subject
from gan_explain.audit.summarise import summarise

__all__ = ["AuditResult", "Gathered", "Plan", "Subject", "audit", "gather", "summarise", "union"]
