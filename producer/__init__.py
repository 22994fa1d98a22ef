"""The producer: watches the master's tree and publishes what changed. It does not know the consumer."""
