"""From resources and facts to a Plan: bindings, addresses, rules and their order."""
