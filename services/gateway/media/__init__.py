"""Uploads: what their bytes are, how images are checked and stripped, and how a download is answered.

`content_types`, `image_header`, `metadata`, `disposition` and `ranges` are pure. `images` starts `image_child`, which
is the only process that runs a decoder.
To add a type: a row in `content_types`. To add an image format: its walk in `image_parts`, its header, its metadata.
"""
