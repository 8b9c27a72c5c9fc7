"""Shell completion for bash, fish and zsh."""
