"""A fleet: hosts by their facts and plans, who reaches whom among them, and what a repository expects of that."""
