"""Between hostfwctl and the daemon: what is asked for and what came of it, as values and as JSON on a socket."""
