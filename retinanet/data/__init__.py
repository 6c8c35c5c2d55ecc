"""Pictures and annotations on disk, in and out."""
