"""The content-addressed store behind xet uploads.

hf-xet talks to a remote store over HTTP, but it also accepts `local://some/folder` as the store's address and then
does its real chunking, deduplication and shard writing there: no store of our own is needed. The scheme is not
documented and the shard layout read below is hf-xet's own, so a new hf-xet may need changes here.
The folder is a single-process database: tests with several downloading processes belong to the LFS mode.
"""

import shutil
import struct
import tempfile
from pathlib import Path

RECORD_SIZE = 48
END_OF_FILES = b"\xff" * 32
VERIFICATION_FLAG = 1 << 31
METADATA_FLAG = 1 << 30


def swap_words(digest: bytes) -> str:
    """Hex form of a hash that is stored as four little-endian 64-bit words."""
    return b"".join(digest[start : start + 8][::-1] for start in range(0, 32, 8)).hex()


def sha256_to_xet_hash(shard: bytes) -> dict[str, str]:
    """Read a shard's file section: per file a header, segments, their checksums, metadata with the sha256."""
    hashes, at = {}, RECORD_SIZE
    while (file_hash := shard[at : at + 32]) != END_OF_FILES:
        flags, segments = struct.unpack_from("<II", shard, at + 32)
        at += RECORD_SIZE * (1 + segments * (2 if flags & VERIFICATION_FLAG else 1))
        if flags & METADATA_FLAG:
            hashes[swap_words(shard[at : at + 32])] = swap_words(file_hash)
            at += RECORD_SIZE
    return hashes


class XetStore:
    """A temporary folder that hf-xet uses as its remote store."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mini-hub-xet-"))
        self.url = f"local://{self.folder}"

    def xet_hash(self, sha256: str) -> str | None:
        """xet's name of an uploaded file, of which a commit tells the sha256 only."""
        for shard in self.folder.glob("xet/xorbs/shards/*.mdb"):
            hashes = sha256_to_xet_hash(shard.read_bytes())
            if sha256 in hashes:
                return hashes[sha256]
        return None

    def read(self, xet_hash: str, size: int) -> bytes:
        """Put a file together from its chunks, for clients that download over plain HTTP."""
        import hf_xet  # an optional dependency of huggingface_hub: absent on some platforms, where LFS is used

        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder, "file")
            with hf_xet.XetSession().new_file_download_group(endpoint=self.url) as group:
                group.start_download_file(hf_xet.XetFileInfo(xet_hash, size), str(target))
            return target.read_bytes()

    def close(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
