"""The layout of a program: rules become lookups in maps and sets, with the same first match."""
