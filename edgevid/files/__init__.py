"""Text, files and folders: what is read and written on disk, in one way each."""
