"""`hostfwctl bundle` and `hostfwctl pull`: bundles made, and bundles taken."""
