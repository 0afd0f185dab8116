from support.jobs import bar, blobs, images, job, store

__all__ = ["bar", "blobs", "images", "job", "store"]
