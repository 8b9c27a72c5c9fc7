"""The reference semantics: what happens to a packet under a Plan, and why, without a ruleset."""
