"""`python -m treecast`: the command line."""

from treecast.main import main

if __name__ == "__main__":
    main()
