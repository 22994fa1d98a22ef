"""One machine's tree and replicas, kept level by the same services as everywhere: children of one command."""
