"""`python -m media_manager`."""

from media_manager.main import main

main()
