"""The imperative shell: one outside thing a module. Imported by the engine, the daemon and the command line alone."""
