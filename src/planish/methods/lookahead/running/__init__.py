"""The stages of the room, one file each."""
