"""The consumer: brings one replica level with the master, and proves it. It does not know the producer."""
