"""The doctor: looks at the machine and the broker for one role, and says what to do. It changes nothing and locks nothing."""
