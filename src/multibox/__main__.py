"""`python -m multibox` is the command `multibox`."""

from multibox.cli import main

if __name__ == "__main__":
    main()
