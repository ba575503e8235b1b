"""Where the `shop` command begins."""

import gc


def run() -> None:
    # Importing makes a hundred thousand objects and no garbage. To look through them again and
    # again, meanwhile and later, takes a sixth of the start.
    gc.disable()
    from shop.entrypoints.cli import main

    gc.freeze()
    gc.enable()
    main.run()
