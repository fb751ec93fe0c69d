"""The abstain policy: which verdicts are emitted, and why the others are not."""
