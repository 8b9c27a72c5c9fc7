"""Files of the state and run directories."""
