"""One generation: the only place where the pure stages meet the outside world."""
