"""Rules cut apart, by address and by port, until a lookup takes the place of a list."""
