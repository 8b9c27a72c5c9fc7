"""systemd of this host: units, notifications, timers."""
