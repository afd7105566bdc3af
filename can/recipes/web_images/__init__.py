"""An unlabelled set out of images of the web: `can/recipes/make_web_images.py` is the command.

Each shard is read and its images are looked at; what is to be kept is decided by these looks alone; then the shards are
read again for what is kept. So no image moves between machines but once, on its way into the set.
"""
