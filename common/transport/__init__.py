"""Transports: how messages travel, behind two small ports. `ports` is the contract, each other module one broker."""
