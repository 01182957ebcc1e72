"""Uploads: what their bytes are, how images are checked and stripped, and how a download is answered.

`content_types`, `disposition` and `ranges` decide on headers. `images` starts `image_child`, the only process that
walks and decodes an image: by `image_header`, `metadata` and then Pillow.
To add a type: a row in `content_types`. To add an image format: its walk in `image_parts`, its header, its metadata.
"""
