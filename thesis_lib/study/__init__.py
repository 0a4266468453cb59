"""Studies: runs keyed by content, resumed, spread over workers; tables and claims."""
