"""Watching: where hints come from. `port` is the contract, each other module one kind of watcher."""
