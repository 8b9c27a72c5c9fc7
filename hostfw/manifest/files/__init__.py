"""Files beside the manifests: facts of a host, feeds, and what is to be ignored."""
