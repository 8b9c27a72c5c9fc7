"""Words of other programs and words that come to mind, each answered with the command that does it here."""
