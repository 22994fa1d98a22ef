"""The commands, one module each; `treecast.main` finds them by name."""
