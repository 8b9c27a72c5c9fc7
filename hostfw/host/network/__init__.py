"""The network of this host: links, addresses, routes, sockets."""
