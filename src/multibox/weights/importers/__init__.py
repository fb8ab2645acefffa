"""One module per foreign codebase: the only place that knows its key names, head order and label offset."""
