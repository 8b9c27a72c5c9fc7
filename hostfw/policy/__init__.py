"""From text to meaning, without effects: decode, check, resolve, explain."""
