"""The audit: how a CNN responds to pathology, how sure that is, and what else it responds to."""

from gan_explain.audit.conclude import conclude
from gan_explain.audit.options import AuditOptions
from gan_explain.audit.result import AuditResult
from gan_explain.audit.run import audit, gather
from gan_explain.audit.shard import Shard, union

__all__ = ["AuditOptions", "AuditResult", "Shard", "audit", "conclude", "gather", "union"]
