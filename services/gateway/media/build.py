"""Builds the uploads and downloads of one gateway."""

from dataclasses import dataclass

from services.gateway.media.downloads import download_places
from services.gateway.media.images import ImageExaminer, ImageLimits
from services.gateway.media.places import Places
from services.gateway.media.uploads import UploadRules, Uploads
from tidings.clock import Clock
from tidings.media.base import MediaStore
from tidings.store.base import Store


@dataclass(frozen=True, slots=True)
class MediaRules:
    """A deployment's settings for media.

    `redirect_s`: how long a presigned URL holds; 0: the gateway serves downloads. `images_at_once`: processes that
    decode images at the same time.
    """

    uploads: UploadRules
    redirect_s: int = 0
    images_at_once: int = 2
    downloads_at_once: int = 64


@dataclass(frozen=True, slots=True)
class Media:
    """Uploads, and the objects that downloads read."""

    uploads: Uploads
    downloads: Places
    objects: MediaStore
    rules: MediaRules


def build_media(tables: Store, objects: MediaStore, clock: Clock, rules: MediaRules) -> Media:
    """The folder of uploads must exist."""
    images = ImageExaminer(ImageLimits(at_most=rules.images_at_once))
    uploads = Uploads(tables, objects, images, clock, rules.uploads)
    return Media(uploads, download_places(rules.downloads_at_once), objects, rules)
