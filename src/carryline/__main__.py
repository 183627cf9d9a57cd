"""`python -m carryline`."""

from carryline.cli import main

if __name__ == "__main__":
    main()
