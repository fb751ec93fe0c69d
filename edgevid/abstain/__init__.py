"""The abstain policy: which verdicts are emitted, and why the others are not."""

from edgevid.abstain.file import DriftMonitor, PolicyFile, read_policy, write_policy
from edgevid.abstain.policy import Policy, Settings

__all__ = ["DriftMonitor", "Policy", "PolicyFile", "Settings", "read_policy", "write_policy"]
