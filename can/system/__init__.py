"""What a run meets outside itself: files and their checksums, locks, signals, the machine, and other hosts."""
