"""Times, packets by the million, and plots."""
