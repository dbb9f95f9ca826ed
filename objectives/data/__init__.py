"""Image sets: read from folders and arrays, or drawn (the embedded set)."""
